"""The list of presets is renewed without touching the choice, which the user may be making meanwhile."""

from __future__ import annotations

from engine.settings.training import TrainingSettings
from ui.presets_panel import _relisted


def test_a_choice_is_left_alone_while_its_preset_is_there():
    base = TrainingSettings()
    for chosen in (None, "ours/Low memory"):
        assert "value" not in _relisted(chosen, base)
    assert "ours/Low memory" in [value for _, value in _relisted(None, base)["choices"]]


def test_a_choice_goes_with_its_preset():
    assert _relisted("own/deleted in another page", TrainingSettings())["value"] is None
