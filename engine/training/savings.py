"""Ways to reduce a run's memory, and what each would save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.check.memory import check_memory
from engine.settings.families import TRANSFORMERS
from engine.settings.training import TrainingSettings
from engine.training.estimate import Device, Estimate, estimate

LEAST = 0.02
"""Share of the whole that a way must save to be worth a button."""

NARROWER_OPTIMIZERS = {"AdamW": "AdamW8bit", "Lion": "Lion8bit", "SGDNesterov": "SGDNesterov8bit"}


@dataclass(frozen=True)
class Way:
    """words: for a button.  changes: values of options.  saves: bytes."""

    words: str
    changes: dict[str, Any]
    saves: int


def ways_down(settings: TrainingSettings, now: Estimate, device: Device) -> Iterator[Way]:
    """Each change by itself that the settings allow, as soon as it has been estimated."""
    for words, changes in _changes(settings):
        changed = settings.with_values(changes)
        if any(problem.blocking for problem in check_memory(changed)):
            continue
        saves = now.total - estimate(changed, device).total
        if saves >= LEAST * now.total:
            yield Way(words, changes, saves)


def _changes(s: TrainingSettings) -> Iterator[tuple[str, dict[str, Any]]]:
    is_lora, is_beside, batch = s.trains_network, not s.trains_whole_model, s.optimizer.train_batch_size
    if not s.hardware.gradient_checkpointing:
        yield "Turn on Gradient checkpointing", {"gradient_checkpointing": True}
    if batch > 1:
        yield (
            f"Batch size 1, accumulated over {batch} passes",
            {
                "train_batch_size": 1,
                "gradient_accumulation_steps": batch * s.optimizer.gradient_accumulation_steps,
                "vae_batch_size": 1,
            },
        )
    if not s.dataset.keeps_latents():
        yield "Cache latents", {"cache_latents": True}
    if s.hardware.mixed_precision == "no":
        yield "Mixed precision bf16", {"mixed_precision": "bf16"}
    if narrower := NARROWER_OPTIMIZERS.get(s.optimizer.optimizer):
        yield f"Optimizer {narrower}", {"optimizer": narrower}
    if s.averaging.ema and not s.averaging.ema_on_cpu:
        yield "Keep EMA in main memory", {"ema_on_cpu": True}
    if is_lora and s.network_rates()[1] > 0:
        yield "Do not train the text encoder", {"text_encoder_lr": 0.0}
    if is_beside and not s.memory.base_format():
        yield "Base weights in fp8", {"base_weights": "fp8"}
    if is_beside and s.memory.base_format() != "nf4":
        yield "Base weights in nf4", {"base_weights": "nf4"}
    if is_beside and s.family() in TRANSFORMERS and not s.memory.blocks_to_swap:
        yield "Swap 18 blocks", {"blocks_to_swap": 18, "gradient_checkpointing": True}
    if not is_beside and not s.memory.full_bf16:
        yield "Full bf16 training", {"full_bf16": True, "mixed_precision": "bf16"}
    if not is_beside and not s.is_fused():
        fused = {"flux": "flux_fused_backward_pass", "sd3": "sd3_fused_backward_pass"}
        option = fused.get(s.families.said(), "fused_backward_pass")
        yield (
            "Fused backward pass with Adafactor",
            {option: True, "optimizer": "Adafactor", "optimizer_args": "relative_step=False"},
        )
    yield from _smaller(s)


def _smaller(s: TrainingSettings) -> Iterator[tuple[str, dict[str, Any]]]:
    width, height = s.dataset.size()
    for side in (768, 512):
        if width * height > side * side and width == height:
            yield f"Train at {side},{side}", {"max_resolution": f"{side},{side}"}
