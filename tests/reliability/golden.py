"""Five short runs whose losses and weights are to stay the same to the bit while the training's code is rearranged.

    python -m tests.reliability.golden record FILE    before
    python -m tests.reliability.golden compare FILE   after; names every run that differs, and exits with 1

Bits are those of one machine and one torch, so both are to be done on the same.  golden.json has losses and norms of
such a record, for test_golden.py; where a change is meant to move them, record anew and say so.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file

from engine.demo.demo import MODEL_FOLDER
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.settings.training import Method, TrainingSettings
from engine.training.report import Report
from engine.training.train import train
from tests.models.small import FLUX, pipeline
from tests.pictures import draw_pictures
from tests.stopping import Stopping

Figures = dict[str, Any]
"""Of a run: its losses and validation losses, gradient norms, and a digest of every file that it saved, all as text."""

VARIED = {
    "network_dropout": 0.2, "shuffle_caption": True, "caption_dropout_rate": 0.5, "flip_aug": True,
    "noise_offset": 0.05, "min_snr_gamma": 5, "lr_scheduler": "cosine",
}  # fmt: skip


def lora_sd(folder: Path) -> Figures:
    return _trained(_settings(folder, epoch=1, gradient_accumulation_steps=2, train_batch_size=2, **VARIED))


def lora_flux(folder: Path) -> Figures:
    return _trained(_settings(folder, "flux", max_train_steps=3, **FLUX))


def whole_model(folder: Path) -> Figures:
    return _trained(
        _settings(folder, "sd1", "dreambooth", max_train_steps=4, learning_rate=1e-4, learning_rate_te=1e-5)
    )


def validation(folder: Path) -> Figures:
    often = {"validation_split": 0.4, "validate_every_n_steps": 2}
    return _trained(_settings(folder, max_train_steps=4, sample_every_n_steps=2, sample_prompts="a heart", **often))


def resume(folder: Path) -> Figures:
    settings = _settings(folder, max_train_steps=6, optimizer="AdamW", cache_latents=False, **VARIED)
    run = RunFolder.create("train", settings.model_dump_json(), "resume")
    how, steps = train(settings, run, Stopping(run))
    assert (how, steps) == ("stopped", 3)
    (run.path / "control.jsonl").unlink()  # as the next engine's start does
    return _trained(settings, run)


RUNS: dict[str, Callable[[Path], Figures]] = {
    run.__name__: run for run in (lora_sd, lora_flux, whole_model, validation, resume)
}


def figures_of(name: str, folder: Path) -> Figures:
    with patch.dict(os.environ, {"DARKROOM_RUNS": str(folder / "runs")}):
        return RUNS[name](folder)


def _settings(folder: Path, family: str = "sd1", method: Method = "lora", **changes: Any) -> TrainingSettings:
    draw_pictures(folder / "img" / "2_shapes", 5)
    model = MODEL_FOLDER
    if family != "sd1":
        model = folder / "model"
        torch.manual_seed(11)
        pipeline(family).save_pretrained(model)
    rates = (
        {"learning_rate": 1e-3} if "learning_rate" in changes else dict.fromkeys(("unet_lr", "text_encoder_lr"), 1e-3)
    )
    usual = {
        "pretrained_model_name_or_path": str(model),
        "train_data_dir": str(folder / "img"),
        "output_dir": str(folder / "out"),
        "output_name": "shapes",
        "max_resolution": "64,64",
        "network_dim": 4,
        "network_alpha": 4,
        "optimizer": "AdamW",
        "mixed_precision": "no",
        "save_precision": "float",
        "num_cpu_threads_per_process": 1,
        "seed": 7,
    }
    return TrainingSettings().model_copy(update={"method": method}).with_values(usual | rates | changes)


def _trained(settings: TrainingSettings, run: RunFolder | None = None) -> Figures:
    run = run or RunFolder.create("train", settings.model_dump_json(), "golden")
    report = Report(run.writer())
    train(settings, run, report)
    report.flush()
    history = History(run).update()
    return {
        "losses": [each.loss for each in history.steps],
        "norms": [each.grad_norm for each in history.steps],
        "validated": [each.loss for each in history.validated],
        "files": {
            file.name: _digest(file) for file in sorted(Path(settings.folders.output_dir).glob("*.safetensors"))
        },
        "samples": [
            hashlib.sha256(Path(sample.file).read_bytes()).hexdigest() for sample in history.samples
        ],
    }  # fmt: skip


def _digest(file: Path) -> str:
    """Of names, formats and contents of the tensors; the metadata tells the time."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(file).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def main(what: str, file: str) -> int:
    torch.set_num_threads(1)
    found = {}
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = figures_of(name, Path(folder))
        print(f"{name}: {len(found[name]['losses'])} steps", flush=True)
    if what == "record":
        Path(file).write_text(json.dumps(found, indent=1) + "\n")
        return 0
    before = json.loads(Path(file).read_text())
    different = [f"{run}: {key}" for run in RUNS for key in found[run] if found[run][key] != before[run][key]]
    print("different: " + ", ".join(different) if different else "all five runs are the same to the bit")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
