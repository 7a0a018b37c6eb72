"""A network of any kind that changes weights: for each site W, W + ΔW, where the kind makes ΔW of what is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import isclose
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.quantize import QuantizedLinear
from engine.models.stored import Stored
from engine.models.targets import Attachment, Target, is_norm
from engine.networks.dropout import Dropouts, RowsLeftOut
from engine.networks.held import Held, Otherwise
from engine.networks.kind import Kind, Original, Scales, Site, site_of, whole_name
from engine.networks.magnitudes import LEAST_NORM, norms_with_chain, scaled
from engine.networks.norms import ChangedNorm
from engine.networks.recomputed import through, with_made_weight
from engine.networks.signs import TURNING


class ChangedLayer(nn.Module):
    """A Linear or a convolution whose weight is changed.  Its own forward stays in use, for it may be quantized."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.steps: dict[str, Any] = (
            {"stride": base_layer.stride, "padding": base_layer.padding, "dilation": base_layer.dilation}
            if isinstance(base_layer, nn.Conv2d)
            else {}
        )
        self.train(base_layer.training)
        self.place: Any = None  # set by Place; its tensors are a child of the first layer of each

    @property
    def weight(self) -> Any:
        return self.base_layer.weight

    @property
    def bias(self) -> Any:
        return self.base_layer.bias

    def original(self) -> Stored:
        """The weight of now, at full width."""
        if isinstance(self.base_layer, QuantizedLinear):
            return self.base_layer.widened(torch.float32)
        return Stored.whole(self.weight.detach())

    def acts_as_one(self, x: Tensor) -> bool:
        """Whether the changed weight is made and used as one: with one pass where the weight and its change would need
        one each.  In few digits a change is lost that is small beside the weight.
        """
        is_wide = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        return is_wide and not isinstance(self.base_layer, QuantizedLinear)

    def with_weights(self, x: Tensor, weights: list[Tensor], counts: Tensor | None = None) -> Tensor:
        """What the layer does, without its bias, with other weights in turn: a convolution's steps are the widest's.

        counts: (B, rank), how much what the first gives counts, by sample.
        """
        widest = max(range(len(weights)), key=lambda number: weights[number].shape[2:].numel())
        for number, weight in enumerate(weights):
            x = through(x, weight, self.steps if number == widest else {})
            if number == 0 and counts is not None:
                rank_first = x.dim() == 4 and weight.dim() == 4
                shape = (*counts.shape, 1, 1) if rank_first else (len(counts), *[1] * (x.dim() - 2), counts.shape[1])
                x = x * counts.view(shape).to(x)
        return x

    def with_row_norms(self, alone: Tensor, x: Tensor, chain: list[Tensor], norms: Tensor) -> Tensor:
        """What the layer does, where the chain changes its weight and the rows are then brought to these norms.

        alone: what its weight does without either.
        """
        scale = norms.flatten() / norms_with_chain(self.original(), chain).clamp(min=LEAST_NORM)
        bias = None if self.bias is None else self.along_channels(self.bias.detach().float())
        return scaled(alone, self.with_weights(x, chain), self.along_channels(scale), bias)

    def along_channels(self, values: Tensor) -> Tensor:
        """One for each channel, in a shape that broadcasts along what the layer is given or gives."""
        return values.view(-1, 1, 1) if self.steps else values

    def forward(self, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        if self.place.scales_rows:
            with without_bias(self.base_layer):
                alone: Tensor = self.base_layer(x, *rest, **named)
            return self.place.scale(alone, x, self)
        return self.place.add(lambda given: self.base_layer(given, *rest, **named), x, self)


@contextmanager
def without_bias(layer: Any) -> Iterator[None]:
    """In few digits, what the weight does could not be seen any more beside a large bias."""
    bias = layer._parameters.get("bias")
    layer.bias = None
    try:
        yield
    finally:
        layer.bias = bias


def _key(name: str) -> str:
    """In a ParameterDict, whose keys have no dots."""
    return name.replace(".", "_")


class Place:
    """What is trained at one place of kohya's files, for the layers that are one matrix there."""

    def __init__(
        self, attachment: Attachment, layers: list[ChangedLayer], kind: Kind, site: Site, dropouts: Dropouts
    ) -> None:
        self.kind, self.site, self.dropouts = kind, site, dropouts
        self._swapped, self._layers = attachment.swapped, layers
        self._rows = [layer.weight.shape[0] for layer in layers]
        self._left_out = RowsLeftOut(dropouts, partial(kind.draw, site))
        self.counts: Tensor | None = None  # see Kind.between(); of the batch that is trained on
        self._alpha: float | None = None  # a file's
        self.scales_rows = False
        for layer in layers:
            layer.place = self

    def begin(self, dtype: torch.dtype, held: Held | None = None) -> None:
        """held: of a file whose sizes are to be this place's."""
        begun = self.kind.begin(self.site, self.original())
        if held is not None:
            fixed, self._alpha = self.kind.fixed(self.site), held.alpha
            sized = held.as_in({name: tuple(tensor.shape) for name, tensor in self.kind.in_file(begun).items()})
            device = next(iter(begun.values())).device  # none, where only memory is counted
            tensors = {end: one.to(device) for end, one in sized.tensors.items() if end not in fixed}
            begun = dict(self.kind.from_file(tensors, self.site))
        self._names = list(begun)
        # With the layer, so that it goes where that goes.
        self._layers[0].trained = nn.ParameterDict(
            {_key(name): tensor if name in self.kind.exact else tensor.to(dtype) for name, tensor in begun.items()}
        )

        has_norms = self.kind.row_norms(self.trained) is not None
        self.scales_rows = has_norms and self.kind.chain(self.trained, self.site, self.original()) is not None

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """By how the names end in the file."""
        tensors: Any = self._layers[0].trained
        return {name: tensors[_key(name)] for name in self._names}

    @property
    def fixed(self) -> dict[str, Tensor]:
        """What the file says beside what is trained."""
        fixed = self.kind.fixed(self.site)
        if self._alpha is not None and "alpha" in fixed:
            fixed["alpha"] = torch.tensor(self._alpha)
        return fixed

    def begin_from(self, name: str, held: Held) -> None:
        """Raises Otherwise where something of the file would be lost, RuntimeError where it has another size."""
        trained, fixed = self.trained, self.kind.fixed(self.site)
        counted = any(tensor.is_meta for tensor in fixed.values())  # where only memory is, nothing has a value
        told = {} if counted else {end: tensor.item() for end, tensor in fixed.items()}
        # In few digits in the file.
        if held.kind in TURNING and told and not isclose(held.alpha, told["alpha"], rel_tol=0.01):
            raise Otherwise(f"{name} may turn by {held.alpha:g}, not {told['alpha']:g}")
        shapes = {end: tuple(tensor.shape) for end, tensor in self.kind.in_file(trained).items()}
        alike = held.as_in(shapes)
        for end, tensor in alike.tensors.items():
            if end in told and tensor.item() != told[end]:
                raise Otherwise(f"{name}.{end} is {tensor.item():g}, not {told[end]:g}")
            if end not in fixed and shapes.get(end) != tuple(tensor.shape):
                raise RuntimeError(f"{name}.{end} is of shape {tuple(tensor.shape)}, not {shapes.get(end, 'there')}")
        if held.rank and self.kind.fast:
            # A strength that differs goes into what begins at zero: the change is linear in it.
            scaled = held.alpha / held.rank / (self.site.alpha / self.site.rank)
            alike = replace(alike, tensors=alike.scaled(scaled, self.kind.fast))
        begun = self.kind.from_file(alike.tensors, self.site)
        if lost := [end for end in trained if end not in begun]:
            raise RuntimeError(f"{name}.{whole_name(lost[0])} is not there")
        for end, parameter in trained.items():
            parameter.copy_(begun[end])

    def original(self) -> Stored:
        """Stacked as in the file."""
        return Stored.stacked([layer.original() for layer in self._layers], self._turned)

    def change(self) -> Tensor:
        return self.kind.change(self.trained, self.site, self.original())

    def fast_parameters(self) -> list[nn.Parameter]:
        return [tensor for name, tensor in self.trained.items() if whole_name(name) in self.kind.fast]

    def file_weights(self) -> dict[str, Tensor]:
        """By how the names end in the file."""
        return {**self.kind.in_file(self.trained), **self.fixed}

    def state(self) -> dict[str, Tensor]:
        """What a run goes on from: what is trained, and the alpha if that is a file's."""
        return {**self.trained} if self._alpha is None else {**self.trained, "alpha": torch.tensor(self._alpha)}

    def limit_norm(self, most: float) -> None:
        norm, trained = self.change().norm().clamp(min=most / 2), self._of_weight(self.trained)
        # The change is a product of all that is trained: each factor takes its share of the shortening.
        shortening = (most / norm).clamp(max=1) ** (1 / len({*map(whole_name, trained)}))
        for tensor in trained.values():
            tensor.mul_(shortening)

    def add(self, alone: Callable[[Tensor], Tensor], x: Tensor, layer: ChangedLayer) -> Tensor:
        """alone: what the layer by itself makes of what it is given."""
        number, counts = self._layers.index(layer), self.counts if layer.training else None
        if (drawn := self._drawn(number, x, layer)) is None:
            return alone(x)
        trained, kept = drawn
        original = self.original()
        dropout = self.dropouts.network if layer.training else 0.0
        as_one = kept is None and not dropout and layer.acts_as_one(x)
        if (scales := self.kind.scales(trained)) is not None:
            if as_one and scales.of_inputs:
                return alone(x * (1 + layer.along_channels(scales.values)))
            delta = self._of_scaled(alone, x, layer, scales, number, kept)
        elif (chain := self.kind.chain(trained, self.site, original)) is not None:
            delta = layer.with_weights(x, self._chain_of(chain, number, kept), counts)
        elif as_one:
            return self._of_made_weight(x, layer, trained, number, original, whole=True)
        else:
            delta = self._of_made_weight(x, layer, trained, number, original, kept)
        return alone(x) + F.dropout(delta, dropout)

    def scale(self, alone: Tensor, x: Tensor, layer: ChangedLayer) -> Tensor:
        """Where rows are brought to norms.  alone: of the layer's weight."""
        number, bias = self._layers.index(layer), layer.bias
        drawn = self._drawn(number, x, layer)
        drops = layer.training and bool(self.dropouts.network or self.dropouts.rank)
        y = (
            alone
            if bias is None or not (drawn is None or drops)
            else alone + layer.along_channels(bias).to(alone.dtype)
        )
        if drawn is None:
            return y
        trained, kept = drawn
        chain, norms = self.kind.chain(trained, self.site, self.original()), self.kind.row_norms(trained)
        assert chain is not None
        assert norms is not None
        changed = layer.with_row_norms(alone, x, self._chain_of(chain, number), self._rows_of(norms, number))
        if not drops:
            return changed
        delta = changed - y
        if kept is not None:
            delta = self._times(delta, kept, layer, number)
        return y + F.dropout(delta, self.dropouts.network, layer.training)

    def _drawn(self, number: int, x: Tensor, layer: ChangedLayer) -> tuple[Mapping[str, Tensor], Tensor | None] | None:
        """(what acts in this pass, how much each row counts), None where the change is left out."""
        trained: Mapping[str, Tensor] = self.trained
        if not layer.training:
            return trained, None
        self._left_out.enter(number)
        if self._left_out.leaves_out:
            return None
        kept = self._left_out.kept(self.site.shape[0], x)
        if self._left_out.drawn is not None:
            trained = self.kind.acting(trained, self.site, self._left_out.drawn)
        return trained, kept

    def _chain_of(self, chain: list[Tensor], number: int, kept: Tensor | None = None) -> list[Tensor]:
        """For the layer of this number."""
        *before, last = chain
        return [*before, self._rows_of(last, number, kept)]

    def _of_scaled(
        self,
        alone: Callable[[Tensor], Tensor],
        x: Tensor,
        layer: ChangedLayer,
        scales: Scales,
        number: int,
        kept: Tensor | None,
    ) -> Tensor:
        given = x * layer.along_channels(scales.values).to(x.dtype) if scales.of_inputs else x
        with without_bias(layer.base_layer):
            delta = alone(given)
        if not scales.of_inputs:
            delta = self._times(delta, scales.values, layer, number)
        return delta if kept is None else self._times(delta, kept, layer, number)

    def _times(self, given: Tensor, values: Tensor, layer: ChangedLayer, number: int) -> Tensor:
        """What the layer of this number gives, times its part of what there is one of for each of all rows."""
        return given * layer.along_channels(self._rows_of(values, number)).to(given.dtype)

    def _of_made_weight(
        self,
        x: Tensor,
        layer: ChangedLayer,
        trained: Mapping[str, Tensor],
        number: int,
        original: Stored,
        kept: Tensor | None = None,
        *,
        whole: bool = False,
    ) -> Tensor:
        """whole: what the layer gives with its changed weight, and not what the change adds to it."""
        of_weight = self._of_weight(trained)

        def made(original: Original, *tensors: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                weight = self.kind.change(dict(zip(of_weight, tensors, strict=True)), self.site, original)
                return self._rows_of(original() + weight if whole else weight, number, kept)

        result = with_made_weight(x, made, original, list(of_weight.values()), layer.steps)
        of_bias = trained.get(self.kind.of_bias)
        bias = None if of_bias is None else self._rows_of(of_bias, number, kept)
        if whole and layer.bias is not None:
            bias = layer.bias.detach() if bias is None else bias + layer.bias.detach()
        return result if bias is None else result + layer.along_channels(bias).to(result.dtype)

    def _of_weight(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in trained.items() if name != self.kind.of_bias}

    def _rows_of(self, weight: Tensor, number: int, kept: Tensor | None = None) -> Tensor:
        """Those of the layer of this number.  kept: how much each of all rows counts."""
        if kept is not None:
            weight = weight * kept.view(-1, *[1] * (weight.dim() - 1)).to(weight.dtype)
        turned = self._turned(weight)
        # Autograd would put a single one's gradient together anew.
        return turned if len(self._rows) == 1 else turned.split(self._rows)[number]

    def _turned(self, weight: Tensor) -> Tensor:
        """Between the file's order of rows and the layers'."""
        return torch.cat(weight.chunk(2)[::-1]) if self._swapped else weight


class WeightNetwork:
    """Attached on construction.  given: rank and alpha by attachment name.  dtype: of what is trained.

    told: what the file says of the network as a whole.  sizes: a file's, by attachment name, which go before `given`.
    """

    def __init__(
        self,
        targets: list[Target],
        kind: Kind,
        given: Mapping[str, tuple[int, float]],
        *,
        told: Mapping[str, Any],
        dropouts: Dropouts | None = None,
        dtype: torch.dtype = torch.float32,
        sizes: Mapping[str, Held] | None = None,
    ) -> None:
        self._kind, self._told = kind, told
        self._places: dict[str, dict[str, Place | ChangedNorm]] = {}
        for target in targets:
            places = self._places.setdefault(target.group, {})
            for attachment in target.attachments:
                bases: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
                if is_norm(bases[0]):
                    norm = ChangedNorm(bases[0], dropouts or Dropouts(), dtype)
                    target.module.set_submodule(attachment.paths[0], norm)
                    places[attachment.name] = norm
                    continue
                held = (sizes or {}).get(attachment.name)
                rank_and_alpha = (held.rank, held.alpha) if held and held.rank else given[attachment.name]
                site = site_of(target, attachment, *rank_and_alpha)
                layers = [ChangedLayer(base) for base in bases]
                for path, layer in zip(attachment.paths, layers, strict=True):
                    target.module.set_submodule(path, layer)
                place = Place(attachment, layers, kind.at(attachment), site, dropouts or Dropouts())
                place.begin(dtype, held)
                places[attachment.name] = place

    def parameters(self, group: str) -> list[nn.Parameter]:
        return [parameter for place in self.by_place(group).values() for parameter in place]

    def by_place(self, group: str) -> dict[str, list[nn.Parameter]]:
        return {name: list(place.trained.values()) for name, place in self._places.get(group, {}).items()}

    def fast_parameters(self, group: str) -> list[nn.Parameter]:
        return [tensor for place in self._places.get(group, {}).values() for tensor in place.fast_parameters()]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{name}.{end}": tensor.detach() for name, place in self._all() for end, tensor in place.state().items()
        }

    def file_weights(self) -> dict[str, Tensor]:
        return {
            f"{name}.{end}": tensor.detach()
            for name, place in self._all()
            for end, tensor in place.file_weights().items()
        }

    @torch.no_grad()
    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        for name, place in self._all():
            for end, tensor in place.trained.items():
                found = weights[f"{name}.{end}"]
                if found.shape != tensor.shape:
                    raise RuntimeError(f"{name}.{end} is of shape {tuple(found.shape)}, not {tuple(tensor.shape)}")
                tensor.copy_(found)

    def see(self, timesteps: Tensor) -> None:
        counts: dict[Site, Tensor | None] = {}
        for place in self._places.get("unet", {}).values():
            if isinstance(place, Place):
                if place.site not in counts:
                    counts[place.site] = self._kind.between(place.site, timesteps)
                place.counts = counts[place.site]

    def before_update(self) -> None: ...

    @torch.no_grad()
    def begin_from(self, held: Mapping[str, Held]) -> None:
        for places in self._places.values():
            for name, place in places.items():
                if found := held.get(name):
                    place.begin_from(name, found)

    @torch.no_grad()
    def limit_norms(self, most: float) -> None:
        for _, place in self._all() if self._kind.is_product else ():
            place.limit_norm(most)

    def metadata(self) -> dict[str, Any]:
        return dict(self._told)

    def _all(self) -> Iterator[tuple[str, Place | ChangedNorm]]:
        """By their names in files."""
        for places in self._places.values():
            for name, place in places.items():
                yield self._kind.prefix + name.removeprefix("lora"), place
