"""The same draws, weights and rates in a checkout of sd-scripts and here, for settings drawn at random.

    python -m tests.reliability.beside_sd_scripts FOLDER [--many N] [--seed N]

FOLDER: where sd-scripts' files lie (github.com/kohya-ss/sd-scripts). Its functions are run as they stand there, without
the rest of it, which asks for libraries of its own. Says how many settings were compared, how far apart they are at
most, and every one whose numbers differ; ends with 1 where any does.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import logging
import math
import random
import sys
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers.optimization
import torch
import transformers.optimization
from diffusers import DDPMScheduler

from engine.models.sd3 import StableDiffusion3
from engine.objective.noise import without_a_trace_of_signal
from engine.objective.noise_prediction import NoisePrediction
from engine.objective.objective import Corrupted
from engine.settings.objective import Objective
from engine.settings.optimizer import Optimizer
from engine.settings.training import TrainingSettings
from engine.training.schedules import learning_rates, make_schedule

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def functions_of(file: Path, **given: Any) -> SimpleNamespace:
    """The file's own functions, with these names in sight."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in defined:  # annotations name classes of libraries that are not needed for what they compute
        node.returns, node.decorator_list = None, []
        for each in (*node.args.args, *node.args.kwonlyargs):
            each.annotation = None
    names: dict[str, Any] = {**vars(typing), "torch": torch, "math": math, "logger": logging.getLogger(), **given}
    exec(compile(ast.Module(defined, []), str(file), "exec"), names)
    return SimpleNamespace(**{node.name: names[node.name] for node in defined})


def draws_of_sd3(theirs: Any, rng: random.Random) -> tuple[str, list[float], list[float]]:
    least, most = sorted(rng.sample(range(1001), 2))
    told: dict[str, Any] = {
        "weighting_scheme": rng.choice(["logit_normal", "mode", "uniform", "sigma_sqrt", "cosmap"]),
        "logit_mean": round(rng.uniform(-3, 3), 2),
        "logit_std": round(rng.uniform(0, 3), 2),
        "mode_scale": round(rng.uniform(0, 1.5), 2),
        "min_timestep": least,
        "max_timestep": most,
    }
    seed, latents = rng.randrange(2**31), torch.zeros(64, 1, 2, 2)
    torch.manual_seed(seed)
    noise = torch.randn_like(latents)
    args = argparse.Namespace(**told, training_shift=1.0)
    _, expected, _ = theirs.get_noisy_model_input_and_timesteps(args, latents, noise, "cpu", torch.float32)
    torch.manual_seed(seed)
    settings = TrainingSettings().with_values({"sd3_checkbox": True, **told})
    found = StableDiffusion3(settings).objective(settings, None).corrupt(latents).timesteps  # type: ignore[arg-type]
    # Timestep 0 is drawn as 1 here, by decision.
    return str(told), found.tolist(), expected.clamp(min=1).tolist()


def weights_of(theirs: Any, rng: random.Random) -> tuple[str, list[float], list[float]]:
    of_velocity, without_signal = rng.random() < 0.5, rng.random() < 0.5
    told: dict[str, Any] = {
        "min_snr_gamma": rng.choice([0, 1, 5, 20]),
        "debiased_estimation_loss": rng.random() < 0.5,
        "v_pred_like_loss": 0.0 if of_velocity else rng.choice([0.0, 0.3, 1.0]),
        "scale_v_pred_loss_like_noise_pred": of_velocity and rng.random() < 0.5,
    }
    scheduler = DDPMScheduler(**SCHEDULE)
    plain = scheduler.alphas_cumprod
    theirs.prepare_scheduler_for_custom_training(scheduler, "cpu")
    if without_signal:
        theirs.fix_noise_scheduler_betas_for_zero_terminal_snr(scheduler)
    timesteps = torch.tensor([0, 998, 999, *(rng.randrange(1000) for _ in range(13))])
    loss = torch.ones(len(timesteps))
    if told["min_snr_gamma"]:
        loss = theirs.apply_snr_weight(loss, timesteps, scheduler, told["min_snr_gamma"], of_velocity)
    if told["scale_v_pred_loss_like_noise_pred"]:
        loss = theirs.scale_v_prediction_loss_like_noise_prediction(loss, timesteps, scheduler)
    if told["v_pred_like_loss"]:
        loss = theirs.add_v_prediction_like_loss(loss, timesteps, scheduler, told["v_pred_like_loss"])
    if told["debiased_estimation_loss"]:
        loss = theirs.apply_debiased_estimation(loss, timesteps, scheduler, of_velocity)
    noisy = torch.zeros(len(timesteps), 1, 1, 1)
    of_noise = without_a_trace_of_signal(plain) if without_signal else plain
    objective = NoisePrediction(Objective(**told), of_noise, plain, of_velocity)
    found = objective.loss(noisy + 1, Corrupted(noisy, noisy, timesteps))
    return f"{told} velocity={of_velocity} zero_terminal_snr={without_signal}", found.tolist(), loss.tolist()


EXTRA = {
    "cosine": ["num_cycles=1.5", "num_cycles=0.25"],
    "polynomial": ["lr_end=1e-5", "lr_end=2e-6"],
    "cosine_with_min_lr": ["min_lr=1e-5", "min_lr=3e-6"],
    "warmup_stable_decay": ["decay_type='linear'", "warmup_type='cosine'"],
    "piecewise_constant": ["step_rules='1:3,0.5:9,0.1'"],
}
"""Arguments of schedules. Those that sd-scripts gives them itself it refuses to be told."""


def rates_of(theirs: Any, rng: random.Random) -> tuple[str, list[float], list[float]]:
    name = rng.choice(
        ["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial",
         "cosine_with_min_lr", "inverse_sqrt", "warmup_stable_decay", "piecewise_constant"]
    )  # fmt: skip
    optimizer_name = rng.choice(["AdamW"] * 4 + ["AdamWScheduleFree"])
    total, percent = rng.randrange(2, 120), rng.choice([0, 1, 5, 7, 10, 29, 33, 50])
    percent *= name not in ("constant", "piecewise_constant")  # for which it refuses a warmup, or has none
    extra = rng.choice([*EXTRA.get(name, []), *[""] * (name != "piecewise_constant")])
    told: dict[str, Any] = {
        "lr_scheduler": name,
        "lr_scheduler_num_cycles": rng.choice([1, 2, 3]),
        "lr_scheduler_power": rng.choice([0.5, 1.0, 2.0]),
    }
    further: dict[str, Any] = {
        "lr_decay_steps": rng.choice([0, 0.2, 0.29, 1, 7]),
        # One of the two, for a cosine that has a floor: sd-scripts refuses both, and none.
        "lr_scheduler_min_lr_ratio": 0
        if "min_lr=" in extra
        else rng.choice([0.05, 0.5] if name == "cosine_with_min_lr" else [0, 0.05, 0.5]),
        "lr_scheduler_timescale": rng.choice([0, 3, 20]),
    }
    rate = rng.choice([1e-4, 5e-4, 1.0])
    args = argparse.Namespace(
        **told, lr_scheduler_type="", lr_scheduler_args=[extra] if extra else None, optimizer_type=optimizer_name,
        max_train_steps=total, lr_warmup_steps=percent / 100 if percent else 0,
        **{key: value or None for key, value in further.items()} | {"lr_decay_steps": further["lr_decay_steps"]},
    )  # fmt: skip

    def followed(make: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        schedule = make(optimizer)
        found = []
        for _ in range(total):
            found += learning_rates(optimizer, schedule) if hasattr(schedule, "base_lrs") else [rate]
            optimizer.step()
            schedule.step()
        return found

    expected = followed(lambda optimizer: theirs.get_scheduler_fix(args, optimizer, 1))
    settings = Optimizer(
        **told, **further, optimizer=optimizer_name, lr_warmup=percent, lr_scheduler_args=extra, max_train_steps=total
    )
    found = followed(lambda optimizer: make_schedule(optimizer, settings, total))
    return f"{told} {further} {extra} {optimizer_name} warmup {percent} % of {total} at {rate}", found, expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--many", type=int, default=300, help="settings of each kind")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    library = asked.folder / "library"
    from transformers.trainer_utils import SchedulerType

    scheduling = functions_of(
        library / "train_util.py",
        ast=ast,
        importlib=importlib,
        transformers=transformers,
        SchedulerType=SchedulerType,
        TYPE_TO_SCHEDULER_FUNCTION=transformers.optimization.TYPE_TO_SCHEDULER_FUNCTION,
        DiffusersSchedulerType=diffusers.optimization.SchedulerType,
        DIFFUSERS_TYPE_TO_SCHEDULER_FUNCTION=diffusers.optimization.TYPE_TO_SCHEDULER_FUNCTION,
    )
    kinds: dict[str, tuple[Any, Any]] = {
        "SD 3's timesteps": (draws_of_sd3, functions_of(library / "sd3_train_utils.py")),
        "weights of timesteps": (weights_of, functions_of(library / "custom_train_functions.py")),
        "learning rates": (rates_of, scheduling),
    }
    differ, rng = 0, random.Random(asked.seed)
    for name, (compare, theirs) in kinds.items():
        farthest = 0.0
        for _ in range(asked.many):
            told, found, expected = compare(theirs, rng)
            apart = max(abs(a - b) / max(abs(b), 1e-8) for a, b in zip(found, expected, strict=True))
            farthest = max(farthest, apart)
            if not apart < 1e-4:
                differ += 1
                print(f"{name} differ by {apart:.2g}: {told}\n  here  {found[:8]}\n  there {expected[:8]}")
        print(f"{name}: {asked.many} settings, at most {farthest:.2g} apart")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
