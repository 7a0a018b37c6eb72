"""The device, the number formats, and several processes as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from engine.settings.hardware import Hardware
from engine.settings.memory import Memory
from engine.settings.training import TrainingSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Precision:
    """Number formats.  frozen: of weights that are not trained.  learned: of those that are."""

    frozen: torch.dtype
    learned: torch.dtype

    @classmethod
    def of(cls, settings: TrainingSettings, mixed: str) -> Precision:
        """mixed: the mixed precision that the machine supports, see choose_precision()."""
        return cls(weight_dtype(mixed), learned_dtype(settings.memory, mixed))


def make_accelerator(settings: Hardware) -> tuple[Accelerator, list[str]]:
    """An accelerator for this process, and a sentence on what differs from the settings."""
    torch.set_num_threads(settings.num_cpu_threads_per_process)
    precision, warnings = choose_precision(settings.mixed_precision, torch.cuda.is_available())
    return Accelerator(mixed_precision=precision, cpu=not _has_accelerator()), warnings


def choose_precision(asked: str, has_cuda: bool) -> tuple[str, list[str]]:
    """fp16 only has kernels on CUDA; elsewhere full precision gives the same result, more slowly."""
    if asked == "fp16" and not has_cuda:
        return "no", ["Mixed precision fp16 needs an NVIDIA GPU; this run uses full precision."]
    return asked, []


def weight_dtype(precision: str) -> torch.dtype:
    """The number format that frozen weights are kept in under a mixed precision."""
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)


def learned_dtype(settings: Memory, precision: str) -> torch.dtype:
    """The number format of trained weights: float32, or half precision throughout if the settings ask for it."""
    throughout = (settings.full_fp16 and precision == "fp16") or (settings.full_bf16 and precision == "bf16")
    return weight_dtype(precision) if throughout else torch.float32


def allow_half_gradients(scaler: Any) -> None:
    """GradScaler refuses float16 gradients, which lose precision for good; full fp16 training accepts that."""
    unscale = scaler._unscale_grads_
    scaler._unscale_grads_ = lambda optimizer, scale, found, allow_fp16: unscale(optimizer, scale, found, True)


def average_gradients(parameters: list[nn.Parameter], accelerator: Accelerator) -> None:
    """Make every process's gradients the mean over processes.

    What chance left out of the pass in one of them has gradients of 0 there; what it left out of all of them has none.
    The trained networks are small, so one exchange a step costs less than wrapping the whole model.
    """
    if accelerator.num_processes == 1:
        return
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    there = accelerator.reduce(torch.tensor([p.grad is not None for p in learning], device=accelerator.device).float())
    used = [parameter for parameter, count in zip(learning, there.tolist(), strict=True) if count]
    if not used:
        return
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in used if parameter.grad is not None]
    flat = accelerator.reduce(torch.cat([g.flatten() for g in gradients]), "mean")
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def of_first_process(value: T) -> T:
    """The first process's value, in every process."""
    values = [value]
    broadcast_object_list(values)
    return values[0]


def save_memory(denoiser: Any, *text_encoders: Any) -> None:
    """Turn on gradient checkpointing in all of them; it only acts when gradients are computed."""
    denoiser.enable_gradient_checkpointing()
    for encoder in text_encoders:
        encoder.gradient_checkpointing_enable({"use_reentrant": False})


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()
