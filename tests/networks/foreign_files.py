"""A LoRA of ours under the names that other programs give to its matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from engine.models.family import Family
from engine.models.parts import Parts
from engine.models.targets import Attachment, Target
from engine.networks.lora import LoraNetwork

Named = Callable[[Target, Attachment, str], str]
"""What stands before .lora_A.weight: of an attachment, and of one of its modules."""

COMPONENTS = {"lora_te": "text_encoder", "lora_te1": "text_encoder", "lora_te2": "text_encoder_2"}


def component(target: Target, attachment: Attachment, denoiser: str) -> str:
    """diffusers' name of the module that an attachment is on."""
    return denoiser if target.group == "unet" else COMPONENTS["_".join(attachment.name.split("_")[:2])]


def trained(family: Family, parts: Parts, rank: int = 4, alpha: float = 4) -> LoraNetwork:
    network = LoraNetwork(family.lora_targets(parts), rank, alpha)
    torch.manual_seed(1)
    for group in ("unet", "text_encoder"):
        for parameter in network.parameters(group):
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def by_module(targets: Iterable[Target], weights: dict[str, Tensor], named: Named, sides: tuple[str, str]) -> dict:
    """The matrices module by module, as diffusers has them: a shared down is repeated, up is cut into its rows."""
    file: dict[str, Tensor] = {}
    for target in targets:
        for attachment in target.attachments:
            down, up = (weights[f"{attachment.name}.lora_{side}.weight"] for side in ("down", "up"))
            up = torch.cat(up.chunk(2)[::-1]) if attachment.swapped else up
            rows = [target.module.get_submodule(path).weight.shape[0] for path in attachment.paths]
            for path, part in zip(attachment.paths, up.split(rows), strict=True):
                name = named(target, attachment, path)
                file[f"{name}{sides[0]}"], file[f"{name}{sides[1]}"] = down.clone(), part.clone()
    return file


def renamed(weights: dict[str, Tensor], name: Callable[[str], str]) -> dict[str, Tensor]:
    """name: of what stands before the first dot."""
    return {name(key.partition(".")[0]) + "." + key.partition(".")[2]: tensor for key, tensor in weights.items()}
