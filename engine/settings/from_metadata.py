"""The settings of the run that made a LoRA file, from what the file says about itself: "train like this one".

sd-scripts writes what a run was told under ss_ and the name of its argument, everything as text, and None for
what was not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engine.reading import parse_json
from engine.settings.kohya_json import Loaded, from_kohya, to_kohya
from engine.settings.optimizer import OptimizerName
from engine.settings.presets import is_users_own
from engine.settings.sd_networks import FAMILY_OF_MODULE, read_network
from engine.settings.sd_scripts import FAMILIES, ONLY_THERE, option_for
from engine.settings.sd_scripts_together import noise_offset_type
from engine.settings.shell_words import quoted, words_from
from engine.settings.training import TrainingSettings, training_options

OTHER_NAMES = {
    "batch_size_per_device": "train_batch_size",
    "num_epochs": "epoch",
    "debiased_estimation": "debiased_estimation_loss",
    "mixed_precision": "mixed_precision",
}
"""What stands there under another name than the argument's, or is no argument of the script's: kohya_ss's keys."""

OF_DATASETS = (
    "batch_size_per_device", "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "color_aug",
    "flip_aug", "random_crop", "face_crop_aug_range", "shuffle_caption", "keep_tokens", "keep_tokens_separator",
    "secondary_separator", "caption_separator", "caption_prefix", "caption_suffix", "enable_wildcard",
    "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "token_warmup_min",
    "token_warmup_step", "alpha_mask",
)  # fmt: skip
"""What each dataset, or each of its folders, says for itself where the run had a dataset config."""

USUAL = {"sigmoid_scale": 1.0, "weighting_scheme": "uniform", "logit_mean": 0.0, "logit_std": 1.0, "mode_scale": 1.29}
"""Arguments that only some families have options for, with sd-scripts' defaults."""

FAMILY_OF_VERSION = {
    "sdxl": "sdxl", "flux": "flux", "chroma": "flux", "sd3": "sd3", "medium": "sd3", "5-": "sd3", "lumina": "lumina",
    "hunyuan": "hunyuan_image", "anima": "anima", "sd_": "",
}  # fmt: skip
"""What ss_base_model_version begins with; for Stable Diffusion 3 it is only the model's size."""

FROM_ANOTHER_RUN = ("resume", "resume_from_huggingface", "network_weights")
"""The user's own that does not stay: a run like this one begins where this one began."""


def from_metadata(
    metadata: Mapping[str, str], base: TrainingSettings, shown: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Loaded, list[str]]:
    """The run's settings over what is the user's own in `base`, and sentences on what the file does not hold.

    shown: what its tensors show of the network, by option, for what the metadata do not say.  Raises ValueError with a
    sentence where the file says nothing of its training.
    """
    said = {key[3:]: text for key, text in metadata.items() if key.startswith("ss_") and text not in ("None", "")}
    if not said and not shown:
        raise ValueError("This file does not say how it was trained: it has no ss_ entries.")
    notes: list[str] = []
    said = _first_dataset(said, notes) | said
    family = _family(said)
    further = _without_option(said, family or "")
    data = {
        **_arguments(said, family or ""),
        **_families(said, family, metadata.get("modelspec.prediction_type", ""), notes),
        **_rates(said, family, further),
        **_size(said),
        **_optimizer(said),
        **_length(said, notes),
    }
    network, unread = _network(said, data, shown, notes)
    if further:
        line = quoted(words_from(further))
        data["additional_parameters"] = line
        notes.append(f"Kept in Additional parameters, because there is no option for it: {line}")
    if unread:
        notes.append(f"There is no option for these network arguments: {', '.join(unread)}.")
    stays = _users_own(base, data, notes)
    loaded = from_kohya(stays | data | network)
    return loaded, notes + _about(said)


def _arguments(said: Mapping[str, str], family: str) -> dict[str, Any]:
    """What stands there as an argument of the family's script has it, without what is the user's to say."""
    found: dict[str, Any] = {key: said[name] for name, key in OTHER_NAMES.items() if name in said}
    for name, text in said.items():
        item = option_for(name, family, "lora")
        if item and not is_users_own(item):
            found[item.kohya.key] = _plain(text) if text.startswith("(") else text
    if ":" in said.get("lr_scheduler", ""):
        found["lr_scheduler"] = said["lr_scheduler"].partition(":")[0]
    found["noise_offset_type"] = noise_offset_type(said)
    if said.get("alpha_mask") == "True":
        found["masked_loss"] = True
    return found


def _without_option(said: Mapping[str, str], family: str) -> dict[str, Any]:
    """Arguments of sd-scripts that no option stands for, where they say something."""
    found: dict[str, Any] = {}
    for name, text in said.items():
        if (name in ONLY_THERE or name in USUAL) and option_for(name, family, "lora") is None:
            value = _plain(text)
            if value not in (False, 0, USUAL.get(name)):
                found[name] = value
    return found


def _first_dataset(said: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """Where the run had a dataset config: what its first folder says, as if the arguments had said it."""
    datasets = [dataset for dataset in _json(said.get("datasets"), list) if isinstance(dataset, dict)]
    folders = [
        {**dataset, **subset}
        for dataset in datasets
        for subset in _json(dataset.get("subsets"), list) or [{}]
        if isinstance(subset, dict) and not subset.get("is_reg")
    ]
    if not folders:
        return {}
    names = [name for name in (*OF_DATASETS, *sorted(ONLY_THERE)) if any(name in folder for folder in folders)]
    differing = [name for name in names if any(folder.get(name) != folders[0].get(name) for folder in folders)]
    if differing:
        notes.append(
            f"Its folders differ in {', '.join(differing)}; here there is only one value, taken from the first folder."
        )
    if folders[0].get("enable_bucket"):
        notes.append(
            "It does not say whether small pictures were enlarged to fit buckets (Don't upscale bucket resolution)."
        )
    return {name: str(folders[0][name]) for name in names if folders[0].get(name) not in (None, "")}


def _family(said: Mapping[str, str]) -> str | None:
    """By its prefix as in FAMILIES; None where the file does not say."""
    version = said.get("base_model_version", "")
    begins = next((begin for begin in FAMILY_OF_VERSION if version.startswith(begin)), None)
    if begins or said.get("v2") == "True":
        return FAMILY_OF_VERSION.get(begins or "", "")
    return FAMILY_OF_MODULE.get(said.get("network_module", ""))


def _families(said: Mapping[str, str], family: str | None, prediction: str, notes: list[str]) -> dict[str, Any]:
    """The switches that say what kind of model it is."""
    version = said.get("base_model_version", "")
    if family is None:
        if version:
            notes.append(f"Its base model version, {version}, is not known here.")
        return {}
    switches = dict.fromkeys((*(each.flag for each in FAMILIES.values()), "sdxl_checkbox"), False)
    if family:
        switches[FAMILIES[family].flag] = True
    switches["v2"] = version.startswith("sd_v2") or said.get("v2") == "True"
    switches["v_parameterization"] = prediction == "v" or version in ("sd_v1_v", "sd_v2_v")
    return switches | ({"model_type": "chroma"} if version == "chroma" else {})


def _rates(said: Mapping[str, str], family: str | None, further: dict[str, Any]) -> dict[str, Any]:
    """A part without a rate of its own has the common one; T5's is the last where each text encoder has one."""
    # Where Adafactor makes its own rates, sd-scripts keeps the common one with the schedule: adafactor:0.0001.
    common = said.get("learning_rate", "") or said.get("lr_scheduler", "").partition(":")[2]
    texts = [part.strip() for part in said.get("text_encoder_lr", "").strip("[]() ").split(",")]
    texts = [rate for part in texts if (rate := common if part in ("", "None") else part)] or [""]
    t5 = ""
    if len(texts) > 1 and texts[-1] != texts[0] and len(texts) == {"flux": 2, "sd3": 3}.get(family or ""):
        *texts, t5 = texts
    if any(rate != texts[0] for rate in texts):
        further["text_encoder_lr"] = texts
    chosen = {
        "learning_rate": common, "unet_lr": said.get("unet_lr", common), "text_encoder_lr": texts[0], "t5xxl_lr": t5
    }  # fmt: skip
    return {name: rate for name, rate in chosen.items() if rate}


def _size(said: Mapping[str, str]) -> dict[str, Any]:
    numbers = re.findall(r"\d+", said.get("resolution", ""))
    return {"max_resolution": ",".join(numbers[:2])} if numbers else {}


def _optimizer(said: Mapping[str, str]) -> dict[str, Any]:
    """ "torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.9, 0.99))" → name and extra arguments."""
    match = re.fullmatch(r"([\w.]+)(?:\((.*)\))?", said.get("optimizer", ""))
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


def _length(said: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    """The warmup, in steps or as a share, and the steps where the epochs do not come to as many."""
    found: dict[str, Any] = {}
    if warmup := said.get("lr_warmup_steps"):
        share = _plain(warmup)
        percent = round(share * 100, 9) if isinstance(share, float) and 0 < share <= 1 else 0
        found |= {"lr_warmup": percent, "lr_warmup_steps": 0 if percent else warmup}
    steps, epochs, batches = (_count(said, name) for name in ("max_train_steps", "num_epochs", "num_batches_per_epoch"))
    accumulation = _count(said, "gradient_accumulation_steps") or 1
    a_step = _count(said, "total_batch_size") // (_count(said, "batch_size_per_device") or 1) or accumulation
    of_epochs: set[int] = set()
    for many in (accumulation, a_step):  # batches are counted for one process or for all; -(-a // b) is ⌈a ÷ b⌉
        of_epochs |= {epochs * -(-batches // many), -(-epochs * batches // many)}
    if steps and (not epochs or (batches and steps not in of_epochs)):
        found["max_train_steps"] = steps
        notes.append(
            f"It was trained for {steps} steps, which is not a whole number of epochs, so Max train steps is set."
        )
    return found


def _count(said: Mapping[str, str], name: str) -> int:
    """0 where it does not stand there, or is no number to count with."""
    return int(text) if (text := said.get(name, "")).isdecimal() and len(text) < 10 else 0


def _network(
    said: Mapping[str, str], data: Mapping[str, Any], shown: Mapping[str, Any], notes: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """LoRA type and its own options by kohya_ss's keys, and what no option stands for."""
    by_tensors = {item.kohya.key: shown[item.name] for item in training_options() if item.name in shown}
    if shown and "network_module" not in said:
        notes.append("The file does not say what kind of network it is; that, the ranks and alphas are by its tensors.")
        return by_tensors, []
    unsaid = {key: by_tensors[key] for key in _SIZES if key in by_tensors and not _is_number(said.get(key, ""))}
    if unsaid:
        notes.append("Rank and alpha are those of most layers in the file, which does not say them in its metadata.")
    arguments = _json(said.get("network_args"), dict)
    arguments.pop("dropout", None)  # which ss_network_dropout says too
    module = said.get("network_module", "networks.lora")
    read, unread = read_network(module, [f"{name}={value}" for name, value in arguments.items()], {**data, **unsaid})
    return {**read, **unsaid}, unread


_SIZES = ("network_dim", "network_alpha")


def _is_number(text: str) -> bool:
    return isinstance(_plain(text), int | float)


def _users_own(base: TrainingSettings, data: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What is the user's to say and not told by the file, by kohya_ss's keys."""
    own = [item for item in training_options() if is_users_own(item) and item.kohya.key not in data]
    emptied = [item for item in own if item.name in FROM_ANOTHER_RUN]
    stays = [item for item in own if item not in emptied]
    listed = ", ".join(item.short_label for item in stays if item.value_in(base) != item.default)
    told = "Your model, folders, names, prompts, metadata and machine settings stay as they were"
    notes.append(f"{told}: {listed}." if listed else f"{told}.")
    if listed := ", ".join(item.short_label for item in emptied if item.value_in(base) != item.default):
        notes.append(f"Cleared, because they would continue from another run: {listed}.")
    whole = to_kohya(base)
    return {item.kohya.key: whole[item.kohya.key] for item in stays}


def _about(said: Mapping[str, str]) -> list[str]:
    """What the settings cannot hold: the model's name and the folders."""
    notes = [f"It was trained on {name}."] if (name := said.get("sd_model_name")) else []
    if folders := _json(said.get("dataset_dirs"), dict):
        counts = [facts.get("img_count", "?") if isinstance(facts, dict) else "?" for facts in folders.values()]
        listed = ", ".join(f"{name} ({count})" for name, count in zip(folders, counts, strict=True))
        notes.append(f"Its folders and the number of pictures in each: {listed}.")
    return notes


def _plain(text: str) -> Any:
    """True, a number, or text as an argument has it: tuples without brackets and blanks."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return re.sub(r"[() ]", "", text) if text.startswith("(") else text


def _json(text: Any, kind: type) -> Any:
    """JSON of this kind, or what is that already; an empty one where it is another or none."""
    value = text
    if isinstance(text, str):
        try:
            value = parse_json(text.encode())
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be shown
        except (ValueError, RecursionError):
            return kind()
    return value if isinstance(value, kind) else kind()
