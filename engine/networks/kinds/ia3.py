"""(IA)³: each channel of a layer's input or output is scaled by a number that is learned (Liu et al. 2022,
arXiv:2205.05638)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.models.targets import Attachment
from engine.networks.kind import Kind, Original, Scales, Site
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class IA3(Kind):
    """ΔW = W · diag(weight), or diag(weight) · W on the output.

    inputs_of: layers, by how their paths end, that have it on the input in any case.
    """

    on_input: bool = True
    inputs_of: tuple[str, ...] = ()

    def at(self, attachment: Attachment) -> IA3:
        return replace(self, on_input=self.on_input or attachment.paths[0].endswith(self.inputs_of), inputs_of=())

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        out, into, *kernel = site.shape
        channels = into if self.on_input else out
        return {"weight": torch.zeros((1, channels, *[1] * len(kernel)) if kernel else (channels,))}

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return {"on_input": torch.tensor(int(self.on_input))}

    def scales(self, trained: Mapping[str, Tensor]) -> Scales:
        return Scales(trained["weight"].flatten(), self.on_input)

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        point = [1] * (len(site.shape) - 2)
        weight = trained["weight"]
        return original() * (weight.view(1, -1, *point) if self.on_input else weight.view(-1, 1, *point))


def _of(settings: TrainingSettings) -> IA3:
    return IA3(settings.lycoris.train_on_input, _OF_PRESET if settings.lycoris.lycoris_preset == "ia3" else ())


_OF_PRESET = ("ff.net.2", "mlp.fc2")
"""Of LyCORIS's preset ia3, as the paper has it: keys and values are scaled, and what the second layer of a feed-forward
block is given."""


KINDS = {"LyCORIS/iA3": _of}
