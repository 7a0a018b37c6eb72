"""Is there room on the disks for what a run writes: results, training states beside them, and the state of its own?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from engine.check.problem import Problem
from engine.data.output_names import OutputFiles, is_folder
from engine.data.steps import StepPlan
from engine.disk import amount
from engine.models.sizes import Sizes, sizes_of
from engine.runs.folder import runs_root
from engine.settings.families import TRANSFORMERS
from engine.settings.training import TrainingSettings

WEIGHTS_PER_RANK = 589_824
"""Of an SD 1.5 LoRA: the inputs plus outputs of its 264 modules."""

WIDTH_OF_WORDS = 768 + 1280
"""Numbers of a token, of SDXL's two text encoders together."""

WEIGHTS_OF_UNET = 859_520_964
"""Of SD 1.5's."""

USUAL_FACTOR = 32
"""Of a LoKr's smaller matrix, a side: about the root of 1280 and 768."""


def check_space(
    settings: TrainingSettings, plan: StepPlan, output: Path, own_files: Collection[Path]
) -> Iterator[Problem]:
    """output: the output folder, or the nearest one above it that is there.  own_files: what the run wrote before."""
    trained = trained_weights(settings)
    if trained is None:
        return
    files = OutputFiles(settings, plan)
    state = trained * state_bytes(settings)
    results = saved_bytes(settings) * files.at_once() + state * files.states_at_once()
    replaced = [file for file in files.existing() if settings.folders.overwrite or file in own_files]
    results = max(0, results - sum(_bytes_of(file) for file in replaced))
    # A run keeps a state of its own; a new one is written before the old one goes.
    own = state * (1 if own_files else 2)
    runs = _nearest(runs_root())
    together = on_one_disk(output, runs)
    free = shutil.disk_usage(output).free
    needed = results + own if together else results
    if free < needed:
        count, kind = files.at_once(), "folders" if is_folder(settings) else "files"
        yield Problem(
            "output_dir",
            f"About {amount(needed)} is needed for {count} {kind if count > 1 else kind[:-1]} and the state for "
            f'resuming, but "{output}" has only {amount(free)} free.',
            "Free up some space, choose another disk, save less often, or keep only the last files (Save last N "
            "epochs).",
        )
    free = shutil.disk_usage(runs).free
    if not together and free < own:
        yield Problem(
            "",
            f'About {amount(own)} is needed for the state for resuming the run, but "{runs}" has only {amount(free)} '
            "free.",
            "Free up some space there, or start Darkroom with DARKROOM_RUNS set to a folder on another disk.",
        )


def on_one_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev


def trained_weights(settings: TrainingSettings) -> int | None:
    """How many weights learn; None where that is not known."""
    if settings.method == "textual_inversion":
        words = settings.textual_inversion
        negative = words.negative_vectors if settings.applied("dreamartist") else 0
        return (len(words.words()) * words.num_vectors_per_token + negative) * WIDTH_OF_WORDS
    if settings.method == "hypernetwork":
        return _of_hypernetwork(settings)
    if not settings.trains_whole_model:
        return _of_network(settings)
    sizes = _sizes(settings)
    if sizes is None:
        return None
    learns = [rate > 0 for rate in settings.rates()]
    return sum(count for count, does in zip((sizes.denoiser, *sizes.text_encoders), learns, strict=False) if does)


def _of_hypernetwork(settings: TrainingSettings) -> int | None:
    if settings.hypernetwork.hypernetwork_weights:
        file = Path(settings.hypernetwork.hypernetwork_weights)
        return file.stat().st_size // 4 if file.is_file() else None
    try:
        return settings.hypernetwork.weights(settings.family())
    except ValueError:  # said elsewhere
        return None


def _of_network(settings: TrainingSettings) -> int:
    """About, and rather too few than too many: no start shall fail for want of room that is not needed."""
    kind, by_rank = settings.network.lora_type, WEIGHTS_PER_RANK * settings.network.network_dim
    if kind in ("LyCORIS/LoKr", "Kohya LoKr"):
        factor = settings.applied("lokr_factor")
        side = factor if factor > 0 else USUAL_FACTOR
        return min(by_rank // side, WEIGHTS_OF_UNET // side**2)
    if kind == "LyCORIS/Native Fine-Tuning":
        return WEIGHTS_OF_UNET
    return WEIGHTS_PER_RANK // 2 if kind == "LyCORIS/iA3" else by_rank


def saved_bytes(settings: TrainingSettings) -> int:
    """Of one result, with all that is written beside it."""
    width = 4 if settings.source_model.save_precision == "float" else 2
    width *= 1 + settings.averaging.saves_both()
    sizes = None if not settings.trains_whole_model else _sizes(settings)
    if sizes is None:
        return width * (trained_weights(settings) or 0)
    encoders, family = list(sizes.text_encoders), settings.family()
    if is_folder(settings) or family not in TRANSFORMERS:
        return width * (sizes.denoiser + sum(encoders) + sizes.vae)
    if family == "sd3":
        beside = sum(encoders[:2]) * settings.sd3.save_clip + sum(encoders[2:]) * settings.sd3.save_t5xxl
        return width * (sizes.denoiser + sizes.vae + beside)
    return width * sizes.denoiser


def state_bytes(settings: TrainingSettings) -> int:
    """Bytes that a state has for each weight that learns: itself, what the optimizer remembers of it, its average."""
    memory, name = settings.memory, settings.optimizer.optimizer
    weight = 2 if settings.trains_whole_model and (memory.full_fp16 or memory.full_bf16) else 4
    numbers = 0 if name == "Adafactor" else 1 if "Lion" in name or "SGD" in name else 2
    return weight + numbers * (1 if "8bit" in name else 4) + 4 * settings.averaging.ema


def _sizes(settings: TrainingSettings) -> Sizes | None:
    return sizes_of(settings.source_model.pretrained_model_name_or_path, settings.family())


def _bytes_of(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0


def _nearest(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if os.path.isdir(parent))
