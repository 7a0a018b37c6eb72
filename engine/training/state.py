"""The training state on disk: enough to go on as if nothing had happened.

    state/
        weights.safetensors   what is trained, in full precision
        optimizer.pt          the optimizer's, schedule's and gradient scaler's memory
        progress.json         the step it was saved after, the seed, the smoothed loss

Noise, timesteps and the order of pictures are functions of seed and step, so no random state is kept.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from engine.failure import Failure


@dataclass
class Progress:
    """step: optimizer steps done.  total_steps: of the run that saved it.  seed: of the run."""

    step: int
    total_steps: int
    seed: int
    smoothed_loss: float | None = None


def save_state(folder: Path, weights: dict[str, Tensor], optimizer: dict[str, Any], progress: Progress) -> None:
    """Write a state folder; a kill at any moment leaves the old one or the new one, whole."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    safetensors.torch.save_file(whole, aside / "weights.safetensors")
    torch.save(optimizer, aside / "optimizer.pt")
    (aside / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
    for file in aside.iterdir():
        _to_disk(file)
    # A folder cannot be replaced in one move: between these two, find_state() takes the old one.
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_state(folder: Path) -> Path | None:
    """The folder itself, or what save_state() had moved out of its way when it was killed."""
    for candidate in (folder, folder.with_name(f".{folder.name}.old")):
        if (candidate / "progress.json").exists():
            return candidate
    return None


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], Progress]:
    """Raises Failure where the folder is no state, or is damaged."""
    found = find_state(folder)
    if found is None:
        other = " It is one of another program's." if (folder / "train_state.json").exists() else ""
        raise Failure(
            f"{folder} is no training state of Darkroom: it has no progress.json.{other}",
            "Choose a folder that Save training state wrote, such as NAME-state.",
            "resume",
        )
    try:
        progress = Progress(**json.loads((found / "progress.json").read_text(encoding="utf-8")))
        weights = safetensors.torch.load_file(found / "weights.safetensors")
        optimizer = torch.load(found / "optimizer.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any of its formats' ways
        raise Failure(f"The training state in {found} is damaged: {error}.", "Choose another one.", "resume") from error
    return weights, optimizer, progress


def _to_disk(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
