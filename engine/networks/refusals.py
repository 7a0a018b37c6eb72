"""Why a file cannot be continued without losing some of it: messages that the checks and the engine share."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from engine.networks.dialects import NetworkFile, Place, shortened

ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")
"""Of files with weights, in capitals or not."""


class Refusal(NamedTuple):
    """what: the sentence.  mend: the next move.  option: the field that it is about."""

    what: str
    mend: str
    option: str = "network_weights"


ANOTHER = "Choose a standard LoRA, or clear the field."


def not_a_standard_lora(name: str, file: NetworkFile) -> Refusal | None:
    """name: of the file."""
    if not file.is_network:
        return Refusal(f"{name} is not a LoRA file.", ANOTHER)
    if file.kind:
        return Refusal(
            f"{name} is of type {file.kind}; only a standard LoRA can be continued here, and what this one learned "
            "would be lost.",
            "Choose a standard LoRA; or merge this file into the base model with the program that made it, and train "
            "on that model.",
        )
    if halves := file.halves:
        return Refusal(
            f"{name} has only one of the two matrices in {len(halves)} of its {len(file.modules)} layers, such as "
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
            f"{name} contains {count} tensor{'s' * (count > 1)} that a standard LoRA does not have, such as "
            f"{file.unknown[0]}: what was learned there would be lost.",
            ANOTHER,
        )
    return None


def not_continued(kind: str) -> Refusal:
    return Refusal(
        f"A network of type {kind} cannot be continued from a file here; only a standard LoRA can.",
        "Clear the field, or choose LoRA type Standard.",
    )


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
        "Choose a file made by a run like this one; for FLUX.1, Train Blocks sets which blocks are trained.",
    )


def another_rank(name: str, ranks: Collection[int], rank: int) -> Refusal:
    """ranks: of the file, most common first.  rank: in the settings."""
    least, most = min(ranks), max(ranks)
    has = f"rank {least}" if least == most else f"ranks from {least} to {most}"
    return Refusal(
        f"{name} has {has}, not {rank}.",
        "Turn on DIM from weights" + (", or set Network Rank to it." if least == most else "."),
        "network_dim",
    )


def parts_apart(name: str, naming: str) -> Refusal:
    return Refusal(
        f"{name} stores queries, keys and values separately, as {naming} does; combined, as they are trained here, "
        "their rank is larger than Network Rank.",
        "Turn on DIM from weights.",
        "network_dim",
    )
