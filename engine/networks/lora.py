"""LoRA through peft: for each module W, W + (alpha/rank) · up · down (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import json
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from engine.models.family import Parts, Target
from engine.networks import dropout
from engine.networks.dropout import Dropouts

ADAPTER = "default"


class LoraNetwork:
    """Attached on construction: down begins as Kaiming-uniform (a = √5), up as zeros, both in float32.

    rank: the width of down and up.  alpha: strength times rank.
    """

    def __init__(
        self, parts: Parts, targets: list[Target], rank: int, alpha: float, dropouts: Dropouts | None = None
    ) -> None:
        self.rank, self.alpha, self.dropouts = rank, alpha, dropouts or Dropouts()
        self._layers: dict[str, dict[str, LoraLayer]] = {}
        for target in targets:
            module = getattr(parts, target.part)
            config = LoraConfig(
                r=rank,
                lora_alpha=alpha,
                target_modules=_exactly(target.modules),
                lora_dropout=0.0,  # peft's acts on the input of down; kohya's are hooks of ours
                bias="none",
            )
            inject_adapter_in_model(config, module, ADAPTER)
            layers = {target.file_name(path): module.get_submodule(path) for path in target.modules}
            self._layers.setdefault(target.group, {}).update(layers)
            for layer in layers.values():
                # The base may be in half precision; what is trained must not be.
                layer.lora_A.float()
                layer.lora_B.float()
                dropout.attach(layer.lora_A[ADAPTER], layer.lora_B[ADAPTER], self.dropouts)

    def parameters(self, group: str) -> list[nn.Parameter]:
        layers = self._layers.get(group, {}).values()
        return [p for layer in layers for p in (layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight)]

    def fast_parameters(self, group: str) -> list[nn.Parameter]:
        return [layer.lora_B[ADAPTER].weight for layer in self._layers.get(group, {}).values()]

    def state_dict(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for name, layer in self._all_layers().items():
            weights[f"{name}.lora_down.weight"] = layer.lora_A[ADAPTER].weight.detach()
            weights[f"{name}.lora_up.weight"] = layer.lora_B[ADAPTER].weight.detach()
            weights[f"{name}.alpha"] = torch.tensor(float(self.alpha))
        return weights

    @torch.no_grad()
    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        for name, layer in self._all_layers().items():
            _fill(name, layer.lora_A[ADAPTER].weight, weights[f"{name}.lora_down.weight"])
            _fill(name, layer.lora_B[ADAPTER].weight, weights[f"{name}.lora_up.weight"])

    @torch.no_grad()
    def begin_from(self, weights: dict[str, Tensor]) -> int:
        begun = 0
        for name, layer in self._all_layers().items():
            down, up = weights.get(f"{name}.lora_down.weight"), weights.get(f"{name}.lora_up.weight")
            if down is None or up is None:
                continue
            # The file's strength, where it differs from this network's, goes into up: the picture stays the same.
            strength = _alpha_of(name, weights) / len(down) / (self.alpha / self.rank)
            _fill(name, layer.lora_A[ADAPTER].weight, down)
            _fill(name, layer.lora_B[ADAPTER].weight, up * strength)
            begun += 1
        return begun

    @torch.no_grad()
    def limit_norms(self, most: float) -> None:
        scale = self.alpha / self.rank
        for layer in self._all_layers().values():
            down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
            norm = (scale * up.flatten(1) @ down.flatten(1)).norm().clamp(min=most / 2)
            # Both factors share the shortening, hence the root; 1 where the norm is small enough.
            shortening = (most / norm).clamp(max=1).sqrt()
            down.mul_(shortening)
            up.mul_(shortening)

    def metadata(self) -> dict[str, Any]:
        arguments = {"rank_dropout": self.dropouts.rank, "module_dropout": self.dropouts.module}
        used = {name: str(value) for name, value in arguments.items() if value}
        return {
            "ss_network_module": "networks.lora",
            "ss_network_dim": self.rank,
            "ss_network_alpha": float(self.alpha),
            "ss_network_dropout": self.dropouts.network or None,
            **({"ss_network_args": json.dumps(used)} if used else {}),
        }

    def _all_layers(self) -> dict[str, LoraLayer]:
        return {name: layer for group in self._layers.values() for name, layer in group.items()}


def _fill(name: str, parameter: nn.Parameter, weights: Tensor) -> None:
    """copy_() alone would stretch a rank of 1 over all ranks."""
    if weights.shape != parameter.shape:
        raise RuntimeError(f"{name} is of shape {tuple(weights.shape)}, not {tuple(parameter.shape)}")
    parameter.copy_(weights)


def rank_and_alpha(weights: dict[str, Tensor]) -> tuple[int, float] | None:
    """Rank and alpha of the first module in a LoRA file, None where it holds none."""
    for key, down in weights.items():
        if key.endswith(".lora_down.weight"):
            return len(down), _alpha_of(key.removesuffix(".lora_down.weight"), weights)
    return None


def _alpha_of(module: str, weights: dict[str, Tensor]) -> float:
    """A module's alpha in a file; one that is missing or 0 means the rank."""
    return float(weights.get(f"{module}.alpha", 0.0)) or float(len(weights[f"{module}.lora_down.weight"]))


def _exactly(paths: tuple[str, ...]) -> str:
    """A pattern that matches these module paths and no others; a list would match by their endings too."""
    return "(" + "|".join(path.replace(".", r"\.") for path in paths) + ")"
