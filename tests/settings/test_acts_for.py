"""An option is on the tabs of those methods that it does something for; kohya_ss's files of the others keep it."""

from __future__ import annotations

import pytest

from engine.settings.kin import EVERY_METHOD
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
    others = (*WHOLE, "textual_inversion", "hypernetwork")
    assert {method for item in of_networks for method in others if item.is_for(method)} == set()
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


def test_a_method_that_kohya_ss_has_no_tab_for_has_what_its_tabs_have_in_common():
    options = {item.name: item for item in training_options()}
    for name in ("learning_rate", "train_data_dir", "min_snr_gamma", "ema", "sample_prompts", "base_weights"):
        assert options[name].is_for("hypernetwork"), name
    for name in ("save_model_as", "unet_lr", "token_string", "train_text_encoder", "in_json", "learning_rate_te"):
        assert not options[name].is_for("hypernetwork"), name
    own = [item for item in training_options() if item.path[0] == "hypernetwork"]
    assert own
    assert {method for item in own for method in EVERY_METHOD if item.is_for(method)} == {"hypernetwork"}
