"""The training state on disk: enough to resume as if nothing had happened.

    state/
        weights.safetensors   what is trained, in full precision
        optimizer.pt          the optimizer's, schedule's and gradient scaler's memory
        progress.json         the step it was saved after, the seed, the smoothed loss

Noise, timesteps and the order of pictures are functions of seed and step, so no random state is kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from engine.disk import folder_written_whole
from engine.failure import Failure
from engine.models.weights_file import HEADER, bytes_in
from engine.runs.saved_state import PROGRESS, Progress, find_state, read_progress


class SavedState(NamedTuple):
    """weights: see Method.state_dict().  optimizer: see Optimized.state_dict()."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    progress: Progress


def foreign() -> Failure:
    """Of a state that was saved by another run than the settings describe."""
    return Failure(
        "The training state belongs to a different network or optimizer, so this run cannot resume from it.",
        "Set rank, structure, new words, optimizer and learning rates as in the run that saved it, or clear Resume.",
        "resume",
    )


def save_state(folder: Path, weights: dict[str, Tensor], optimizer: dict[str, Any], progress: Progress) -> None:
    """Write a state folder; a kill at any moment leaves the old one or the new one intact."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    needs = bytes_in(whole) + bytes_in(optimizer) + HEADER
    with folder_written_whole(folder, needs) as new:
        safetensors.torch.save_file(whole, new / "weights.safetensors")
        torch.save(optimizer, new / "optimizer.pt")
        (new / PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")


def load_state(folder: Path) -> SavedState:
    """Raises Failure if the folder is not a state, or is damaged."""
    found = find_state(folder)
    if found is None:
        other = " It comes from another program." if (folder / "train_state.json").exists() else ""
        raise Failure(
            f"{folder} is not a training state of Darkroom: it has no progress.json.{other}",
            "Choose a folder saved by Save training state, such as NAME-state.",
            "resume",
        )
    try:
        progress = read_progress(found)
        weights = safetensors.torch.load_file(found / "weights.safetensors")
        optimizer = torch.load(found / "optimizer.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise any error of its format
        raise Failure(f"The training state in {found} is damaged: {error}.", "Choose another one.", "resume") from error
    return SavedState(weights, optimizer, progress)
