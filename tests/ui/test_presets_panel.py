"""The list of presets is renewed without touching the choice, which the user may be making meanwhile."""

from __future__ import annotations

from ui.presets_panel import relisted


def test_a_choice_is_left_alone_while_its_preset_is_there():
    for chosen in (None, "ours/Low memory"):
        assert "value" not in relisted(chosen, "lora")
    assert "ours/Low memory" in [value for _, value in relisted(None, "lora")["choices"]]


def test_a_choice_goes_with_its_preset():
    assert relisted("own/deleted in another page", "lora")["value"] is None
