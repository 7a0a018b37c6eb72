"""What the estimate says of a run's memory beside what the run takes: full-size Stable Diffusion 1.5, on the CPU.

python -m benchmarks.memory [--only NAME]

Each run and each estimate is a process of its own; a run's peak is the largest resident size that the system saw.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.training import make_model, make_pictures
from engine.runs import process

ROOT = Path(__file__).parents[1]

BASE: dict[str, Any] = {
    "max_resolution": "256,256", "mixed_precision": "no", "optimizer": "AdamW", "network_dim": 8, "max_train_steps": 3,
    "num_cpu_threads_per_process": 2, "seed": 1, "save_precision": "fp16", "enable_bucket": False,
}  # fmt: skip
WHOLE: dict[str, Any] = {"optimizer": "Adafactor", "optimizer_args": "relative_step=False", "learning_rate_te": 0,
                         "gradient_checkpointing": True}  # fmt: skip
CONVOLUTIONS = {"conv_dim": 8, "conv_alpha": 8}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "LoRA": ("lora", {}),
    "batch 4": ("lora", {"train_batch_size": 4}),
    "384²": ("lora", {"max_resolution": "384,384"}),
    "384², checkpointing": ("lora", {"max_resolution": "384,384", "gradient_checkpointing": True}),
    "batch 4, checkpointing": ("lora", {"train_batch_size": 4, "gradient_checkpointing": True}),
    "rank 128": ("lora", {"network_dim": 128}),
    "rank 128, AdamW8bit": ("lora", {"network_dim": 128, "optimizer": "AdamW8bit"}),
    "text encoder frozen": ("lora", {"text_encoder_lr": 0}),
    "fp8 base": ("lora", {"base_weights": "fp8"}),
    "nf4 base": ("lora", {"base_weights": "nf4", "text_encoder_lr": 0}),
    "bf16": ("lora", {"mixed_precision": "bf16"}),
    "bf16, batch 4": ("lora", {"mixed_precision": "bf16", "train_batch_size": 4}),
    "a sample of 512²": ("lora", {"sample_prompts": "a red circle --w 512 --h 512 --s 2", "sample_every_n_steps": 2}),
    "LoHa": ("lora", {"lora_type": "LyCORIS/LoHa", **CONVOLUTIONS}),
    "LoHa, checkpointing": ("lora", {"lora_type": "LyCORIS/LoHa", **CONVOLUTIONS, "gradient_checkpointing": True}),
    "LoKr": ("lora", {"lora_type": "LyCORIS/LoKr", **CONVOLUTIONS}),
    "LoKr, checkpointing": ("lora", {"lora_type": "LyCORIS/LoKr", **CONVOLUTIONS, "gradient_checkpointing": True}),
    "DoRA": ("lora", {"lora_type": "LyCORIS/LoCon", "dora_wd": True, **CONVOLUTIONS}),
    "DoRA, checkpointing": (
        "lora",
        {"lora_type": "LyCORIS/LoCon", "dora_wd": True, **CONVOLUTIONS, "gradient_checkpointing": True},
    ),
    "whole model": ("dreambooth", WHOLE),
    "whole model, fused": ("dreambooth", {**WHOLE, "fused_backward_pass": True}),
    "whole model, AdamW8bit": ("dreambooth", {**WHOLE, "optimizer": "AdamW8bit", "optimizer_args": ""}),
}


def settings_of(case: str, work: Path) -> Any:
    from engine.settings.training import TrainingSettings

    method, changes = CASES[case]
    places = {"pretrained_model_name_or_path": str(work / "model"), "train_data_dir": str(work / "img"),
              "output_dir": str(work / "out"), "output_name": "x", "overwrite": True}  # fmt: skip
    values = {**BASE, **places, **changes}
    return TrainingSettings().for_method(method).with_values(values)  # type: ignore[arg-type]


def estimated(case: str, work: Path) -> dict[str, Any]:
    from engine.training.estimate import estimate

    found = estimate(settings_of(case, work), "cpu")
    return {"total": found.total, "phase": found.fullest}


def measured(case: str, work: Path) -> dict[str, Any]:
    from engine.runs.folder import RunFolder
    from engine.training.report import Report
    from engine.training.train import train

    settings = settings_of(case, work)
    train(settings, RunFolder.create("train", settings.model_dump_json(), "x"), Report(None))
    return {"total": peak()}


def peak() -> int:
    """The largest resident size of this process in bytes.  Not getrusage's, which begins at the size of the process
    that started this one.
    """
    said = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in said.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


def asked(what: str, case: str, work: Path, variables: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """variables: of the environment, in place of those that the engine's process has; an empty one is left out."""
    command = [sys.executable, "-m", "benchmarks.memory", "--only", case, "--do", what, "--work", str(work)]
    environment = {**process.environment(settings_of(case, work).hardware), "DARKROOM_RUNS": str(work / "runs")}
    environment |= variables
    environment = {name: value for name, value in environment.items() if value or name not in variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def prepare(work: Path) -> None:
    """The model and the pictures, if they are not there yet."""
    if not (work / "model").exists():
        make_model(work / "model", "sd15")
        make_pictures(work / "img" / "1_shapes", 256)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--do", choices=("estimate", "run"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.do:
        print(json.dumps((estimated if given.do == "estimate" else measured)(given.only, given.work)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        prepare(work)
        print("| run | estimate | measured | ratio | fullest while |\n|---|---|---|---|---|")
        for case in [given.only] if given.only else CASES:
            said, took = asked("estimate", case, work), asked("run", case, work)
            print(f"| {case} | {said['total'] / 2**30:.2f} GiB | {took['total'] / 2**30:.2f} GiB "
                  f"| {said['total'] / took['total']:.3f} | {said['phase']} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
