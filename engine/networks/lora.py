"""LoRA through peft: for each module W, W + (alpha/rank) · up · down (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from engine.models.targets import Attachment, Target
from engine.networks import dropout
from engine.networks.apart import in_parts, parts_of, taken_apart, together
from engine.networks.dropout import Dropouts
from engine.networks.ggpo import GGPO, Perturbation
from engine.networks.held import Held

ADAPTER = "default"


class Pair:
    """The two matrices of one entry in kohya's files: down, (rank, in), and up, (out, rank).

    If one matrix of the original model is several modules here, they share down, and each has its rows of up.
    """

    def __init__(
        self, attachment: Attachment, layers: list[LoraLayer], dtype: torch.dtype, frozen_down: bool = False
    ) -> None:
        self._swapped, self.frozen_down = attachment.swapped, frozen_down
        self._rows = [layer.lora_B[ADAPTER].weight.shape[0] for layer in layers]
        self.alpha, self.scale = float(layers[0].lora_alpha[ADAPTER]), float(layers[0].scaling[ADAPTER])
        self.down = layers[0].lora_A[ADAPTER].to(dtype)
        self.ups = [layer.lora_B[ADAPTER].to(dtype) for layer in layers]
        for layer in layers[1:]:
            layer.lora_A[ADAPTER] = self.down
        if frozen_down:
            down: Any = self.down
            down.stays_exact = True  # it is small, and the file holds it
            rank, into = self.down.weight.shape[:2]
            nn.init.normal_(self.down.weight, std=sqrt(2 / (into + rank))).requires_grad_(False)

    @property
    def rows(self) -> int:
        return sum(self._rows)

    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained."""
        ups = [up.weight for up in self.ups]
        return ups if self.frozen_down else [self.down.weight, *ups]

    def up(self) -> Tensor:
        """As in the file."""
        if len(self.ups) == 1 and not self._swapped:
            return self.ups[0].weight.detach()
        whole = torch.cat([up.weight.detach() for up in self.ups])
        return torch.cat(whole.chunk(2)[::-1]) if self._swapped else whole

    def fill(self, name: str, down: Tensor, up: Tensor) -> None:
        """Load a file's matrices.  Raises RuntimeError if their shapes differ."""
        up = torch.cat(up.chunk(2)[::-1]) if self._swapped else up
        if len(up) != sum(self._rows):
            raise RuntimeError(f"{name} has {len(up)} rows, not {sum(self._rows)}")
        _fill(name, self.down.weight, down)
        for part, rows in zip(self.ups, up.split(self._rows), strict=True):
            _fill(name, part.weight, rows)


class LoraNetwork:
    """Attached on construction: down begins as Kaiming-uniform (a = √5), up as zeros.

    dtype: of both; the base may be in half precision, trained weights preferably not.
    rank: the width of down and up.  alpha: strength times rank.  given: both, by attachment name, where they differ.
    module: sd-scripts' name for the kind of network.  frozen_down: down stays as drawn, from a normal distribution
    (LoRA-FA, Zhang et al. 2023, arXiv:2308.03303).  ggpo: how it is perturbed in training, if it is.
    apart: modules that are one matrix in the file have downs of their own; see apart.py.
    """

    def __init__(
        self,
        targets: list[Target],
        rank: int,
        alpha: float,
        dropouts: Dropouts | None = None,
        module: str = "networks.lora",
        dtype: torch.dtype = torch.float32,
        given: Mapping[str, tuple[int, float]] | None = None,
        *,
        frozen_down: bool = False,
        ggpo: GGPO | None = None,
        apart: bool = False,
    ) -> None:
        self.rank, self.alpha, self.dropouts, self._module = rank, alpha, dropouts or Dropouts(), module
        self._pairs: dict[str, dict[str, Pair]] = {}
        self._perturbations: dict[str, Perturbation] = {}
        self._places = {part.name: part.of for part in parts_of(targets)} if apart else {}
        for target in map(taken_apart, targets) if apart else targets:
            paths = tuple(path for attachment in target.attachments for path in attachment.paths)
            others = {
                "^" + re.escape(path): (given or {})[self._place(attachment.name)]
                for attachment in target.attachments
                if (given or {}).get(self._place(attachment.name), (rank, alpha)) != (rank, alpha)
                for path in attachment.paths
            }
            config = LoraConfig(
                r=rank,
                lora_alpha=alpha,
                rank_pattern={path: one for path, (one, _) in others.items()},
                alpha_pattern={path: one for path, (_, one) in others.items()},
                target_modules=_exactly(paths),
                lora_dropout=0.0,  # peft's acts on the input of down; kohya's are hooks of ours
                bias="none",
            )
            inject_adapter_in_model(config, target.module, ADAPTER)
            pairs = self._pairs.setdefault(target.group, {})
            for attachment in target.attachments:
                layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
                pair = Pair(attachment, layers, dtype, frozen_down)
                chance = dropout.attach(layers, pair.down, pair.ups, self.dropouts)
                if ggpo:
                    self._perturbations[attachment.name] = Perturbation(
                        ggpo, layers, pair.down, pair.ups, pair.scale, chance
                    )
                pairs[attachment.name] = pair

    def parameters(self, group: str) -> list[nn.Parameter]:
        return [parameter for pair in self.by_place(group).values() for parameter in pair]

    def by_place(self, group: str) -> dict[str, list[nn.Parameter]]:
        places: dict[str, list[nn.Parameter]] = {}
        for name, pair in self._pairs.get(group, {}).items():
            places.setdefault(self._place(name), []).extend(pair.parameters())
        return places

    def fast_parameters(self, group: str) -> list[nn.Parameter]:
        return [up.weight for pair in self._pairs.get(group, {}).values() for up in pair.ups]

    def see(self, timesteps: Tensor) -> None: ...

    def before_update(self) -> None:
        for perturbation in self._perturbations.values():
            perturbation.learn()

    def state_dict(self) -> dict[str, Tensor]:
        norms = {
            f"{name}.{end}": tensor
            for name, perturbation in self._perturbations.items()
            for end, tensor in perturbation.state_dict().items()
        }
        return self._weights() | norms

    def file_weights(self) -> dict[str, Tensor]:
        return together(self._weights(), self._places)

    def _weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for name, pair in self._all_pairs().items():
            weights[f"{name}.lora_down.weight"] = pair.down.weight.detach()
            weights[f"{name}.lora_up.weight"] = pair.up()
            weights[f"{name}.alpha"] = torch.tensor(pair.alpha)
        return weights

    @torch.no_grad()
    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        for name, pair in self._all_pairs().items():
            pair.fill(name, weights[f"{name}.lora_down.weight"], weights[f"{name}.lora_up.weight"])
        for name, perturbation in self._perturbations.items():
            norms = {end: weights.get(f"{name}.{end}") for end in ("ggpo_weights", "ggpo_gradients")}
            perturbation.load_state_dict({end: found for end, found in norms.items() if found is not None})

    @torch.no_grad()
    def begin_from(self, held: Mapping[str, Held]) -> None:
        sizes = {name: (pair.rows, len(pair.down.weight)) for name, pair in self._all_pairs().items()}
        held = in_parts(held, self._places, sizes)
        for name, pair in self._all_pairs().items():
            if found := held.get(name):
                # If the file's strength differs from this network's, it goes into up: the result stays the same.
                strength = found.alpha / found.rank / pair.scale
                down, up = (found.tensors[f"lora_{side}.weight"].flatten(1) for side in ("down", "up"))
                pair.fill(name, _as_wide(down, pair.down.weight), _as_wide(up * strength, pair.ups[0].weight))

    @torch.no_grad()
    def limit_norms(self, most: float) -> None:
        for pair in self._all_pairs().values():
            norm = (pair.scale * pair.up().flatten(1) @ pair.down.weight.flatten(1)).norm().clamp(min=most / 2)
            # Both factors share the scaling, hence the root, if both are trained; 1 if the norm is small enough.
            shortening = (most / norm).clamp(max=1) ** (1 if pair.frozen_down else 1 / 2)
            for weight in pair.parameters():
                weight.mul_(shortening)

    def metadata(self) -> dict[str, Any]:
        return {
            "ss_network_module": self._module,
            "ss_network_dim": self.rank,
            "ss_network_alpha": float(self.alpha),
            "ss_network_dropout": self.dropouts.network or None,
        }

    def _place(self, name: str) -> str:
        """The attachment that a pair belongs to, by its name."""
        return self._places.get(name, name)

    def _all_pairs(self) -> dict[str, Pair]:
        return {name: pair for group in self._pairs.values() for name, pair in group.items()}


def _fill(name: str, parameter: nn.Parameter, weights: Tensor) -> None:
    """copy_() alone would stretch a rank of 1 over all ranks."""
    if weights.shape != parameter.shape:
        raise RuntimeError(f"{name} is of shape {tuple(weights.shape)}, not {tuple(parameter.shape)}")
    parameter.copy_(weights)


def _as_wide(matrix: Tensor, like: Tensor) -> Tensor:
    """A matrix, as a convolution where the other is one and it has the numbers for that."""
    return matrix.view(len(matrix), -1, *like.shape[2:]) if matrix[0].numel() == like[0].numel() else matrix


def _exactly(paths: tuple[str, ...]) -> str:
    """A pattern that matches only these module paths; a list would also match by their endings."""
    return "(" + "|".join(re.escape(path) for path in paths) + ")"
