"""Models in single files of the original layouts: their tensors by name, and modules made from them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import Tensor, nn

from engine.failure import Failure
from engine.models import scales
from engine.models.file_kind import file_kind
from engine.models.header import NoModel
from engine.models.layouts import ema
from engine.models.layouts.entry import Entry, from_original, to_original
from engine.models.mapped import mapped
from engine.models.pickled import read_checkpoint
from engine.models.skeleton import is_without_weights

SINGLE_FILE_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth")

_FORMATS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "U8": torch.uint8, "I8": torch.int8, "BOOL": torch.bool,
}  # fmt: skip
"""Number formats by safetensors' names."""

Entries = Callable[[nn.Module, str], list[Entry]]
"""A layout: (module, prefix in the file) → its entries."""


class Weights(Mapping[str, Tensor]):
    """The tensors of a file by name; those of a safetensors file are read on demand.

    8-bit weights with scales are returned dequantized, and the scales are not listed.
    Raises Failure if the file is of another kind, damaged, or a pickle that could run code.
    option: the one that names the file, for messages.  metadata: what the file says about itself in words.
    averaged: a weight of which the file has an average as well is that average; Failure if it has none.
    """

    def __init__(self, file: Path, option: str, averaged: bool = False) -> None:
        self.file, self.option = file, option
        self._tensors: dict[str, Tensor] = {}
        self._open: Any = None
        self.metadata: Mapping[str, str] = {}
        try:
            kind = file_kind(file)
        except NoModel as error:
            raise Failure(str(error), error.mend, option) from error
        if kind == "safetensors":
            try:
                self._open = safe_open(file, "pt")
                self._names = list(self._open.keys())
                self.metadata = self._open.metadata() or {}
            except Exception as error:
                raise Failure(f"{file.name} is damaged: {first_line(error)}.", "Download it again.", option) from error
        else:
            self._tensors = _checkpoint(file, option)
            self._names = list(self._tensors)

        if foreign := scales.foreign(self._names):
            raise Failure(
                f"{file.name} has quantized weights in a format that this version does not read ({foreign}).",
                "Choose the file in fp16, bf16 or fp8.",
                option,
            )
        self._scales = scales.by_weight(self._names)
        self._beside = frozenset(self._names)
        self._names = scales.without_scales(self._names)
        self._listed = frozenset(self._names)
        self._stored_as = ema.averages(self._names) if averaged else {}
        if averaged and not self._stored_as:
            raise Failure(ema.none_in(file.name), ema.MEND, ema.OPTION)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._stored(name)
        if name not in self._scales or tensor.is_meta:
            return tensor
        try:
            told = name.removesuffix(".weight") + scales.FORMAT
            if told in self._beside:
                scales.check_format(self._stored(told))
            return scales.widened(tensor, self._stored(self._scales[name]))
        except ValueError as error:
            raise Failure(
                f"{self.file.name} has 8-bit weights with scales of a kind that this version does not read: "
                f"{name} {error}.",
                "Choose the file in fp16 or bf16.",
                self.option,
            ) from error

    def _stored(self, name: str) -> Tensor:
        name = self._stored_as.get(name, name)
        if self._open is None:
            return self._tensors[name]
        try:
            if is_without_weights():
                piece = self._open.get_slice(name)
                return torch.empty(piece.get_shape(), dtype=_FORMATS.get(piece.get_dtype()), device="meta")
            tensor: Tensor = self._open.get_tensor(name)
        except Exception as error:
            raise KeyError(name) from error
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._listed

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it.  Raises KeyError."""
        if self._open is None:
            return tuple(self._tensors[name].shape)
        if name not in self._names:
            raise KeyError(name)
        return tuple(self._open.get_slice(name).get_shape())


@dataclass(frozen=True)
class Piece:
    """One module of a model's single file.

    name: diffusers' name.  make: creates it without weights.  entries: its layout.  prefix: of its names.
    """

    name: str
    make: Callable[[], Any]
    entries: Entries
    prefix: str


def modules_from(weights: Weights, pieces: Iterable[Piece], dtype: torch.dtype, what: str) -> dict[str, Any]:
    """The modules of a whole model's file, by diffusers' names for them.  Raises Failure."""
    return {piece.name: module_from(weights, piece.make, piece.entries, piece.prefix, dtype, what) for piece in pieces}


def weights_from(modules: Mapping[str, nn.Module], pieces: Iterable[Piece]) -> dict[str, Tensor]:
    """The tensors of a whole model's file: the inverse of modules_from()."""
    return {
        name: tensor
        for piece in pieces
        for name, tensor in to_original(modules[piece.name], piece.entries(modules[piece.name], piece.prefix)).items()
    }


def unread_by(weights: Weights, modules: Mapping[str, nn.Module], pieces: Iterable[Piece]) -> dict[str, Tensor]:
    """Tensors of a whole model's file below the components' prefixes that no module here reads, such as OpenCLIP's
    logit_scale: copied unchanged, because they belong in the saved file.
    """
    found: dict[str, Tensor] = {}
    for piece in pieces:
        read = {entry.original for entry in piece.entries(modules[piece.name], piece.prefix)}
        found |= {n: weights[n].clone() for n in weights if n.startswith(piece.prefix) and n not in read}
    return found


def config_from(
    weights: Weights, shape_of: Callable[[Weights, str], dict[str, Any]], prefix: str, what: str
) -> dict[str, Any]:
    """A module's configuration from the shapes of its tensors.  Raises Failure if one of them is missing."""
    try:
        return shape_of(weights, prefix)
    except KeyError as error:
        raise Failure(
            f"{weights.file.name} is not a complete {what}: it lacks {error.args[0]}.",
            "Check that the file is of this kind, and that it was downloaded completely.",
            weights.option,
        ) from None


def module_from(
    weights: Weights, make: Callable[[], Any], entries: Entries, prefix: str, dtype: torch.dtype, what: str
) -> Any:
    """A module made from a file's tensors below a prefix, in eval mode.

    make: creates the module without weights.  what: its name for messages.
    Raises Failure if the file lacks a tensor, or has one of another shape.
    """
    with init_empty_weights():
        module = make()
    # Buffers, such as a table of positions, have been computed; they keep their own number format.
    formats = {name: tensor.dtype if not tensor.is_floating_point() else dtype
               for name, tensor in module.state_dict().items()}  # fmt: skip
    wanted = entries(module, prefix)
    missing = [entry.original for entry in wanted if entry.original not in weights]
    if missing:
        raise Failure(
            f"{weights.file.name} is not a complete {what}: it lacks {len(missing)} of its {len(wanted)} tensors, such "
            f"as {missing[0]}.",
            "Check that the file is of this kind, and that it was downloaded completely.",
            weights.option,
        )
    try:
        state = from_original(module, wanted, weights, formats)
        module.load_state_dict(state, assign=True, strict=False)  # what no entry names, its maker fills in
    except RuntimeError as error:
        raise Failure(
            f"{weights.file.name} is a {what} of a size that this version does not know: {first_line(error)}.",
            "Choose another file.",
            weights.option,
        ) from error
    return module.eval()


def first_line(error: Exception) -> str:
    text = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (" ".join(text[:2]) if text else type(error).__name__).rstrip(".")


def _checkpoint(file: Path, option: str) -> dict[str, Tensor]:
    """The tensors of a pickled file: with torch's weights-only loader or, if the file contains more than weights, such
    as PyTorch Lightning's callbacks, with what pickled.py finds of them without running the rest.
    """
    try:
        # Files from before torch 1.6 are not archives and cannot be mapped into memory.
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        try:
            return mapped(file, read_checkpoint(file))
        except NoModel as why:
            raise Failure(str(why), why.mend, option) from error
    except Exception as error:
        raise Failure(f"{file.name} is not a readable checkpoint: {first_line(error)}.", option=option) from error
    weights = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    return {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}
