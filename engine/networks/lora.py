"""LoRA through peft: for each module W, W + (alpha/rank) · up · down (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from engine.models.family import Parts, Target

ADAPTER = "default"


class LoraNetwork:
    """Attached on construction: down begins as Kaiming-uniform (a = √5), up as zeros, both in float32.

    rank: the width of down and up.  alpha: strength times rank.
    """

    def __init__(self, parts: Parts, targets: list[Target], rank: int, alpha: float) -> None:
        self.rank, self.alpha = rank, alpha
        self._layers: dict[str, dict[str, LoraLayer]] = {}
        for target in targets:
            module = getattr(parts, target.part)
            config = LoraConfig(
                r=rank,
                lora_alpha=alpha,
                target_modules=_exactly(target.modules),
                lora_dropout=0.0,
                bias="none",
            )
            inject_adapter_in_model(config, module, ADAPTER)
            layers = {target.file_name(path): module.get_submodule(path) for path in target.modules}
            self._layers.setdefault(target.group, {}).update(layers)
            for layer in layers.values():
                # The base may be in half precision; what is trained must not be.
                layer.lora_A.float()
                layer.lora_B.float()

    def parameters(self, group: str) -> list[nn.Parameter]:
        layers = self._layers.get(group, {}).values()
        return [p for layer in layers for p in (layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight)]

    def state_dict(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for name, layer in self._all_layers().items():
            weights[f"{name}.lora_down.weight"] = layer.lora_A[ADAPTER].weight.detach()
            weights[f"{name}.lora_up.weight"] = layer.lora_B[ADAPTER].weight.detach()
            weights[f"{name}.alpha"] = torch.tensor(float(self.alpha))
        return weights

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Raises KeyError or RuntimeError where the weights are of another network."""
        with torch.no_grad():
            for name, layer in self._all_layers().items():
                layer.lora_A[ADAPTER].weight.copy_(weights[f"{name}.lora_down.weight"])
                layer.lora_B[ADAPTER].weight.copy_(weights[f"{name}.lora_up.weight"])

    def metadata(self) -> dict[str, Any]:
        return {
            "ss_network_module": "networks.lora",
            "ss_network_dim": self.rank,
            "ss_network_alpha": float(self.alpha),
            "ss_network_dropout": None,
        }

    def _all_layers(self) -> dict[str, LoraLayer]:
        return {name: layer for group in self._layers.values() for name, layer in group.items()}


def _exactly(paths: tuple[str, ...]) -> str:
    """A pattern that matches these module paths and no others; a list would match by their endings too."""
    return "(" + "|".join(path.replace(".", r"\.") for path in paths) + ")"
