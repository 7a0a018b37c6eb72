"""Why a file cannot be continued without losing some of it: messages that the checks and the engine share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

from engine.networks.dialects import NetworkFile, Place, shortened
from engine.networks.shares import has_wide
from engine.networks.signs import BOFT, FLUX_OFT, IA3, LOCON, LOKR, LORA, NATIVE, NORM, OFT, can_continue, types_for
from engine.settings.lycoris import WITH_MAGNITUDES
from engine.settings.training import TrainingSettings

ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")
"""Of files with weights, in capitals or not."""

_CALLED = {
    LORA: "a standard LoRA", IA3: "an (IA)³ network", OFT: "a Diag-OFT network", BOFT: "a BOFT network",
    NATIVE: "the result of native fine-tuning", FLUX_OFT: "an OFT network for FLUX.1",
}  # fmt: skip


class Refusal(NamedTuple):
    """what: the sentence.  mend: the next move.  option: the field that it is about."""

    what: str
    mend: str
    option: str = "network_weights"


ANOTHER = "Choose another file, or clear the field."


def of_another_kind(name: str, file: NetworkFile, settings: TrainingSettings) -> Refusal | None:
    """Whether the file is none that a network of the settings' LoRA type begins from.  name: of the file."""
    if not file.is_network:
        return Refusal(f"{name} is not a LoRA file.", ANOTHER)
    if file.foreign:
        return Refusal(
            f"{name} is of type {file.foreign}, which cannot be continued here: what it learned would be lost.",
            "Choose another file; or merge this file into the base model with the program that made it, and train "
            "on that model.",
        )
    if lost := [word for word in file.words if word not in settings.new_words()]:
        return Refusal(
            f'{name} comes with the new word "{lost[0]}", which this run does not teach: it would be lost.',
            f"Turn on Teach new words too and set Token string to {', '.join(file.words)}.",
            "token_string" if settings.teaches_words else "pivotal",
        )
    return _damaged(name, file) or _of_another_type(name, file, settings) or _with_more(name, file, settings)


def called(file: NetworkFile) -> str:
    """What kind of file it is, with its article."""
    kind, wide = file.kind, sum(file.is_wide(place) for place in file.modules)
    title = _CALLED.get(kind, f"a {kind}")
    if kind == LOCON and wide:
        title += f", with {wide} convolution{'s' * (wide > 1)} of 3×3 pixels"
    return title + " with DoRA" * file.has_magnitudes


def _of_another_type(name: str, file: NetworkFile, settings: TrainingSettings) -> Refusal | None:
    lora_type, kinds = settings.network.lora_type, file.kinds_of_modules()
    allowed = can_continue(lora_type)
    if LORA in allowed and LOCON not in allowed and has_wide(settings):  # by Conv dims, whatever the type
        allowed = (*allowed, LOCON)
    wrong = {kind: count for kind, count in kinds.items() if kind not in allowed}
    if not wrong:
        return None
    if len(kinds) > 1 and not {*kinds} <= {LORA, LOCON}:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        return Refusal(
            f"{name} has layers of several kinds ({listed}); a network here is of one, and the others would be lost.",
            ANOTHER,
        )
    types = " or ".join(types_for(file.kind))
    return Refusal(
        f"{name} is {called(file)}, but LoRA type is {lora_type}.",
        f"Choose LoRA type {types}, or another file." if types else ANOTHER,
    )


def _with_more(name: str, file: NetworkFile, settings: TrainingSettings) -> Refusal | None:
    """What is trained beside a kind's own tensors, if the settings do not ask for it."""
    lora_type, asked = settings.network.lora_type, bool(settings.applied("dora_wd"))
    bare = sum(not found.has_magnitude for found in file.modules.values() if found.kind != NORM)
    if file.has_magnitudes and not asked:
        types = [one for one in WITH_MAGNITUDES if file.kind in can_continue(one)]
        choose = "" if lora_type in WITH_MAGNITUDES else f"Choose LoRA type {(*types, '')[0]}, and t"
        return Refusal(
            f"{name} was trained with DoRA: its magnitudes would be lost.",
            f"{choose or 'T'}urn on DoRA Weight Decompose." if types else ANOTHER,
        )
    if asked and bare:
        return Refusal(
            f"{name} was trained without DoRA" + ("." if not file.has_magnitudes else f" in {bare} of its layers."),
            "Turn off DoRA Weight Decompose, or choose another file.",
        )
    if asked and (on_input := file.has_magnitudes_on_input) == bool(settings.applied("wd_on_output")):
        return Refusal(
            f"{name} has DoRA's magnitudes of the {'in' if on_input else 'out'}puts of its layers.",
            f"Turn {'off' if on_input else 'on'} DoRA on output, or choose another file.",
        )
    if file.has_norms and not settings.applied("train_norm"):
        return Refusal(
            f"{name} has trained normalisation layers, which would be lost.",
            "Turn on Train Norm, with a LyCORIS type, or choose another file.",
        )
    if file.has_biases and file.kind != NATIVE:
        return Refusal(f"{name} has trained biases, which are not trained here and would be lost.", ANOTHER)
    if file.has_cores and not (lora_type.startswith("LyCORIS/") or lora_type in ("Kohya LoHa", "Kohya LoKr")):
        return Refusal(
            f"{name} has convolutions with Tucker decomposition, which {lora_type} does not train.",
            "Choose LoRA type LyCORIS/LoCon, and turn on Use Tucker decomposition.",
        )
    return None


def _damaged(name: str, file: NetworkFile) -> Refusal | None:
    if mixed := file.mixed:
        return Refusal(
            f"{name} has tensors of several kinds for {len(mixed)} of its layers, such as {shortened(mixed)}; a "
            "network here has one, and the others would be lost.",
            ANOTHER,
        )
    if halves := file.halves:
        return Refusal(
            f"{name} lacks a matrix in {len(halves)} of its {len(file.modules)} layers, such as "
            f"{shortened(halves)}: it was cut off or modified.",
            "Get the file again, or choose another one.",
        )
    if file.doubled:
        return Refusal(
            f"{name} has more than one matrix or alpha for the same layer, such as {file.doubled[0]}: it contains "
            "several adapters, or one under several names, and only one could be used.",
            "Choose a file with one adapter, or clear the field.",
        )
    if file.unknown:
        count = len(file.unknown)
        return Refusal(
            f"{name} contains {count} tensor{'s' * (count > 1)} that no network trained here has, such as "
            f"{file.unknown[0]}: what was learned there would be lost.",
            ANOTHER,
        )
    return None


def other_ranks(name: str, kind: str, ranks: Iterable[tuple[int, int, bool]]) -> Refusal | None:
    """ranks: of layers of this kind in the file, and what the settings give them, and whether they are convolutions of
    more than one pixel.
    """
    if kind in (OFT, BOFT, LOKR):  # whose sizes only follow from the rank
        return None
    compared = [(found, asked, wide) for found, asked, wide in ranks if found]
    for option, of_wide in (("network_dim", False), ("conv_dim", True)):
        of_these = [(found, asked) for found, asked, wide in compared if wide == of_wide]
        if all(found == asked for found, asked in of_these):
            continue
        if len({asked for _, asked in of_these}) == 1:
            counted = Counter(found for found, _ in of_these)
            return another_rank(name, [rank for rank, _ in counted.most_common()], of_these[0][1], option)
        found, asked = next((found, asked) for found, asked in of_these if found != asked)
        return Refusal(
            f"{name} has rank {found} in a layer that these settings give rank {asked}.",
            "Turn on DIM from weights.",
            option,
        )
    return None


def another_family(name: str, its: str, this: str) -> Refusal:
    """its, this: the families, for people."""
    return Refusal(
        f"{name} was trained for {its}, but this run trains {this}.",
        "Choose a LoRA for this kind of model, or the base model that the file was made for.",
    )


def not_trained(name: str, places: Collection[Place], of: int, part: str = "") -> Refusal:
    """places: the file's modules that the run does not train, out of `of`.  part: the one whose learning rate is 0."""
    if part:
        return Refusal(
            f"{name} has {len(places)} of its {of} layers in the {part}, whose learning rate is 0: what was learned "
            "there would be lost.",
            f"Set a learning rate for the {part}, or choose a file without these layers.",
        )
    return Refusal(
        f"{name} has {len(places)} of its {of} layers where this run trains nothing, such as {shortened(places)}: what "
        "was learned there would be lost.",
        "Choose a file made by a run like this one; LoRA type, LyCORIS Preset and Convolution Rank, and for FLUX.1 "
        "Train Blocks, set where a run trains.",
    )


def another_rank(name: str, ranks: Collection[int], rank: int, option: str = "network_dim") -> Refusal:
    """ranks: of the file, most common first.  rank: in the settings.  option: which one."""
    least, most = min(ranks), max(ranks)
    of = " for convolutions" if option == "conv_dim" else ""
    has = f"rank {least}{of}" if least == most else f"ranks from {least} to {most}{of}"
    field = "Convolution Rank" if option == "conv_dim" else "Network Rank"
    return Refusal(
        f"{name} has {has}, not {rank}.",
        "Turn on DIM from weights" + (f", or set {field} to it." if least == most else "."),
        option,
    )


def other_sizes(name: str, which: str) -> Refusal:
    """which: of the file's, beside those that the settings make."""
    return Refusal(
        f"{name} has other sizes than these settings make: {which}.",
        "Turn on DIM from weights, or set the options as they were for the file.",
        "network_dim",
    )


def otherwise(name: str, which: str) -> Refusal:
    """which: of the file's, beside what the settings have."""
    return Refusal(
        f"{name} was trained with other options: {which}.",
        "Set the options as they were for the file, or choose another file.",
    )


def parts_apart(name: str, naming: str) -> Refusal:
    return Refusal(
        f"{name} stores queries, keys and values separately, as {naming} does; combined, as they are trained here, "
        "their rank is larger than Network Rank.",
        "Turn on DIM from weights.",
        "network_dim",
    )


def not_joined(name: str, file: NetworkFile) -> Refusal:
    return Refusal(
        f"{name} stores queries, keys and values separately, as {file.naming} does; here they are trained as one "
        f"matrix, which several of {file.kind} cannot be combined into.",
        "Choose a file with kohya's names, or clear the field.",
    )
