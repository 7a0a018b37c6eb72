"""Which programs read which kinds of network files, under the names that these programs have; no torch.

Sources: diffusers 0.42, loaders/lora_pipeline.py and loaders/peft.py; ComfyUI, comfy/lora.py and comfy/weight_adapter/.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.networks.refusals import Refusal
from engine.networks.signs import (
    BOFT,
    GLORA,
    LOCON,
    LOHA,
    LOKR,
    LORA,
    NATIVE,
    OFT,
    can_continue,
)  # fmt: skip
from engine.settings.source_model import LoraDialect
from engine.settings.training import TrainingSettings

OPTION = "lora_file_dialect"

READ: Mapping[LoraDialect, tuple[str, ...]] = {
    "diffusers": (LORA, LOCON),
    "ComfyUI": (LORA, LOCON, LOHA, LOKR, OFT, BOFT, GLORA, NATIVE),
}
"""Besides kohya's names, which every program has for all that it reads."""


def not_read(settings: TrainingSettings) -> Refusal | None:
    """Why the program of the chosen names could not read what the settings train."""
    dialect, lora_type = settings.source_model.lora_file_dialect, settings.network.lora_type
    if dialect == "kohya":
        return None
    kinds = can_continue(lora_type)
    if not set(kinds) <= set(READ[dialect]):
        others = [name for name, read in READ.items() if set(kinds) <= set(read)]
        return Refusal(f"{dialect} reads no networks of type {lora_type}.", _instead("kohya", *others), OPTION)
    if dialect == "diffusers" and settings.applied("dora_wd") and not settings.applied("wd_on_output"):
        return Refusal(
            "diffusers reads DoRA's magnitudes of outputs alone.",
            "Turn on DoRA on output, or set LoRA file dialect to kohya or ComfyUI.",
            OPTION,
        )
    if dialect == "diffusers" and settings.applied("train_norm"):
        return Refusal("diffusers reads no trained normalisation layers.", _instead("kohya", "ComfyUI"), OPTION)
    if dialect == "diffusers" and settings.family() == "lumina" and settings.network_rates()[1]:
        return Refusal(
            "diffusers reads no LoRA on the text encoder of Lumina Image 2.0.",
            "Set the learning rate of the text encoder to 0, or LoRA file dialect to kohya or ComfyUI.",
            OPTION,
        )
    if dialect == "ComfyUI" and kinds[0] in (OFT, BOFT) and settings.applied("oft_constrain"):
        return Refusal(
            "ComfyUI takes Constrain OFT for another limit than LyCORIS, so it would draw other pictures.",
            "Set Constrain OFT to 0, or LoRA file dialect to kohya.",
            OPTION,
        )
    if dialect == "ComfyUI" and kinds == (OFT,) and settings.applied("oft_rescaled"):
        return Refusal(
            "ComfyUI does not apply the scale factors of Rescaled OFT to LyCORIS/Diag-OFT.",
            "Turn off Rescaled OFT, or set LoRA file dialect to kohya.",
            OPTION,
        )
    return None


def _instead(*dialects: str) -> str:
    return f"Set LoRA file dialect to {' or '.join(dialects)}."
