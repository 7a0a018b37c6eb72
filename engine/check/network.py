"""Can a network of this type do what is asked of it?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem
from engine.networks import refusals
from engine.settings.lycoris import EVERY_LYCORIS, PRESETS
from engine.settings.network import PARTS, WITHOUT_FAST, WITHOUT_NORM, is_of_two_matrices
from engine.settings.training import TrainingSettings


def check_network(settings: TrainingSettings) -> Iterator[Problem]:
    s = settings.network
    if settings.method != "lora" or is_of_two_matrices(s.lora_type):
        return
    if s.network_weights:
        refusal = refusals.not_continued(s.lora_type)
        yield Problem(refusal.option, refusal.what, refusal.mend)
    preset = settings.lycoris.lycoris_preset
    if s.lora_type in EVERY_LYCORIS and preset not in PRESETS:
        yield Problem(
            "lycoris_preset", f'There is no LyCORIS preset "{preset}".', f"Choose one of {', '.join(PRESETS)}."
        )
    if s.scale_weight_norms and (s.lora_type in WITHOUT_NORM or settings.applied("dora_wd")):
        kind = s.lora_type if s.lora_type in WITHOUT_NORM else "DoRA"
        yield Problem(
            "scale_weight_norms", f"The norm of a layer's change cannot be limited with {kind}.", "Set it to 0."
        )
    yield from _blocks(settings)
    for part in PARTS if s.lora_type in WITHOUT_FAST else ():
        option, ratio = s.loraplus_ratio(part)
        if ratio != 1:
            yield Problem(option, f"{s.lora_type} has no up matrices, which LoRA+ trains faster.", "Set it to 0.")
            return


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
