"""What a type of network cannot do is said before the start."""

from __future__ import annotations

from typing import Any

import pytest

from engine.check.check import check
from engine.settings.training import TrainingSettings


@pytest.mark.parametrize(
    ("changes", "option", "what"),
    [
        ({"lora_type": "LyCORIS/LoKr", "lycoris_preset": "attention"}, "lycoris_preset",
         'There is no LyCORIS preset "attention".'),
        ({"lora_type": "Flux1 OFT", "flux1_checkbox": True, "scale_weight_norms": 1}, "scale_weight_norms",
         "The norm of a layer's change cannot be limited with Flux1 OFT."),
        ({"lora_type": "LyCORIS/LoCon", "dora_wd": True, "scale_weight_norms": 1}, "scale_weight_norms",
         "The norm of a layer's change cannot be limited with DoRA."),
        ({"lora_type": "LyCORIS/BOFT", "loraplus_lr_ratio": 4}, "loraplus_lr_ratio",
         "LyCORIS/BOFT has no up matrices, which LoRA+ trains faster."),
        ({"lora_type": "LoRA-FA", "loraplus_unet_lr_ratio": 4}, "loraplus_unet_lr_ratio",
         "LoRA-FA trains up matrices alone, so there is nothing that LoRA+ could train more slowly."),
        ({"lora_type": "Kohya DyLoRA", "dylora_unit": 3, "conv_dim": 3}, "network_dim",
         "DyLoRA trains ranks in groups of 3, and 4 cannot be divided into such groups."),
        ({"lora_type": "LyCORIS/DyLoRA", "dylora_unit": 4}, "conv_dim",
         "DyLoRA trains ranks in groups of 4, and 1 cannot be divided into such groups."),
        ({"lora_type": "T-LoRA", "tlora_least_rank": 9}, "tlora_least_rank",
         "T-LoRA least rank is 9, above Network Rank 4, so all ranks would always be trained."),
        ({"lora_type": "Flux1 OFT", "flux1_checkbox": True, "network_dim": 5}, "network_dim",
         "Flux1 OFT divides the 3072 outputs of a layer into as many blocks as the rank, and 5 does not divide them."),
        ({"lora_type": "LyCORIS/Diag-OFT", "conv_dim": 1}, "conv_dim",
         "LyCORIS/Diag-OFT turns blocks of this many outputs; blocks of 1 learn nothing."),
    ],
)  # fmt: skip
def test_a_type_says_what_it_cannot_do(settings: TrainingSettings, changes: dict[str, Any], option: str, what: str):
    problems = {problem.option: problem for problem in check(settings.with_values(changes)).problems}
    assert problems[option].what == what
    assert problems[option].blocking


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_type": "LyCORIS/LoHa", "scale_weight_norms": 1, "loraplus_lr_ratio": 4},
        {"lora_type": "Standard", "lycoris_preset": "attention"},
        {"lora_type": "LyCORIS/DyLoRA", "dylora_unit": 2, "lycoris_preset": "attn-mlp"},  # without convolutions
        {"lora_type": "Kohya LoCon", "dora_wd": True, "scale_weight_norms": 1},
    ],
)
def test_what_it_can_do_is_let_through(settings: TrainingSettings, changes: dict[str, Any]):
    assert check(settings.with_values(changes)).can_start


def test_what_lycoris_leaves_out_is_said_and_blocks_nothing(settings: TrainingSettings):
    """A preset of kohya_ss's limits the norm of (IA)³, where LyCORIS has no such thing."""
    checked = check(settings.with_values({"lora_type": "LyCORIS/iA3", "scale_weight_norms": 1}))
    assert checked.can_start
    told = {problem.option: problem.what for problem in checked.problems}
    assert told["scale_weight_norms"] == (
        "The norm of a layer's change cannot be limited with LyCORIS/iA3, so this does nothing, as in LyCORIS."
    )


@pytest.mark.parametrize(
    ("changes", "what", "mend"),
    [
        ({"lora_type": "LyCORIS/LoHa", "lora_file_dialect": "diffusers"},
         "diffusers reads no networks of type LyCORIS/LoHa.", "Set LoRA file dialect to kohya or ComfyUI."),
        ({"lora_type": "LyCORIS/iA3", "lora_file_dialect": "ComfyUI"},
         "ComfyUI reads no networks of type LyCORIS/iA3.", "Set LoRA file dialect to kohya."),
        ({"lora_type": "LyCORIS/Diag-OFT", "oft_constrain": 0.1, "lora_file_dialect": "ComfyUI"},
         "ComfyUI takes Constrain OFT for another limit than LyCORIS, so it would draw other pictures.",
         "Set Constrain OFT to 0, or LoRA file dialect to kohya."),
        ({"lora_type": "LyCORIS/Diag-OFT", "oft_rescaled": True, "lora_file_dialect": "ComfyUI"},
         "ComfyUI does not apply the scale factors of Rescaled OFT to LyCORIS/Diag-OFT.",
         "Turn off Rescaled OFT, or set LoRA file dialect to kohya."),
        ({"lora_type": "LyCORIS/LoCon", "dora_wd": True, "wd_on_output": False, "lora_file_dialect": "diffusers"},
         "diffusers reads DoRA's magnitudes of outputs alone.",
         "Turn on DoRA on output, or set LoRA file dialect to kohya or ComfyUI."),
        ({"lumina_checkbox": True, "lora_type": "Lumina", "text_encoder_lr": 1e-4, "lora_file_dialect": "diffusers"},
         "diffusers reads no LoRA on the text encoder of Lumina Image 2.0.",
         "Set the learning rate of the text encoder to 0, or LoRA file dialect to kohya or ComfyUI."),
    ],
)  # fmt: skip
def test_names_for_a_program_that_could_not_read_the_file(
    settings: TrainingSettings, changes: dict[str, Any], what: str, mend: str
):
    (problem,) = [one for one in check(settings.with_values(changes)).problems if one.option == "lora_file_dialect"]
    assert (problem.what, problem.mend, problem.blocking) == (what, mend, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_file_dialect": "diffusers"},
        {"lora_file_dialect": "diffusers", "lora_type": "LyCORIS/LoCon", "dora_wd": True},
        {"lora_file_dialect": "ComfyUI", "lora_type": "LyCORIS/LoKr", "dora_wd": True},
        {"lora_file_dialect": "ComfyUI", "lora_type": "LyCORIS/BOFT", "oft_rescaled": True},
        {"lora_file_dialect": "kohya", "lora_type": "LyCORIS/iA3"},
    ],
)
def test_names_for_a_program_that_reads_the_file(settings: TrainingSettings, changes: dict[str, Any]):
    assert "lora_file_dialect" not in {one.option for one in check(settings.with_values(changes)).problems}
