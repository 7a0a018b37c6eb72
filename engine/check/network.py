"""Can a network of this type do what is asked of it, and do its ranks and rates make sense?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.check.problem import Problem, as_problem
from engine.failure import Failure
from engine.networks.readers import not_read
from engine.networks.shares import Shares, has_wide
from engine.settings.families import TITLES, TRANSFORMERS, FamilyName
from engine.settings.lycoris import EVERY_LYCORIS, PRESETS
from engine.settings.lycoris_preset import is_file
from engine.settings.network import (
    PARTS,
    RANKED_BY_MATRIX,
    WITH_FROZEN_DOWN,
    WITHOUT_FAST,
    WITHOUT_NORM,
    is_of_two_matrices,
)
from engine.settings.training import TrainingSettings

WIDTHS: Mapping[FamilyName, tuple[int, int]] = {
    "sd1": (320, 1280),
    "sd2": (320, 1280),
    "sdxl": (640, 1280),
    "sd3": (1536, 2432),
    "flux": (3072, 3072),
    "chroma": (3072, 3072),
    "lumina": (2304, 2304),
}
"""Of the narrowest and the widest layers of the denoiser's blocks."""


def check_network(settings: TrainingSettings) -> Iterator[Problem]:
    s = settings.network
    if not settings.trains_network:
        yield from as_problem("block_lr", settings.rates_by_block)
        return
    try:
        shares = Shares(settings)
    except Failure as failure:
        yield Problem(failure.option, failure.what, failure.mend)
        return
    yield from _shares(settings, shares)
    if settings.applied("split_qkv") and s.network_weights and s.dim_from_weights:
        yield Problem(
            "dim_from_weights",
            "DIM from weights cannot be used with Split QKV, whose parts have ranks of their own.",
            "Turn one of the two off.",
        )
    yield from _faster(settings)
    if refusal := not_read(settings):
        yield Problem(refusal.option, refusal.what, refusal.mend)
    if is_of_two_matrices(s.lora_type):
        return
    preset = settings.lycoris.lycoris_preset
    if s.lora_type in EVERY_LYCORIS and preset not in PRESETS and not is_file(preset):
        yield Problem(
            "lycoris_preset",
            f'There is no LyCORIS preset "{preset}".',
            f"Choose one of {', '.join(PRESETS)}, or a .toml file.",
        )
    if s.scale_weight_norms and (s.lora_type in WITHOUT_NORM or settings.applied("dora_wd")):
        without, left_out = s.lora_type in WITHOUT_NORM, s.lora_type in EVERY_LYCORIS
        yield Problem(
            "scale_weight_norms",
            f"The norm of a layer's change cannot be limited with {s.lora_type if without else 'DoRA'}"
            + (", so this does nothing, as in LyCORIS." if without and left_out else "."),
            "Set it to 0.",
            blocking=not (without and left_out),
        )
    yield from _blocks(settings)
    yield from _units(settings)
    yield from _parts(settings)
    least = settings.applied("tlora_least_rank")
    if least > s.network_dim:
        yield Problem(
            "tlora_least_rank",
            f"T-LoRA least rank is {least}, above Network Rank {s.network_dim}, so all ranks would always be trained.",
            "Lower it, or choose LoRA type Standard.",
        )


def _faster(settings: TrainingSettings) -> Iterator[Problem]:
    """LoRA+ trains the up matrices faster than the down ones."""
    s = settings.network
    for part in PARTS:
        option, ratio = s.loraplus_ratio(part)
        if ratio == 1:
            continue
        if s.lora_type in WITHOUT_FAST:
            yield Problem(option, f"{s.lora_type} has no up matrices, which LoRA+ trains faster.", "Set it to 0.")
            return
        if s.lora_type in WITH_FROZEN_DOWN:
            yield Problem(
                option,
                f"{s.lora_type} trains up matrices alone, so there is nothing that LoRA+ could train more slowly.",
                "Set it to 0, and raise the learning rate instead.",
            )
            return


def _shares(settings: TrainingSettings, shares: Shares) -> Iterator[Problem]:
    """Of blocks, parts and layers; the widths are those of the family's published models."""
    for option, note in shares.notes:
        yield Problem(option, note, blocking=False)
    if option := shares.untrained():
        yield Problem(
            option,
            f"No block of the {'transformer' if settings.family() in TRANSFORMERS else 'UNet'} is trained: each has a "
            "rank or a learning rate of 0.",
            "Give some a value above 0, or clear the list.",
            blocking=not settings.network_rates()[1],
        )
    yield from _sizes(settings)


def _sizes(settings: TrainingSettings) -> Iterator[Problem]:
    s, family = settings.network, settings.family()
    narrow, wide = WIDTHS.get(family, (1, 1_000_000))
    if s.lora_type in RANKED_BY_MATRIX and s.network_dim > wide:
        yield Problem(
            "network_dim",
            f"Network Rank {s.network_dim} is above the size of every matrix of {TITLES[family]}, which have {wide} "
            "rows or columns at most.",
            "8 to 128 is usual.",
        )
    factor = settings.applied("lokr_factor")
    if factor > 1 and narrow % factor:
        used = max(number for number in range(1, factor + 1) if narrow % number == 0)
        yield Problem(
            "lokr_factor",
            f"LoKr factor {factor} does not divide {narrow}, the width of layers of {TITLES[family]}; there {used} is "
            "used.",
            "Choose 4, 8 or 16, or -1.",
            blocking=False,
        )


def _blocks(settings: TrainingSettings) -> Iterator[Problem]:
    """OFT turns blocks of as many outputs as the rank; one output alone cannot be turned."""
    s = settings.network
    if s.lora_type not in ("LyCORIS/Diag-OFT", "LyCORIS/BOFT"):
        return
    for option, rank, mend in (
        ("network_dim", s.network_dim, "Set it to 2 or more."),
        ("conv_dim", s.conv_dim, "Set it to 2 or more, or to 0 to leave these convolutions untrained."),
    ):
        if rank == 1:
            yield Problem(option, f"{s.lora_type} turns blocks of this many outputs; blocks of 1 learn nothing.", mend)


def _units(settings: TrainingSettings) -> Iterator[Problem]:
    """DyLoRA divides the ranks into units of the same size."""
    s, unit = settings.network, settings.applied("dylora_unit")
    conv_dim = s.conv_dim if has_wide(settings) else 0
    for option, rank, also in (
        ("network_dim", s.network_dim, "set DyLoRA Unit to a number that divides it."),
        ("conv_dim", conv_dim, "to 0 to leave these convolutions untrained."),
    ):
        if rank % unit:
            yield Problem(
                option,
                f"DyLoRA trains ranks in groups of {unit}, and {rank} cannot be divided into such groups.",
                f"Set it to {rank + -rank % unit}, or {also}",
            )


FLUXS_WIDTH = 3072
"""Outputs of FLUX.1's and Chroma's smallest layers, of which the others have multiples."""


def _parts(settings: TrainingSettings) -> Iterator[Problem]:
    """sd-scripts' OFT takes the rank for the number of blocks, and alpha for the constraint."""
    s = settings.network
    if s.lora_type != "Flux1 OFT":
        return
    if FLUXS_WIDTH % s.network_dim:
        yield Problem(
            "network_dim",
            f"Flux1 OFT divides the {FLUXS_WIDTH} outputs of a layer into as many blocks as the rank, and "
            f"{s.network_dim} does not divide them.",
            "Choose 4, 8, 16, 32 or another divisor.",
        )
    if s.network_alpha >= 1:
        yield Problem(
            "network_alpha",
            f"Flux1 OFT takes Network Alpha as its constraint, and {s.network_alpha:g} hardly limits anything.",
            "0.001 is usual.",
            blocking=False,
        )
