"""Blocks that learn at rates of their own, in a LoRA and in a whole model, and those that do not learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.check.network import check_network
from engine.failure import Failure
from engine.models.sdxl import StableDiffusionXL
from engine.settings.training import TrainingSettings
from engine.training.whole_model_method import WholeModelMethod
from tests.models.loading import loaded
from tests.models.small import pipeline as small


def test_a_lora_s_blocks_learn_at_their_rates_and_the_rest_is_not_in_the_file(trained, tmp_path: Path):
    """With plain gradient descent the first step's change of `up` is its rate times its gradient."""
    given = {"optimizer": "SGDNesterov", "optimizer_args": "weight_decay=0 momentum=0 nesterov=False",
             "lr_scheduler": "constant", "max_train_steps": 1, "save_precision": "float", "max_grad_norm": 0,
             "unet_lr": 0.1, "text_encoder_lr": 0}  # fmt: skip
    history = trained(output_name="half", up_lr_weight="zeros+.5", down_lr_weight="zeros", mid_lr_weight="2", **given)
    trained(output_name="whole", **given)
    half, whole = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("half", "whole"))
    ups = [name for name in whole if name.endswith("lora_up.weight")]
    assert {name for name in ups if name not in half} == {name for name in ups if "_down_" in name}
    name = next(name for name in ups if "mid_block" in name and name.endswith("attn2_to_v.lora_up.weight"))
    assert half.keys() < whole.keys()
    torch.testing.assert_close(half[name], 2 * whole[name], rtol=1e-3, atol=1e-7)
    name = next(name for name in ups if "up_blocks" in name and name.endswith("attn2_to_v.lora_up.weight"))
    assert whole[name].abs().max() > 0
    assert not torch.equal(half[name], whole[name])
    assert set(history.steps[0].learning_rates) == {"unet at 0.05", "unet at 0.2"}


@pytest.mark.shows("block_lr")
def test_blocks_of_sdxl_s_unet_have_rates_of_their_own(tmp_path: Path):
    small("sdxl").save_pretrained(tmp_path)
    family, parts = loaded(tmp_path, sdxl=True)
    assert isinstance(family, StableDiffusionXL)
    rates = ["1e-5"] * 23
    rates[0], rates[10:13], rates[22] = "0", ["2e-5"] * 3, "3e-5"
    given = {"sdxl": True, "block_lr": ",".join(rates), "train_text_encoder": False}
    settings = TrainingSettings().with_values(given).for_method("finetune")
    method = WholeModelMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    groups = {group["name"]: group for group in method.parameter_groups()}
    assert {name: group["lr"] for name, group in groups.items()} == {
        "unet at 1e-05": 1e-5, "unet at 2e-05": 2e-5, "unet at 3e-05": 3e-5,
    }  # fmt: skip
    unet: Any = parts.denoiser
    assert {id(p) for p in groups["unet at 2e-05"]["params"]} == {id(p) for p in unet.mid_block.parameters()}
    ends = [*unet.conv_norm_out.parameters(), *unet.conv_out.parameters()]
    assert {id(p) for p in groups["unet at 3e-05"]["params"]} == {id(p) for p in ends}
    still = {name.split(".")[0] for name, p in unet.named_parameters() if not p.requires_grad}
    assert still == {"time_embedding", "add_embedding"}


def test_a_list_for_sdxl_s_blocks_that_cannot_be_read_is_said_before_and_at_a_start(tmp_path: Path):
    settings = TrainingSettings().with_values({"sdxl": True, "block_lr": "1e-5,1e-5"}).for_method("finetune")
    (problem,) = check_network(settings)
    assert problem.option == "block_lr"
    assert problem.what == (
        "Block LR (SDXL) has 2 numbers, but SDXL has 23 (1 base, 9 down, 3 mid, 9 up, 1 out) blocks. Give one number "
        "for each, separated by commas, or clear it."
    )
    small("sdxl").save_pretrained(tmp_path)
    family, parts = loaded(tmp_path, sdxl=True)
    with pytest.raises(Failure, match="has 2 numbers"):
        WholeModelMethod(family, parts, settings, total_steps=1, dtype=torch.float32)


def test_the_list_means_nothing_to_other_models():
    assert not TrainingSettings().with_values({"block_lr": "1,2"}).for_method("finetune").rates_by_block()
