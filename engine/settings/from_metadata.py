"""The settings of the run that made a LoRA file, from what the file says about itself: "train like this one".

sd-scripts writes what a run was told under ss_* keys, everything as text, and None for what was not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from engine.settings.kohya_json import Loaded, from_kohya, to_kohya
from engine.settings.optimizer import OptimizerName
from engine.settings.sd_networks import read_network
from engine.settings.sd_scripts import FAMILIES
from engine.settings.training import TrainingSettings, training_options

SAME_NAME = (
    "gradient_checkpointing", "gradient_accumulation_steps", "max_grad_norm", "mixed_precision", "seed", "clip_skip",
    "cache_latents", "enable_bucket", "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "shuffle_caption",
    "keep_tokens", "caption_dropout_rate", "caption_dropout_every_n_epochs", "flip_aug", "color_aug", "random_crop",
    "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale", "multires_noise_iterations",
    "multires_noise_discount", "min_snr_gamma", "ip_noise_gamma", "ip_noise_gamma_random_strength", "loss_type",
    "huber_schedule", "huber_c", "huber_scale", "scale_weight_norms", "full_fp16", "prior_loss_weight", "v2",
    "max_token_length", "network_dim", "network_alpha", "network_dropout", "training_comment", "output_name",
    "lr_scheduler", "zero_terminal_snr",
)  # fmt: skip
"""Options that the file names ss_ and their own name."""

OTHER_NAME = {
    "ss_batch_size_per_device": "train_batch_size",
    "ss_num_epochs": "epoch",
    "ss_debiased_estimation": "debiased_estimation_loss",
    "ss_lr_warmup_steps": "lr_warmup_steps",
    "modelspec.title": "metadata_title",
    "modelspec.author": "metadata_author",
    "modelspec.description": "metadata_description",
    "modelspec.license": "metadata_license",
    "modelspec.tags": "metadata_tags",
}

NOT_SAID = "The file does not say where model and pictures lay: those fields stay as they were."


def from_metadata(metadata: Mapping[str, str], base: TrainingSettings) -> tuple[Loaded, list[str]]:
    """The run's settings over `base`, whose paths stay, and sentences on what the file does not hold.

    Raises ValueError with a sentence where the file says nothing of its training.
    """
    if not any(key.startswith("ss_") for key in metadata):
        raise ValueError("This file says nothing about how it was trained: it has no ss_ entries.")
    given = {**_defaults_but_paths(base), **_plain(metadata), **_derived(metadata)}
    kohya = {item.name: item.kohya for item in training_options()}
    data = {kohya[name]: value for name, value in given.items() if name in kohya}
    network, unread = _network(metadata, data)
    loaded = from_kohya(data | network)
    notes = [NOT_SAID]
    if unread:
        notes.append(f"No option says these arguments of its network: {', '.join(unread)}.")
    if name := metadata.get("ss_sd_model_name"):
        notes.append(f"It was trained on {name}.")
    if folders := _json(metadata.get("ss_dataset_dirs", "")):
        listed = ", ".join(f"{name} ({facts.get('img_count', '?')})" for name, facts in folders.items())
        notes.append(f"Its folders, with the number of pictures in each: {listed}.")
    return loaded, notes


def _defaults_but_paths(base: TrainingSettings) -> dict[str, Any]:
    """What the file cannot say stays; all else begins at its default."""
    whole = to_kohya(base)
    return {item.name: whole[item.kohya] for item in training_options() if item.widget in ("path", "folder")}


def _plain(metadata: Mapping[str, str]) -> dict[str, Any]:
    keys = {**{f"ss_{name}": name for name in SAME_NAME}, **OTHER_NAME}
    return {name: metadata[key] for key, name in keys.items() if metadata.get(key, "None") not in ("None", "")}


def _derived(metadata: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for read in (_rates, _size, _optimizer, _family, _lengths):
        found |= read(metadata)
    return found


def _rates(metadata: Mapping[str, str]) -> dict[str, Any]:
    """A part without a rate of its own has the common one."""
    common = metadata.get("ss_learning_rate", "None")
    unet, text_encoder = (metadata.get(f"ss_{part}_lr", "None") for part in ("unet", "text_encoder"))
    chosen = {
        "learning_rate": common,
        "unet_lr": common if unet == "None" else unet,
        "text_encoder_lr": common if text_encoder == "None" else _first_number(text_encoder),
    }
    return {name: value for name, value in chosen.items() if value != "None"}


def _first_number(text: str) -> str:
    """Families with several text encoders write a list of rates."""
    numbers = re.findall(r"[\d.eE+-]+", text)
    return numbers[0] if numbers else text


def _size(metadata: Mapping[str, str]) -> dict[str, Any]:
    numbers = re.findall(r"\d+", metadata.get("ss_resolution", ""))
    return {"max_resolution": ",".join(numbers[:2])} if numbers else {}


def _optimizer(metadata: Mapping[str, str]) -> dict[str, Any]:
    """ "torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.9, 0.99))" → name and extra arguments."""
    match = re.fullmatch(r"([\w.]+)(?:\((.*)\))?", metadata.get("ss_optimizer", ""))
    if not match:
        return {}
    class_name = match[1].rpartition(".")[2]
    names: dict[str, str] = {name.rpartition(".")[2]: name for name in OptimizerName.__args__}  # type: ignore[attr-defined]
    names |= {"SGD": "SGDNesterov", "SGD8bit": "SGDNesterov8bit"}
    arguments = re.findall(r"(\w+)=(\([^)]*\)|[^,]+)", match[2] or "")
    return {
        "optimizer": names.get(class_name, class_name),
        "optimizer_args": " ".join(f"{name}={re.sub(r'[() ]', '', value)}" for name, value in arguments),
    }


def _network(metadata: Mapping[str, str], data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """LoRA type and its own options by kohya_ss's keys, and what no option stands for."""
    arguments = _json(metadata.get("ss_network_args", ""))
    module = metadata.get("ss_network_module", "networks.lora")
    return read_network(module, [f"{name}={value}" for name, value in arguments.items()], data)


def _family(metadata: Mapping[str, str]) -> dict[str, Any]:
    version = metadata.get("ss_base_model_version", "")
    switches = {name: family.flag for name, family in FAMILIES.items()} | {"sd_v2": "v2"}
    return {switch: True for name, switch in switches.items() if version.startswith(name)}


def _lengths(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The warmup is known in steps, so the percentage gives way; where its noise came from decides the kind."""
    found: dict[str, Any] = {"lr_warmup": 0} if "ss_lr_warmup_steps" in metadata else {}
    if metadata.get("ss_multires_noise_iterations", "None") not in ("None", "0"):
        found["noise_offset_type"] = "Multires"
    return found


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
