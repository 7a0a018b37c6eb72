"""Do the ways to save memory go together?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem
from engine.settings.families import TRANSFORMERS
from engine.settings.optimizer import FINDS_ITS_OWN_RATE
from engine.settings.training import TrainingSettings


def check_memory(settings: TrainingSettings) -> Iterator[Problem]:
    yield from _half_precision(settings)
    if settings.memory.blocks_to_swap:
        yield from _swap(settings)
    if settings.flux.cpu_offload_checkpointing and not settings.hardware.gradient_checkpointing:
        yield Problem(
            "cpu_offload_checkpointing",
            "CPU Offload Checkpointing has no effect without Gradient checkpointing.",
            "Turn on Gradient checkpointing, or turn this off.",
            blocking=False,
        )
    if settings.memory.base_weights and settings.trains_whole_model:
        yield Problem(
            "base_weights",
            f"Base weights in {settings.memory.base_weights} only work for a LoRA: weights that are trained need more "
            "precision.",
            "Clear it, or train a LoRA.",
        )
    if settings.is_fused():
        yield from _fused(settings)


def _half_precision(settings: TrainingSettings) -> Iterator[Problem]:
    precision = settings.hardware.mixed_precision
    for option, needed, on in (
        ("full_fp16", "fp16", settings.memory.full_fp16),
        ("full_bf16", "bf16", settings.memory.full_bf16),
    ):
        if on and precision != needed:
            yield Problem(
                option,
                f"Full {needed} training needs Mixed precision {needed}, but it is {precision}.",
                f"Set Mixed precision to {needed}, or turn this off.",
            )


def _swap(settings: TrainingSettings) -> Iterator[Problem]:
    if settings.family() not in TRANSFORMERS:
        yield Problem(
            "blocks_to_swap",
            "Blocks to swap has no effect on this model: only transformers such as FLUX.1 and SD 3 have blocks to "
            "swap.",
            "Set it to 0. Gradient checkpointing and Base weights in 8 or 4 bits save memory here.",
            blocking=False,
        )
    elif settings.trains_whole_model:
        yield Problem(
            "blocks_to_swap",
            "Blocks to swap only works for a LoRA; when training a whole model every block is trained.",
            "Set it to 0. Full bf16 training, Fused backward pass and Adafactor save memory with a whole model.",
        )
    elif not settings.hardware.gradient_checkpointing:
        yield Problem(
            "blocks_to_swap",
            "Blocks to swap needs Gradient checkpointing: without it, the GPU must keep every block's weights for the "
            "backward pass.",
            "Turn on Gradient checkpointing, or set this to 0.",
        )


def _fused(settings: TrainingSettings) -> Iterator[Problem]:
    name = settings.optimizer.optimizer
    option = settings.fused_option()
    if name.startswith(FINDS_ITS_OWN_RATE) or name.endswith("ScheduleFree"):
        yield Problem(
            option,
            f"{name} looks at all weights together, so it cannot update each one as soon as its gradient is known.",
            "Choose Adafactor or AdamW8bit, or turn this off.",
        )
    if settings.optimizer.gradient_accumulation_steps > 1 or settings.hardware.num_processes > 1:
        yield Problem(
            option,
            "Weights are updated during the backward pass, so gradients cannot be accumulated over several batches or "
            "GPUs.",
            "Set Gradient accumulate steps and Number of processes to 1, or turn this off.",
        )
    if settings.hardware.mixed_precision == "fp16":
        yield Problem(
            option,
            "In fp16, all gradients of a step are scaled together, so no weight can be updated before the others.",
            "Set Mixed precision to bf16 or no, or turn this off.",
        )
