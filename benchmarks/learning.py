"""What each kind of network learns of the demo's heart, and what it leaves of the other shapes.

python -m benchmarks.learning [--only NAME]

The demo's pictures, steps and schedule; a learning rate for each kind, and its scores with it. Each run is a process of
its own, on one thread, and takes two to four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

HEARTS, OTHERS = 50, 60
"""Prompts that are drawn."""

CASES: dict[str, tuple[float, dict[str, Any]]] = {
    "Standard": (5e-3, {}),
    "Kohya LoCon": (5e-3, {"lora_type": "Kohya LoCon"}),
    "LoCon": (5e-3, {"lora_type": "LyCORIS/LoCon"}),
    "LoCon, DoRA": (5e-3, {"lora_type": "LyCORIS/LoCon", "dora_wd": True}),
    "LoHa": (5e-3, {"lora_type": "LyCORIS/LoHa"}),
    "LoKr": (5e-3, {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4}),
    "GLoRA": (2e-3, {"lora_type": "LyCORIS/GLoRA"}),
    "(IA)³": (5e-2, {"lora_type": "LyCORIS/iA3"}),
    "Diag-OFT": (3e-3, {"lora_type": "LyCORIS/Diag-OFT", "network_dim": 16, "conv_dim": 16}),
    "BOFT": (1e-3, {"lora_type": "LyCORIS/BOFT"}),
    "Native": (1e-3, {"lora_type": "LyCORIS/Native Fine-Tuning"}),
    "Kohya LoHa": (5e-3, {"lora_type": "Kohya LoHa"}),
    "Kohya LoKr": (5e-3, {"lora_type": "Kohya LoKr"}),
    "LoRA-FA": (5e-3, {"lora_type": "LoRA-FA"}),
    "T-LoRA": (5e-3, {"lora_type": "T-LoRA"}),
    "Kohya DyLoRA": (3e-3, {"lora_type": "Kohya DyLoRA", "dylora_unit": 4}),
    "LyCORIS DyLoRA": (3e-3, {"lora_type": "LyCORIS/DyLoRA", "dylora_unit": 4}),
}
"""A learning rate, and what else is set; convolutions have the rank of all else."""


def learned(case: str, rate: float, work: Path) -> dict[str, Any]:
    """A whole run, and what the model draws with its file."""
    from diffusers import StableDiffusionPipeline

    from engine.demo.demo import MODEL_FOLDER, write_demo
    from engine.demo.judge import scenes_of, share_right
    from engine.demo.shapes import NEW_SHAPE, SHAPES
    from engine.models.families import family_of
    from engine.runs.folder import RunFolder
    from engine.training.lora_method import LoraMethod
    from engine.training.report import Report
    from engine.training.train import train

    settings = write_demo(work).with_values(
        {"sample_every_n_steps": 0, "sample_at_first": False, "conv_dim": 8, "conv_alpha": 8}
        | {"learning_rate": rate, "unet_lr": rate, "text_encoder_lr": rate}
        | CASES[case][1]
    )
    began = time.time()
    train(settings, RunFolder.create("train", settings.model_dump_json(), "x", work / "runs"), Report(None))
    took, file = time.time() - began, work / "model" / f"{NEW_SHAPE}.safetensors"

    import torch

    family = family_of(settings)
    parts = family.load(settings, torch.float32)
    begun = settings.with_values({"network_weights": str(file)})
    LoraMethod(family, parts, begun, total_steps=1, dtype=torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet, pipeline.text_encoder = parts.denoiser.eval(), parts.text_encoders[0].eval()
    hearts = share_right(pipeline, scenes_of((NEW_SHAPE,), HEARTS), color_too=False)
    others = share_right(pipeline, scenes_of(SHAPES, OTHERS), color_too=False)
    return {"hearts": hearts, "others": others, "seconds": took, "bytes": file.stat().st_size}


def asked(case: str, rate: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "benchmarks.learning", "--only", case, "--rate", str(rate), "--work", work]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--rate", type=float, help="in place of the kind's own")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        print(json.dumps(learned(given.only, given.rate, given.work)))
        return
    print("| kind | learning rate | hearts | other shapes | file | training |\n|---|---|---|---|---|---|")
    for case in [given.only] if given.only else CASES:
        rate = given.rate or CASES[case][0]
        found = asked(case, rate)
        print(f"| {case} | {rate:g} | {found['hearts']:.0%} | {found['others']:.0%} | {found['bytes'] / 2**10:.0f} KiB "
              f"| {found['seconds']:.0f} s |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
