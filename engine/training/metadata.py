"""The metadata of the files that a run writes, and their number formats."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from engine import VERSION
from engine.data.buckets import Placed
from engine.data.items import Item
from engine.data.steps import StepPlan
from engine.networks.kohya_format import LEGACY_HASH_LENGTH, LEGACY_HASH_OFFSET, as_text
from engine.settings.objective import Objective
from engine.settings.training import TrainingSettings
from engine.settings.validation import Validation
from engine.training.data_facts import data_facts
from engine.training.schedules import warmup_steps

DTYPES = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_NOT_USED: dict[str, Any] = {
    # What a run of this version never does, in the words in which sd-scripts says so.
    **dict.fromkeys(
        (
            "ss_resize_interpolation",
        )
    ),
    **dict.fromkeys(
        (
            "ss_color_aug", "ss_lowram", "ss_random_crop", "ss_v2",
        ),
        False,
    ),
}  # fmt: skip


@dataclass
class RunMetadata:
    """What a trained file says about the run that made it: sd-scripts' ss_* keys and modelspec's.

    family: what the model's family says of itself.  held_out: pictures × repeats that the loss is only measured on.
    """

    settings: TrainingSettings
    family: Mapping[str, Any]
    plan: StepPlan
    items: list[Item]
    captions: list[str]
    places: list[Placed]
    seed: int
    precision: str
    network: dict[str, Any]
    optimizer: str
    held_out: int = 0
    began: float = field(default_factory=time.time)
    session: int = field(default_factory=lambda: random.SystemRandom().randrange(2**32))

    @cached_property
    def _base(self) -> dict[str, Any]:
        """Found out when the first file is saved, and only by the process that saves: it reads the whole model."""
        return base_model_facts(self.settings.source_model.pretrained_model_name_or_path)

    def at(self, step: int, epoch: int) -> dict[str, str]:
        """All metadata of a file saved after `step` steps in epoch `epoch`, as text."""
        values = {
            **_NOT_USED,
            **self._base,
            **self._run(),
            **data_facts(self.settings, self.plan, self.items, self.captions, self.places),
            **self.network,
            **{key: value for key, value in self.family.items() if key.startswith("ss_")},
            "ss_steps": step,
            "ss_epoch": epoch,
        }
        values["ss_training_finished_at"] = time.time()
        return {**{key: as_text(value) for key, value in sorted(values.items())}, **self._modelspec()}

    def _run(self) -> dict[str, Any]:
        s = self.settings
        unet_lr, text_encoder_lr = s.optimizer.rates() if s.method == "lora" else (None, None)
        return {
            "ss_session_id": self.session,
            "ss_training_started_at": self.began,
            "ss_output_name": s.folders.output_name,
            "ss_learning_rate": s.optimizer.learning_rate,
            "ss_text_encoder_lr": text_encoder_lr,
            "ss_unet_lr": unet_lr,
            "ss_num_epochs": self.plan.epochs_run,
            "ss_gradient_checkpointing": s.hardware.gradient_checkpointing,
            "ss_gradient_accumulation_steps": s.optimizer.gradient_accumulation_steps,
            "ss_max_train_steps": self.plan.steps,
            "ss_lr_warmup_steps": warmup_steps(s.optimizer, self.plan.steps),
            "ss_lr_scheduler": s.optimizer.lr_scheduler,
            "ss_optimizer": self.optimizer,
            "ss_max_grad_norm": s.optimizer.max_grad_norm,
            "ss_mixed_precision": self.precision,
            "ss_fp8_base": s.memory.fp8_base,
            "ss_fp8_base_unet": s.memory.fp8_base_unet,
            "ss_full_fp16": s.memory.full_fp16,
            "ss_seed": self.seed,
            "ss_clip_skip": s.objective.clip_skip,
            "ss_cache_latents": s.dataset.cache_latents,
            "ss_face_crop_aug_range": s.dataset.face_range(),
            "ss_training_comment": s.folders.training_comment or None,
            "ss_sd_scripts_commit_hash": "(unknown)",
            "ss_max_token_length": None if s.captions.max_token_length == "75" else s.captions.max_token_length,
            **_objective(s.objective),
            **_validation(s.validation, self.held_out),
        }

    def _modelspec(self) -> dict[str, str]:
        s = self.settings
        width, height = s.dataset.size()
        given = {
            "title": s.metadata.metadata_title or s.folders.output_name,
            "author": s.metadata.metadata_author,
            "description": s.metadata.metadata_description,
            "license": s.metadata.metadata_license,
            "tags": s.metadata.metadata_tags,
        }
        return {
            "modelspec.sai_model_spec": "1.0.1",
            **{key: value for key, value in self.family.items() if key.startswith("modelspec.")},
            "modelspec.implementation_version": f"darkroom/{VERSION}",
            "modelspec.resolution": f"{width}x{height}",
            "modelspec.date": datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None).isoformat(),
            **{f"modelspec.{key}": value for key, value in given.items() if value},
        }


def _validation(v: Validation, held_out: int) -> dict[str, Any]:
    """None stands for what is not used.  held_out: pictures × repeats."""
    often = {
        "validation_seed": v.validation_seed,
        "max_validation_steps": v.max_validation_steps or None,
        "validate_every_n_epochs": v.validate_every_n_epochs,
        "validate_every_n_steps": v.validate_every_n_steps or None,
    }
    return {
        **{f"ss_{name}": value if held_out else None for name, value in often.items()},
        "ss_num_validation_images": held_out,
        "ss_validation_split": v.validation_split,
    }


def _objective(o: Objective) -> dict[str, Any]:
    """None stands for what is not used."""
    offset, multires = o.noise_offset_type == "Original", o.noise_offset_type == "Multires"
    return {
        "ss_min_snr_gamma": o.min_snr_gamma or None,
        "ss_zero_terminal_snr": o.zero_terminal_snr,
        "ss_debiased_estimation": o.debiased_estimation_loss,
        "ss_noise_offset": (o.noise_offset or None) if offset else None,
        "ss_noise_offset_random_strength": o.noise_offset_random_strength,
        "ss_adaptive_noise_scale": (o.adaptive_noise_scale or None) if offset else None,
        "ss_multires_noise_iterations": (o.multires_noise_iterations or None) if multires else None,
        "ss_multires_noise_discount": o.multires_noise_discount,
        "ss_ip_noise_gamma": o.ip_noise_gamma or None,
        "ss_ip_noise_gamma_random_strength": o.ip_noise_gamma_random_strength,
        "ss_loss_type": o.loss_type,
        "ss_huber_schedule": o.huber_schedule,
        "ss_huber_c": o.huber_c,
        "ss_huber_scale": o.huber_scale,
    }


def base_model_facts(source: str) -> dict[str, Any]:
    """What the file says of the model that it was trained on: its name, and of a single file both its hashes."""
    path = Path(source)
    if path.is_dir():
        return {
            "ss_sd_model_name": path.name,
            "ss_sd_model_hash": "IsADirectory",
            "ss_new_sd_model_hash": "IsADirectory",
        }
    if not path.is_file():
        return {"ss_sd_model_name": source}
    with path.open("rb") as stream:
        whole = hashlib.sha256()
        while piece := stream.read(2**22):
            whole.update(piece)
        stream.seek(LEGACY_HASH_OFFSET)
        legacy = hashlib.sha256(stream.read(LEGACY_HASH_LENGTH))
    return {
        "ss_sd_model_name": path.name,
        "ss_sd_model_hash": legacy.hexdigest()[:8],
        "ss_new_sd_model_hash": whole.hexdigest(),
    }
