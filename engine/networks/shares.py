"""Which layers a network trains, with what rank and alpha, and at what rate: what the options on blocks, parts of a
model and patterns say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

from engine.failure import Failure
from engine.networks.signs import looks_wide
from engine.settings.block_lists import (
    OF_RATES,
    SECTIONS,
    Block,
    block_of,
    blocks_of,
    by_block,
    chosen,
    weights_of,
)
from engine.settings.flux_ranks import INPUTS
from engine.settings.layer_patterns import Pattern, pairs_in, patterns_in
from engine.settings.lycoris_preset import PresetFile, is_file, preset_file
from engine.settings.network import WITH_CONVOLUTIONS
from engine.settings.sd_networks import LYCORIS, TYPES
from engine.settings.training import TrainingSettings, training_options


@dataclass(frozen=True)
class Share:
    """Of one layer.  rate: of its part, times so much; own_rate: instead of that, if it is not None.

    parts: how many have such matrices of their own within the layer: see apart.py.
    """

    rank: int
    alpha: float
    rate: float = 1.0
    own_rate: float | None = None
    parts: int = 1

    def has_room_for(self, rank: int) -> bool:
        """Whether a file's matrices of this rank can begin it."""
        return rank in (self.rank, self.rank * self.parts)

    def learning_rate(self, of_part: float) -> float:
        return of_part * self.rate if self.own_rate is None else self.own_rate


class Shares:
    """What the settings say.  notes: (option, sentence) about what was done to a list to make it fit.

    Raises Failure, with the option, where one cannot be read.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self._family, self._applied = settings.family(), _applied(settings)
        network = settings.network
        self.notes: list[tuple[str, str]] = []
        self._usual = (network.network_dim, network.network_alpha)
        reaches_wide = has_wide(settings)
        self._usual_wide = of_convolutions(settings) or (0, network.conv_alpha or 1.0) if reaches_wide else (0, 1.0)
        self._lists = self._by_block("block_dims", "block_alphas")
        self._lists_wide = self._by_block("conv_block_dims", "conv_block_alphas")
        if not reaches_wide:
            self._lists_wide = None
        self._rates = dict(self._weights())
        self._ranks_of_inputs = dict(self._inputs())
        self._ranks_of_parts = dict(self._parts()) | self._ranks_of_inputs
        self._refuse_two_ranks()
        self._left_out = dict(self._unchosen())
        self._apart, self._by_root = settings.applied("split_qkv"), settings.applied("rs_lora")
        self._excluded, self._included = (
            self._read(name, patterns_in) or [] for name in ("exclude_patterns", "include_patterns")
        )
        self._own_ranks = self._read("network_reg_dims", partial(pairs_in, number=int)) or []
        self._own_rates = self._read("network_reg_lrs", partial(pairs_in, number=float)) or []

    def at(self, name: str, shape: tuple[int, ...]) -> Share | None:
        """Of the layer of this name in kohya's files, whose weight has this shape; None if nothing is trained there."""
        if _any_in("exclude_patterns", self._excluded, name) and not _any_in("include_patterns", self._included, name):
            return None
        block = block_of(name) if name.startswith("lora_unet_") else None
        rank, alpha = self._rank(name, block, wide=looks_wide(shape))
        alpha = alpha_for(self._by_root, rank, alpha)
        rate = self._rates.get(block, 1.0) if block else 1.0
        parts = next((parts for end, parts in _JOINED.items() if self._apart and name.endswith(end)), 1)
        share = Share(rank, alpha, rate, _value("network_reg_lrs", self._own_rates, name), parts)
        return share if rank and share.learning_rate(1.0) else None

    @property
    def go_by_names(self) -> bool:
        """Whether layers of one shape may have different shares, by their names."""
        named = (self._lists, self._lists_wide, self._rates, self._ranks_of_parts, self._excluded, self._own_ranks)
        return any((*named, self._own_rates, self._apart, *self._left_out.values()))

    def untrained(self) -> str:
        """The option that leaves none of the denoiser's blocks a rank and a learning rate; "" where some have both, or
        may have them by name, and where FLUX.1's inputs have.
        """
        blocks = [block for sections in SECTIONS.get(self._family, ()) for block in blocks_of(sections)]
        named_rates = any(rate for _, rate in self._own_rates)
        rated = [block for block in blocks if named_rates or self._rates.get(block, 1.0) > 0]
        if blocks and not rated:
            return "down_lr_weight"
        if any(rank for _, rank in self._own_ranks) or any(self._ranks_of_inputs.values()):
            return ""
        kept = [block for block in rated if block.number not in self._left_out.get(block.section, ())]
        if blocks and not kept:
            return next(f"train_{section}_block_indices" for section in self._left_out)
        for lists, (usual, _) in ((self._lists, self._usual), (self._lists_wide, self._usual_wide)):
            ranks = [(lists or {}).get(block, _UNSAID)[0] for block in kept]
            if any(usual if rank is None else rank for rank in ranks):
                return ""
        return "block_dims" if self._lists else ""

    def _rank(self, name: str, block: Block | None, *, wide: bool) -> tuple[int, float]:
        """And alpha; a rank of 0 for no network there."""
        if (own := _value("network_reg_dims", self._own_ranks, name)) is not None:
            return own, self._usual[1]
        if block and block.number in self._left_out.get(block.section, ()):
            return 0, 0
        usual, lists = (self._usual_wide, self._lists_wide) if wide else (self._usual, self._lists)
        of_block = _UNSAID
        if block and lists:
            if block not in lists:
                raise Failure(
                    f"This model has a {block.section} block {block.number}, which the lists of blocks have no number "
                    "for.",
                    "Clear them.",
                    "block_dims",
                )
            of_block = lists[block]
        rank, alpha = of_block
        if rank is None:
            parts = self._ranks_of_parts.items()
            rank = next((rank for words, rank in parts if all(word in name for word in words)), usual[0])
        return rank, (usual[1] if alpha is None else alpha) or float(rank)

    def _refuse_two_ranks(self) -> None:
        """sd-scripts, whose parts these are, knows no ranks of FLUX.1's blocks."""
        if not self._applied["block_dims"].strip():
            return
        for option in _PARTS:
            if rank := self._applied[option].strip():
                raise Failure(
                    f"{_LABELS[option]} is {rank}, but Block dims gives every layer of a block the same rank.",
                    "Clear one of the two; Ranks by layer can be used with either.",
                    option,
                )

    def _by_block(self, of_ranks: str, of_alphas: str) -> dict[Block, _Listed] | None:
        """Rank and alpha by block, None where there are no such lists, and for what is in one of them alone."""
        ranks = self._read(of_ranks, partial(by_block, family=self._family, whole=True))
        alphas = self._read(of_alphas, partial(by_block, family=self._family))
        if not ranks and not alphas:
            return None
        return {
            block: (int(ranks[block]) if ranks else None, alphas[block] if alphas else None)
            for block in ranks or alphas
        }

    def _weights(self) -> Iterator[tuple[Block, float]]:
        least = self._read("block_lr_zero_threshold", _number) or 0.0
        for section in OF_RATES:
            option = f"{section}_lr_weight"
            if weights := self._read(option, partial(weights_of, section=section, family=self._family)):
                self.notes += [(option, note) for note in weights.notes]
                yield from ((block, factor if factor > least else 0.0) for block, factor in weights.factors.items())

    def _parts(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """(what names of a part of FLUX.1 contain, its rank): the first that fits counts."""
        for option, words in _PARTS.items():
            if (rank := self._read(option, _rank)) is not None:
                yield words, rank

    def _inputs(self) -> Iterator[tuple[tuple[str, ...], int]]:
        ranks = self._read("in_dims", ranks_of_inputs) or ()
        yield from (((f"lora_unet_{name}",), rank) for name, rank in zip(INPUTS, ranks, strict=False))

    def _unchosen(self) -> Iterator[tuple[str, frozenset[int]]]:
        for section, count in SECTIONS["flux"][0].items():
            picked = self._read(f"train_{section}_block_indices", partial(chosen, count=count))
            if picked is not None:
                yield section, frozenset(range(count)) - picked

    def _read(self, option: str, read: Callable[[str, str], Any]) -> Any:
        """An option's value, read; None where it is empty."""
        if not (text := str(self._applied[option]).strip()):
            return None
        try:
            return read(_LABELS[option], text)
        except ValueError as error:
            raise Failure(str(error), option=option) from error


_Listed = tuple[int | None, float | None]
"""Rank and alpha of a block, None for what its lists do not say."""

_UNSAID: _Listed = (None, None)

WITHOUT_WIDE = ("full-lin", "attn-mlp", "attn-only", "unet-transformer-only", "ia3")
"""LyCORIS's presets that leave out convolutions of more than one pixel."""

_JOINED = {"_attn_qkv": 3, "_linear1": 4}
"""FLUX.1's layers that are several in one: queries, keys, values, and what feeds forward beside them."""

_PARTS: Mapping[str, tuple[str, ...]] = {
    "img_attn_dim": ("img_attn",),
    "txt_attn_dim": ("txt_attn",),
    "img_mlp_dim": ("img_mlp",),
    "txt_mlp_dim": ("txt_mlp",),
    "img_mod_dim": ("img_mod",),
    "txt_mod_dim": ("txt_mod",),
    "single_dim": ("single_blocks", "linear"),
    "single_mod_dim": ("modulation",),
}
"""What the names of FLUX.1's layers contain, by the option that gives them a rank."""

_OPTIONS = (
    "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas", "down_lr_weight", "mid_lr_weight",
    "up_lr_weight", "block_lr_zero_threshold", "exclude_patterns", "include_patterns", "network_reg_dims",
    "network_reg_lrs", "in_dims", "train_double_block_indices", "train_single_block_indices", *_PARTS,
)  # fmt: skip
_LABELS = {item.name: item.label for item in training_options() if item.name in _OPTIONS}


def of_convolutions(settings: TrainingSettings) -> tuple[int, float] | None:
    """Rank and alpha of what is on convolutions of more than one pixel; None if nothing is but by lists of blocks.

    An alpha of 0 means the rank.  LyCORIS's kinds without a rank of their own for them train them with the others.
    """
    s = settings.network
    if s.lora_type in WITH_CONVOLUTIONS:
        return (s.conv_dim, s.conv_alpha or float(s.conv_dim)) if s.conv_dim else None
    return (s.network_dim, s.network_alpha) if TYPES[s.lora_type][0] == LYCORIS else None


def alpha_for(by_root: bool, rank: int, alpha: float) -> float:
    """As files are to say it, whose readers all apply a network with strength alpha ÷ rank.

    by_root: whether it is stabilised by rank, alpha ÷ √rank.  Source: Kalajdzievski 2023, arXiv:2312.03732, equation 5.
    """
    return alpha * sqrt(rank) if by_root else alpha


def has_wide(settings: TrainingSettings) -> bool:
    """Whether convolutions of more than one pixel are trained."""
    s = settings.network
    of_lycoris = TYPES[s.lora_type][0] == LYCORIS
    preset = settings.lycoris.lycoris_preset
    if of_lycoris and (preset in WITHOUT_WIDE or (is_file(preset) and not preset_at(preset).convolutions)):
        return False
    return bool(settings.blocks.conv_block_dims.strip()) or of_convolutions(settings) is not None


def ranks_of_inputs(label: str, text: str) -> tuple[int, ...]:
    """Raises ValueError, a sentence."""
    parts = [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
    if len(parts) != len(INPUTS) or not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(
            f'{label} is "{text}". Give five ranks separated by commas, for image, time, vector, guidance and text, '
            "or clear it."
        )
    return tuple(map(int, parts))


def _applied(settings: TrainingSettings) -> dict[str, Any]:
    """The options' values, their defaults where they mean nothing beside the others."""
    values = settings.values() | {"method": settings.method}
    return {
        item.name: item.value_in(settings) if item.applies(values) else item.default
        for item in training_options()
        if item.name in _OPTIONS
    }


def _rank(label: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f'{label} is "{text}". Give a rank, 0 to leave these layers untrained, or clear it.')
    return int(text)


def _number(label: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f'{label} is "{text}". Give a number of 0 or more, or clear it.')
    return number


def _any_in(option: str, patterns: Iterable[Pattern], name: str) -> bool:
    return _value(option, ((pattern, True) for pattern in patterns), name) is not None


def _value(option: str, pairs: Iterable[tuple[Pattern, Any]], name: str) -> Any:
    """Of the first pattern that fits; None if none does.  Raises Failure where looking takes too long."""
    try:
        return next((value for pattern, value in pairs if pattern.is_in(name)), None)
    except ValueError as error:
        raise Failure(str(error), option=option) from error


def preset_at(path: str) -> PresetFile:
    """LyCORIS's preset file there.  Raises Failure where it cannot be followed."""
    try:
        return preset_file(path)
    except ValueError as error:
        raise Failure(str(error), option="lycoris_preset") from error
