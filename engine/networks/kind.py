"""What a kind of network is: what is trained at one place of the model, and the change of the weight that it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import init

from engine.models.stored import Stored
from engine.models.targets import Attachment, Reach, Target, shape_of
from engine.networks.signs import looks_wide
from engine.settings.training import TrainingSettings

Original = Callable[[], Tensor]
"""The frozen weight that is changed, in the shape of its site."""


@dataclass(frozen=True)
class Site:
    """One place of kohya's files.

    shape: of the original weight, (out, in), or (out, in, h, w) of a convolution.  rank: the width of what is trained,
    whatever the kind makes of it.  alpha: as the file says it.  rows: of each of the layers that are one matrix there.
    biased: whether these add a bias.
    """

    shape: tuple[int, ...]
    rank: int
    alpha: float
    rows: tuple[int, ...] = ()
    biased: bool = False

    @property
    def is_wide(self) -> bool:
        """A convolution that looks at more than one pixel."""
        return looks_wide(self.shape)


class Scales(NamedTuple):
    """ΔW = W · diag(values), (in,), or diag(values) · W, (out,)."""

    values: Tensor
    of_inputs: bool


def site_of(target: Target, attachment: Attachment, rank: int, alpha: float) -> Site:
    layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
    biased = all(getattr(layer, "bias", None) is not None for layer in layers)
    rows = tuple(len(layer.weight) for layer in layers)
    return Site(shape_of(target, attachment), rank, alpha, rows, biased)


class Kind(ABC):
    """To be derived from.  A further kind is a further file in engine/networks/kinds/.

    A tensor of the file may be trained in pieces, which are named NAME/0, NAME/1, …

    fast: what LoRA+ lets learn faster: the tensors that begin at zero; none where that is not defined.
    linear: tensors in which the change is linear, taken together.
    exact: what stays float32 where the rest is trained in few digits.
    of_bias: the tensor, (out,), that is added to the bias.
    prefix: what stands for the lora that names in files begin with.
    reach: which layers it is put on, where the settings of its kind say that alone.
    is_product: the change is a product of all tensors, so its norm is limited by shortening each of them.
    """

    fast: Sequence[str] = ()
    linear: Sequence[str] = ()
    exact: Sequence[str] = ()
    of_bias = ""
    prefix = "lora"
    reach: Reach | None = None
    is_product = False

    def at(self, attachment: Attachment) -> Kind:
        """The kind that it is at one place."""
        return self

    @abstractmethod
    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        """What is trained, float32, as it begins: by how its name ends in the file.  Draws from torch's generator."""

    @abstractmethod
    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        """ΔW, of the shape of the site, with gradients for what is trained.  Draws nothing."""

    def chain(self, trained: Mapping[str, Tensor], site: Site, original: Stored) -> list[Tensor] | None:
        """Weights that do in turn what ΔW does, at less cost; None of a change that is no such chain.

        One of them at most looks at more than one pixel.
        """
        return None

    def scales(self, trained: Mapping[str, Tensor]) -> Scales | None:
        """How much is added of each channel that the weight is given, or gives; None of a change that is no such."""
        return None

    def row_norms(self, trained: Mapping[str, Tensor]) -> Tensor | None:
        """(out, …), float32: to which norms the rows of W + the chain's change are brought; None where they stay."""
        return None

    def draw(self, site: Site) -> Any:
        """What is left to chance in a pass through the model in training; None of a kind that leaves nothing to it.

        Drawn once for layers that are one matrix.
        """
        return None

    def acting(self, trained: Mapping[str, Tensor], site: Site, draw: Any) -> Mapping[str, Tensor]:
        """What takes the place of all that is trained in a pass for which draw() gave this."""
        return trained

    def between(self, site: Site, timesteps: Tensor) -> Tensor | None:
        """(B, rank): how much each rank counts, in training, of pictures at timesteps (B,) in [0, 1000].

        Of a kind with a chain; None of one that is the same at all timesteps.
        """
        return None

    def in_file(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """How the file says what is trained."""
        return trained

    def from_file(self, tensors: Mapping[str, Tensor], site: Site) -> Mapping[str, Tensor]:
        """What is trained that the file says like this."""
        return tensors

    def drawn(self, *shape: int) -> Tensor:
        """How tensors begin that would begin at zero, if they shall not."""
        return drawn(*shape)

    def fixed(self, site: Site) -> dict[str, Tensor]:
        """What the file says beside what is trained."""
        return {"alpha": torch.tensor(float(site.alpha))}


def whole_name(name: str) -> str:
    """Of what a tensor that is trained may be a piece."""
    return name.partition("/")[0]


def drawn(*shape: int) -> Tensor:
    """How matrices begin that do not begin at zero: Kaiming-uniform (a = √5), as torch's own layers do."""
    return init.kaiming_uniform_(torch.empty(shape), a=sqrt(5))


def strength(site: Site) -> float:
    return site.alpha / site.rank


def tucker_of(settings: TrainingSettings) -> bool:
    """Whether wide convolutions are to have a core tensor; CP is LyCORIS's older name for it."""
    return bool(settings.applied("use_tucker") or settings.applied("use_cp"))
