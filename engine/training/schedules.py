"""Learning-rate schedules by the names that the settings give them."""

from __future__ import annotations

from diffusers.optimization import get_scheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from engine.settings.optimizer import Optimizer as OptimizerSettings


def make_schedule(optimizer: Optimizer, settings: OptimizerSettings, total_steps: int) -> LambdaLR:
    """One schedule for all parameter groups; step it once per optimizer step."""
    return get_scheduler(
        settings.lr_scheduler,
        optimizer,
        num_warmup_steps=warmup_steps(settings, total_steps),
        num_training_steps=total_steps,
        num_cycles=settings.lr_scheduler_num_cycles,
        power=settings.lr_scheduler_power,
    )


def warmup_steps(settings: OptimizerSettings, total_steps: int) -> int:
    """Steps of warmup: the number given, else the percentage of the run, rounded; none for constant."""
    if settings.lr_scheduler == "constant":
        return 0
    return settings.lr_warmup_steps or round(settings.lr_warmup * total_steps / 100)
