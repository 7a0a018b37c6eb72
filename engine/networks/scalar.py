"""A number before the change of a weight, trained from 0, so that no matrix begins there; LyCORIS's use_scalar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.models.stored import Stored
from engine.networks.kind import Kind, Original, Site
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class Scaled(Kind):
    """ΔW = scalar · δ, where another kind makes δ.  Files have no place for the number: it goes into a matrix there."""

    inner: Kind

    exact = ("scalar",)

    @property
    def fast(self) -> Sequence[str]:  # type: ignore[override]
        return self.inner.fast

    @property
    def is_product(self) -> bool:  # type: ignore[override]
        return self.inner.is_product

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        begun = self.inner.begin(site, original)
        drawn = {name: self.inner.drawn(*begun[name].shape) for name in self.inner.fast if name in begun}
        return {**begun, **drawn, "scalar": torch.zeros(())}

    def in_file(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        scaled = {name: trained[name] * trained["scalar"] for name in self.inner.linear if name in trained}
        return self.inner.in_file({name: tensor for name, tensor in trained.items() if name != "scalar"} | scaled)

    def from_file(self, tensors: Mapping[str, Tensor], site: Site) -> Mapping[str, Tensor]:
        return {**self.inner.from_file(tensors, site), "scalar": torch.ones(())}

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        return self.inner.change(self.in_file(trained), site, original)

    def chain(self, trained: Mapping[str, Tensor], site: Site, original: Stored) -> list[Tensor] | None:
        return self.inner.chain(self.in_file(trained), site, original)

    def draw(self, site: Site) -> Any:
        return self.inner.draw(site)

    def acting(self, trained: Mapping[str, Tensor], site: Site, draw: Any) -> Mapping[str, Tensor]:
        return {**self.inner.acting(trained, site, draw), "scalar": trained["scalar"]}

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return self.inner.fixed(site)


def with_scalar(kind: Kind, settings: TrainingSettings) -> Kind:
    """The kind, with such a number before it where the settings say so."""
    return Scaled(kind) if settings.applied("use_scalar") else kind
