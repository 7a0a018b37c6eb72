"""Which rows there are, the most valuable first."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["matrix", "pocket", "train", "bare", "caching"]

FAMILIES: dict[str, dict[str, Any]] = {"sd1": {}, "sdxl": {"sdxl": True}, "flux": {"flux1_checkbox": True}}
"""With the option that names each."""

TINY: dict[str, dict[str, Any]] = {"flux": {"t5xxl_max_token_length": 64}}
"""What differs with the small models, beside the size."""

LORA: dict[str, Any] = {
    "optimizer": "AdamW", "network_dim": 16, "network_alpha": 16, "learning_rate": 1e-4, "unet_lr": 1e-4,
    "text_encoder_lr": 0.0, "mixed_precision": "bf16", "cache_latents": True,
}  # fmt: skip
CHECKPOINTING = {"gradient_checkpointing": True}
FUSED: dict[str, Any] = {
    "optimizer": "Adafactor", "optimizer_args": "relative_step=False", "fused_backward_pass": True, "full_bf16": True,
    "mixed_precision": "bf16", "learning_rate": 1e-5, "learning_rate_te1": 0.0, "learning_rate_te2": 0.0,
    "cache_latents": True, **CHECKPOINTING,
}  # fmt: skip

PICTURES = 8
"""Of a training row."""

CACHED = 64
"""Pictures of the row that measures caching."""


@dataclass(frozen=True)
class Row:
    """One thing that is measured, in a process of its own.

    changes: to LORA, or to the defaults for another method.  side, batch: of the pictures.
    limit: seconds after which it is ended.  needs: seconds that must be left for it to begin.
    """

    name: str
    kind: Kind
    family: str = ""
    method: Literal["lora", "dreambooth"] = "lora"
    changes: dict[str, Any] = field(default_factory=dict)
    side: int = 1024
    batch: int = 1
    limit: float = 60.0
    needs: float = 20.0


def _sd1(name: str, **changes: Any) -> Row:
    return Row(name, "train", "sd1", changes=changes, side=512, batch=4)


def _sdxl(name: str, **changes: Any) -> Row:
    return Row(name, "train", "sdxl", changes=changes, batch=2)


def _flux(name: str, side: int = 1024, **changes: Any) -> Row:
    return Row(name, "train", "flux", changes=changes, side=side, limit=100.0, needs=35.0)


def _bare(ours: Row) -> Row:
    return Row(
        bare_name(ours), "bare", ours.family, changes=ours.changes, side=ours.side, batch=ours.batch,
        limit=ours.limit, needs=ours.needs,
    )  # fmt: skip


def bare_name(ours: Row) -> str:
    """Of the bare loop that stands beside a row of ours."""
    return f"bare loop: {ours.name}"


SDXL, SD1 = _sdxl("SDXL LoRA, checkpointing", **CHECKPOINTING), _sd1("SD 1.5 LoRA")
FLUX = _flux("FLUX.1 LoRA, checkpointing", **CHECKPOINTING)

ROWS: tuple[Row, ...] = (
    Row("bf16 matrix product", "matrix", limit=40.0, needs=8.0),
    Row("pocket model: learns, is killed, goes on", "pocket", limit=120.0, needs=45.0),
    SDXL,
    _bare(SDXL),
    FLUX,
    _bare(FLUX),
    SD1,
    _bare(SD1),
    _flux("FLUX.1 LoRA, checkpointing, base fp8", base_weights="fp8", **CHECKPOINTING),
    _flux("FLUX.1 LoRA, checkpointing, base nf4", base_weights="nf4", **CHECKPOINTING),
    _flux("FLUX.1 LoRA, checkpointing, 18 blocks swapped", blocks_to_swap=18, **CHECKPOINTING),
    Row("SDXL whole model, fused Adafactor", "train", "sdxl", "dreambooth", FUSED, batch=2, limit=90.0, needs=25.0),
    Row("SDXL VAE: caching latents", "caching", "sdxl", changes={"vae_batch_size": 4}, limit=60.0, needs=20.0),
    _sdxl("SDXL LoRA"),
    _sdxl("SDXL LoRA, checkpointing, AdamW8bit", optimizer="AdamW8bit", **CHECKPOINTING),
    _flux("FLUX.1 LoRA, 512²", side=512),
    _flux("FLUX.1 LoRA, checkpointing, base fp8, 28 blocks swapped, AdamW8bit", base_weights="fp8", blocks_to_swap=28,
          optimizer="AdamW8bit", **CHECKPOINTING),
    _sdxl("SDXL LoRA, checkpointing, base nf4", base_weights="nf4", **CHECKPOINTING),
    _sdxl("SDXL LoRA, checkpointing, base fp8", base_weights="fp8", **CHECKPOINTING),
    _sd1("SD 1.5 LoRA, text encoder too", text_encoder_lr=5e-5),
    _sd1("SD 1.5 LoRA, checkpointing", **CHECKPOINTING),
    _sd1("SD 1.5 LoRA, AdamW8bit", optimizer="AdamW8bit"),
)  # fmt: skip


def named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def settings_of(row: Row, work: Path, tiny: bool) -> Any:
    """The settings with which the engine does this row; TrainingSettings."""
    from engine.settings.training import TrainingSettings

    side = 64 if tiny else row.side
    values: dict[str, Any] = {
        "pretrained_model_name_or_path": str(work / "model"), "train_data_dir": str(work / "img"),
        "output_dir": str(work / "out"), "output_name": "x", "overwrite": True, "max_resolution": f"{side},{side}",
        "train_batch_size": 1 if tiny else row.batch, "max_train_steps": 1000, "save_every_n_epochs": 0, "seed": 1,
        "enable_bucket": False, "num_cpu_threads_per_process": 1 if tiny else 2, **FAMILIES[row.family],
        **(LORA if row.method == "lora" else {}), **row.changes, **(TINY.get(row.family, {}) if tiny else {}),
    }  # fmt: skip
    if tiny and "blocks_to_swap" in values:
        values["blocks_to_swap"] = 2
    return TrainingSettings().for_method(row.method).with_values(values)
