"""The metadata of the files that a run writes, and their number formats."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from engine import VERSION
from engine.data.buckets import Placed, Size
from engine.data.items import Item
from engine.data.steps import StepPlan
from engine.networks.kohya_format import LEGACY_HASH_LENGTH, LEGACY_HASH_OFFSET, as_text
from engine.settings.objective import Objective
from engine.settings.training import TrainingSettings
from engine.training.schedules import warmup_steps

DTYPES = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_NOT_USED: dict[str, Any] = {
    # What a run of this version never does, in the words in which sd-scripts says so.
    **dict.fromkeys(
        (
            "ss_face_crop_aug_range", "ss_max_validation_steps",
            "ss_resize_interpolation", "ss_validate_every_n_epochs",
            "ss_validate_every_n_steps", "ss_validation_seed",
        )
    ),
    **dict.fromkeys(
        (
            "ss_color_aug", "ss_lowram", "ss_random_crop", "ss_v2", "ss_zero_terminal_snr",
        ),
        False,
    ),
    "ss_caption_tag_dropout_rate": 0.0,
    "ss_num_validation_images": 0,
    "ss_validation_split": 0.0,
}  # fmt: skip


@dataclass
class RunMetadata:
    """What a trained file says about the run that made it: sd-scripts' ss_* keys and modelspec's.

    family: what the model's family says of itself.
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
            **self._data(),
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
            "ss_training_comment": s.folders.training_comment or None,
            "ss_sd_scripts_commit_hash": "(unknown)",
            "ss_max_token_length": None if s.captions.max_token_length == "75" else s.captions.max_token_length,
            **_objective(s.objective),
        }

    def _data(self) -> dict[str, Any]:
        s = self.settings
        own = [item for item in self.items if not item.is_regularisation]
        tags: dict[str, Counter[str]] = {}
        for item, caption in zip(self.items, self.captions, strict=True):
            if not item.is_regularisation:
                words = (word.strip() for word in caption.split(","))
                tags.setdefault(item.picture.parent.name, Counter()).update(word for word in words if word)
        batch, buckets = s.optimizer.train_batch_size, s.dataset.enable_bucket
        upscaled = buckets and not s.dataset.bucket_no_upscale
        return {
            "ss_dataset_dirs": json.dumps(_folders(own)),
            "ss_reg_dataset_dirs": json.dumps(_folders([item for item in self.items if item.is_regularisation])),
            "ss_tag_frequency": json.dumps(tags, ensure_ascii=False),
            "ss_num_train_images": sum(item.repeats for item in own),
            "ss_num_reg_images": sum(item.repeats for item in self.items) - sum(item.repeats for item in own),
            "ss_num_batches_per_epoch": self.plan.batches,
            "ss_batch_size_per_device": batch,
            "ss_total_batch_size": batch * self.plan.processes * self.plan.accumulation,
            "ss_resolution": str(s.dataset.size()),
            "ss_enable_bucket": buckets,
            "ss_bucket_no_upscale": buckets and s.dataset.bucket_no_upscale,
            "ss_min_bucket_reso": s.dataset.min_bucket_reso if upscaled else None,
            "ss_max_bucket_reso": s.dataset.max_bucket_reso if upscaled else None,
            "ss_bucket_info": json.dumps(self._bucket_info() if buckets else None),
            "ss_flip_aug": s.dataset.flip_aug,
            "ss_shuffle_caption": s.captions.shuffle_caption,
            "ss_keep_tokens": s.captions.keep_tokens,
            "ss_caption_dropout_rate": s.captions.caption_dropout_rate,
            "ss_caption_dropout_every_n_epochs": s.captions.caption_dropout_every_n_epochs,
            "ss_prior_loss_weight": s.objective.prior_loss_weight,
        }

    def _bucket_info(self) -> dict[str, Any]:
        """Every bucket's size with the pictures times repeats in it, and how far aspects are off in the mean."""
        counts = Counter[Size]()
        for item, place in zip(self.items, self.places, strict=True):
            counts[place.bucket] += item.repeats
        errors = [abs(p.resized[0] / p.resized[1] - p.bucket[0] / p.bucket[1]) for p in self.places]
        return {
            "buckets": {
                str(number): {"resolution": list(size), "count": count}
                for number, (size, count) in enumerate(sorted(counts.items()))
            },
            "mean_img_ar_error": sum(errors) / len(errors),
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


def _folders(items: list[Item]) -> dict[str, dict[str, int]]:
    folders: dict[str, dict[str, int]] = {}
    for item in items:
        folder = folders.setdefault(item.picture.parent.name, {"n_repeats": item.repeats, "img_count": 0})
        folder["img_count"] += 1
    return folders


def _objective(o: Objective) -> dict[str, Any]:
    """None stands for what is not used."""
    offset, multires = o.noise_offset_type == "Original", o.noise_offset_type == "Multires"
    return {
        "ss_min_snr_gamma": o.min_snr_gamma or None,
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
