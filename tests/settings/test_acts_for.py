"""An option is on the tabs of those methods that it does something for; kohya_ss's files of the others keep it."""

from __future__ import annotations

import pytest

from engine.settings.kohya_json import to_kohya
from engine.settings.training import TrainingSettings, training_options

WHOLE, LORA = ("dreambooth", "finetune"), ("lora",)
ONLY = {
    # Where networks are attached.
    "split_mode": LORA, "train_blocks": LORA,
    # Of weights that are the model's own, and of what is saved beside them.
    "sd3_fused_backward_pass": WHOLE, "save_clip": WHOLE, "save_t5xxl": WHOLE,
}  # fmt: skip


def test_what_a_network_is_and_is_put_on_is_asked_on_the_lora_tab_alone():
    groups = {"network", "lycoris", "blocks", "flux_ranks"}
    of_networks = [item for item in training_options() if item.path[0] in groups or ONLY.get(item.name) == LORA]
    assert {method for item in of_networks for method in (*WHOLE, "textual_inversion") if item.is_for(method)} == set()
    assert all(item.is_for("lora") for item in of_networks)


@pytest.mark.parametrize("name", ONLY)
def test_an_option_means_nothing_to_other_methods_and_stays_in_their_files(name: str):
    item = next(item for item in training_options() if item.name == name)
    value = "single" if name == "train_blocks" else True
    families = {"flux1_checkbox": name in ("split_mode", "train_blocks"), "sd3_checkbox": item.path[0] == "sd3"}
    for method in (*LORA, *WHOLE):
        settings = TrainingSettings().for_method(method).with_values({name: value, **families})
        assert (settings.applied(name) == value) == (method in ONLY[name])
        assert to_kohya(settings)[item.kohya.key] == value
