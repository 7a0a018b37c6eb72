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
from engine.settings.families import TRANSFORMERS
from engine.settings.objective import Objective
from engine.settings.optimizer import Optimizer
from engine.settings.taste import Taste
from engine.settings.training import TrainingSettings
from engine.settings.validation import Validation
from engine.training.data_facts import data_facts
from engine.training.metadata_size import sentence, within

LEAST = (
    "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args",
)  # fmt: skip
"""What sd-scripts writes under --no_metadata, so that programs know what to do with the file."""

DTYPES = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_NOT_USED: dict[str, Any] = {
    # What a run of this version never does, as sd-scripts would record it.
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


@dataclass(kw_only=True)
class RunMetadata:
    """What a trained file says about the run that made it: sd-scripts' ss_* keys and modelspec's.

    family: the family's own facts.  held_out: pictures × repeats used for validation only.
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
    notes: list[str] = field(default_factory=list)
    """Sentences about what the files leave out because it would be too long, each once."""
    _told: int = 0

    @cached_property
    def _base(self) -> dict[str, Any]:
        """Computed when the first file is saved, and only by the process that saves: it reads the whole model."""
        source = self.settings.source_model
        return file_facts("sd_model", source.pretrained_model_name_or_path) | file_facts("vae", source.vae)

    @cached_property
    def _data(self) -> dict[str, Any]:
        if not self.settings.learns_from_pictures:
            return {}
        return data_facts(self.settings, self.plan, items=self.items, captions=self.captions, places=self.places)

    def at(self, step: int, epoch: int) -> dict[str, str]:
        """All metadata of a file saved after `step` steps in epoch `epoch`, as text."""
        said = {
            **self.network,
            **{key: value for key, value in self.family.items() if key.startswith("ss_")},
        }
        if self.settings.applied("no_metadata"):
            values = {key: value for key, value in ({"ss_v2": False} | said).items() if key in LEAST}
        else:
            values = {
                **_NOT_USED,
                **self._base,
                **self._run(),
                **self._data,
                **said,
                "ss_steps": step,
                "ss_epoch": epoch,
                "ss_training_finished_at": time.time(),
            }
        whole = {**{key: as_text(value) for key, value in sorted(values.items())}, **self._modelspec()}
        written, left_out = within(whole)
        if self._data and not self.settings.applied("no_metadata") and "ss_tag_frequency" not in whole:
            left_out.insert(0, "ss_tag_frequency")
        if left_out and (note := sentence(left_out)) not in self.notes:
            self.notes.append(note)
        return written

    def of_average(self) -> dict[str, str]:
        """What the file of averaged weights says besides; nothing where none are kept."""
        s = self.settings
        if not s.averaging.ema or s.applied("no_metadata"):
            return {}
        names = ("ema_decay", "ema_warmup", "ema_every_n_steps")
        return {f"ss_{name}": as_text(getattr(s.averaging, name)) for name in names}

    def new_notes(self) -> list[str]:
        """Those that were not asked for yet."""
        new, self._told = self.notes[self._told :], len(self.notes)
        return new

    def _run(self) -> dict[str, Any]:
        s = self.settings
        return {
            "ss_session_id": self.session,
            "ss_training_started_at": self.began,
            "ss_output_name": s.folders.output_name,
            **_rates(s, self.optimizer),
            "ss_num_epochs": self.plan.epochs_run,
            "ss_gradient_checkpointing": s.hardware.gradient_checkpointing,
            "ss_gradient_accumulation_steps": s.optimizer.gradient_accumulation_steps,
            "ss_max_train_steps": self.plan.steps,
            "ss_lr_warmup_steps": _warmup(s.optimizer),
            "ss_optimizer": self.optimizer,
            "ss_max_grad_norm": s.optimizer.max_grad_norm,
            "ss_mixed_precision": self.precision,
            "ss_fp8_base": s.memory.fp8_base,
            "ss_fp8_base_unet": s.memory.fp8_base_unet,
            "ss_full_fp16": s.memory.full_fp16,
            "ss_seed": self.seed,
            "ss_clip_skip": _clip_skip(s.objective),
            "ss_cache_latents": s.dataset.cache_latents,
            "ss_face_crop_aug_range": s.dataset.face_range(),
            "ss_training_comment": s.folders.training_comment or None,
            "ss_sd_scripts_commit_hash": "(unknown)",
            "ss_max_token_length": None if s.captions.max_token_length == "75" else s.captions.max_token_length,
            **_objective(s.objective),
            **_taste(s.taste),
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
            **_reading_and_noise(s.objective),
            "modelspec.date": datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None).isoformat(),
            **{f"modelspec.{key}": value for key, value in given.items() if value},
        }


def _rates(s: TrainingSettings, optimizer: str) -> dict[str, Any]:
    """As sd-scripts' arguments would give them: None means not given, for a part that follows the common rate; 0 means
    not trained. If several text encoders may have their own rates, they are a list.

    If Adafactor sets its own rates, there are none, and the common one is recorded with the schedule.
    """
    o = s.optimizer
    if "Adafactor(" in optimizer and "relative_step=True" in optimizer:
        own = dict.fromkeys(("ss_learning_rate", "ss_unet_lr", "ss_text_encoder_lr"))
        return own | {"ss_lr_scheduler": f"adafactor:{o.learning_rate}"}
    said: dict[str, Any] = {"ss_learning_rate": o.learning_rate, "ss_lr_scheduler": o.lr_scheduler}
    if s.trains_whole_model or not (o.unet_lr or o.text_encoder_lr):
        return said | {"ss_unet_lr": None, "ss_text_encoder_lr": None}
    unet, text = s.network_rates()
    return said | {"ss_unet_lr": unet, "ss_text_encoder_lr": [text] if s.family() in TRANSFORMERS else text}


def _warmup(o: Optimizer) -> int | float:
    """In steps, or as a share of the run; none for constant."""
    return 0 if o.lr_scheduler == "constant" else o.lr_warmup_steps or round(o.lr_warmup / 100, 9) or 0


def _clip_skip(o: Objective) -> int | None:
    """None for the layer that is read by default."""
    return o.clip_skip if o.clip_skip > 1 else None


def _reading_and_noise(o: Objective) -> dict[str, str]:
    """If they differ from the usual ones."""
    said = {}
    if (o.min_timestep, o.max_timestep) != (0, 1000):
        said["modelspec.timestep_range"] = f"{o.min_timestep},{o.max_timestep}"
    if (layer := _clip_skip(o)) is not None:
        said["modelspec.encoder_layer"] = str(layer)
    return said


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
    offset, multires = o.noise_offset_type != "Multires", o.noise_offset_type != "Original"
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


def _taste(t: Taste) -> dict[str, Any]:
    """How aesthetic scores were used; nothing where they were not."""
    return {f"ss_{name}": value for name, value in t if t.used()}


def file_facts(kind: str, source: str) -> dict[str, Any]:
    """What the file says about a model that was used: its name and, for a single file, both hashes; nothing if none.

    kind: as sd-scripts calls it, sd_model or vae.
    """
    path = Path(source)
    if not source:
        return {}
    if path.is_dir():
        return _named(kind, path.name, "IsADirectory", "IsADirectory")
    if not path.is_file():
        return {f"ss_{kind}_name": source}
    with path.open("rb") as stream:
        whole = hashlib.sha256()
        while piece := stream.read(2**22):
            whole.update(piece)
        stream.seek(LEGACY_HASH_OFFSET)
        legacy = hashlib.sha256(stream.read(LEGACY_HASH_LENGTH))
    return _named(kind, path.name, legacy.hexdigest()[:8], whole.hexdigest())


def _named(kind: str, name: str, old: str, new: str) -> dict[str, Any]:
    return {f"ss_{kind}_name": name, f"ss_{kind}_hash": old, f"ss_new_{kind}_hash": new}
