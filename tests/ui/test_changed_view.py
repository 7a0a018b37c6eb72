"""What differs, as the page shows it."""

from __future__ import annotations

import re

from engine.settings.training import TrainingSettings
from ui.changed_view import changed_table, preview_table


def rows(table: str) -> list[list[str]]:
    body = table.partition("<tbody>")[2]
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", body)
    ]


def test_untouched_settings_say_that_nothing_differs():
    assert "Every option is at its default." in changed_table(TrainingSettings())


def test_each_change_has_its_value_its_default_a_link_and_a_reset():
    table = changed_table(
        TrainingSettings().with_values({"network_dim": 32, "unet_lr": 5e-5, "cache_latents": False, "vae": "a/b"})
    )
    assert "4 options differ from the defaults" in table
    assert rows(table) == [
        ["Cache latents", "off", "on", "↺"],
        ["Unet learning rate", "0.00005", "0.0001", "↺"],
        ["Network Rank", "32", "8", "↺"],
        ["VAE", "a/b", "(none)", "↺"],
    ]
    assert re.findall(r'data-reset="(\w+)"', table) == ["cache_latents", "unet_lr", "network_dim", "vae"]
    assert "darkroom.goTo(&quot;network_dim&quot;)" in table


def test_an_option_without_a_field_is_listed_with_the_reason_and_no_link():
    table = changed_table(TrainingSettings().with_values({"anima_qwen3": "model"}))
    assert "goTo" not in table
    assert "(no effect here)" in table
    assert "not supported yet (Anima models)" in table


def test_secrets_and_markup_stay_out():
    table = changed_table(
        TrainingSettings().with_values({"wandb_api_key": "s3cret", "training_comment": "<img src=x onerror=alert(1)>"})
    )
    assert "s3cret" not in table
    assert "<img" not in table


def test_the_preview_lists_from_and_to_and_nothing_that_stays():
    before = TrainingSettings().with_values({"epoch": 3, "network_dim": 32})
    after = TrainingSettings().with_values({"epoch": 3, "network_dim": 8, "sample_at_first": True})
    assert rows(preview_table(before, after)) == [["Network Rank", "32", "8"], ["Sample before training", "off", "on"]]
    assert "nothing would change" in preview_table(before, before)
