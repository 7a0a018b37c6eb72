"""Is there a model, is it one that this version trains, and do the settings say the same of it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.check.problem import Problem
from engine.data.output_names import is_folder
from engine.models.layouts import ema
from engine.models.recognise import Found, NoModel, recognise
from engine.models.trained import TRAINED
from engine.settings.families import SWITCHES, TITLES, TRANSFORMERS, FamilyName
from engine.settings.network import OF_ONE_FAMILY
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings

MODEL = "pretrained_model_name_or_path"

FAMILY_OPTIONS = (
    *SWITCHES, "flux_model_type", "v_parameterization", "train_inpainting", "cache_latents", "cache_latents_to_disk"
)  # fmt: skip
"""All that switches_of() may set."""

INPAINTING, DEPTH = 9, 5
CHANNELS: Mapping[FamilyName, tuple[int, ...]] = {"sd1": (4, 9), "sd2": (4, 5, 9), "sdxl": (4, 9)}
"""Of the UNet's input, of the variants that are trained."""

SWITCH_OF: Mapping[FamilyName, FamilyName] = {"chroma": "flux", "sdxl-refiner": "sdxl"}
"""Families that are chosen by the switch of another."""

REFINERS_END = 200
"""Timesteps: Podell et al. 2023, arXiv:2307.01952, section 2.5."""

SET_FAMILY = "Set the form for this model"


def check_model(settings: TrainingSettings, found: Found | None = None) -> Iterator[Problem]:
    """found: what the model is, where that is known already; else its header and lists are looked at."""
    source = settings.source_model
    yield from _base_model(settings, source.pretrained_model_name_or_path, found)
    kind, family = settings.network.lora_type, settings.family()
    if settings.trains_network and family not in OF_ONE_FAMILY.get(kind, (family,)):
        yield Problem("lora_type", f"LoRA type {kind} does not work with {TITLES[family]} models.", "Choose Standard.")
    yield from _vae(source.vae)


def _vae(name: str) -> Iterator[Problem]:
    if not name:
        return
    if not Path(name).exists():
        if not is_hub_name(name):
            yield Problem("vae", f'There is no VAE at "{name}".', "Correct the path, or clear the field.")
        return
    try:
        found = recognise(name)
    except NoModel as error:
        yield Problem("vae", str(error), error.mend)
        return
    if found and (found.kind in ("lora", "embedding", "text encoder") or not found.has_vae):
        yield Problem("vae", f"This file is {found.title} and contains no VAE.", "Choose another, or clear the field.")


def _base_model(settings: TrainingSettings, name: str, found: Found | None) -> Iterator[Problem]:
    if not name:
        yield Problem(MODEL, "No model is chosen.", "Enter or choose one.")
    elif not Path(name).exists() and not is_hub_name(name):
        yield Problem(
            MODEL,
            f'There is no model at "{name}".',
            "Enter a diffusers folder, a .safetensors or .ckpt file, or a Hugging Face name such as owner/model.",
        )
    elif Path(name).is_dir() and not (Path(name) / "model_index.json").exists():
        yield Problem(
            MODEL,
            f'"{name}" is a folder without a model_index.json, so it is not a diffusers model.',
            "Choose the folder that contains model_index.json, or a file.",
        )
    elif not (Path(name).is_file() or Path(name).is_dir() or is_hub_name(name)):
        yield Problem(MODEL, f'"{name}" is a device or a pipe, not a file.', "Choose a file or a folder.")
    else:
        try:
            found = found or recognise(name)
        except NoModel as error:
            yield Problem(MODEL, str(error), error.mend)
            return
        yield from _family(settings, found)
        if settings.source_model.start_from_ema and found and not found.has_ema:
            yield Problem(ema.OPTION, ema.none_in(Path(name).name if Path(name).is_file() else name), ema.MEND)


def _family(settings: TrainingSettings, found: Found | None) -> Iterator[Problem]:
    said = settings.family()
    if found is None:  # the files are not at hand yet, or only torch can read them
        if said not in TRAINED:
            yield Problem(MODEL, f"The settings are for {TITLES[said]} models, which this version cannot train.",
                          "Choose a model and settings from another family.")  # fmt: skip
        return
    if found.kind == "unknown":
        itself = f": it calls itself {found.called}" if found.called else ""
        yield Problem(MODEL, f"This file contains no model that Darkroom knows{itself}.", "Choose another file.")
    elif found.kind not in ("model", "denoiser"):
        yield Problem(MODEL, f"This file is {found.title}, not a base model.", "Choose the base model it was made for.")
    elif found.family is None or found.family not in TRAINED:
        yield Problem(MODEL, f"This is {found.title}, which this version cannot train.", "Choose another model.")
    elif found.channels not in CHANNELS.get(found.family, (4,)):
        yield Problem(
            MODEL,
            f"This model takes {found.channels} input channels: it is a variant conditioned on pictures, which this "
            "version cannot train.",
            "Choose an ordinary model.",
        )
    elif found.kind == "denoiser" and found.family not in TRANSFORMERS:
        yield Problem(
            MODEL,
            f"This file contains only the UNet of a {TITLES[found.family]} model, without text encoder and VAE.",
            "Choose a complete model.",
        )
    elif said != ("sdxl" if found.family == "sdxl-refiner" else found.family):
        yield Problem(
            MODEL,
            f"This is {found.title}, but the settings are for {TITLES[said]}.",
            "Set the model switches in Source Model to match.",
            fix=SET_FAMILY,
        )
    elif settings.objective.train_inpainting != (found.channels == INPAINTING):
        yield Problem(
            "train_inpainting",
            f"This is {found.title}, but Train inpainting model is {'off' if found.channels == INPAINTING else 'on'}.",
            f"Turn it {'on' if found.channels == INPAINTING else 'off'}.",
            fix=SET_FAMILY,
        )
    elif found.family == "sdxl-refiner" and settings.objective.max_timestep > REFINERS_END:
        yield Problem(
            "max_timestep",
            "The refiner handles only the last fifth of denoising, but Max Timestep lets it be trained on the rest "
            "too.",
            f"{REFINERS_END} is usual.",
            blocking=False,
        )
    elif found.channels == DEPTH and settings.trains_whole_model and _loses_depth(settings):
        yield Problem(
            "save_model_as",
            "A depth model saved as a single file needs the depth estimator, which only a single-file model contains.",
            "Save as diffusers_safetensors, or start from a single-file version of the model.",
            blocking=False,
        )
    else:
        yield from _own_words(settings, found)
        if not found.has_vae and found.kind == "model" and not settings.source_model.vae:
            yield Problem("vae", "The model's file contains no VAE.", "Choose one, such as the standard VAE file.")


def _own_words(settings: TrainingSettings, found: Found) -> Iterator[Problem]:
    """Where the settings say of the prediction what the model does not."""
    told = settings.families.v_parameterization
    if told and found.prediction == "epsilon":
        # A single file's words may be older than the file; a folder's lists are what every program goes by.
        in_words = Path(settings.source_model.pretrained_model_name_or_path).is_file()
        yield Problem(
            "v_parameterization",
            "The model's own files say that it predicts noise, not velocity.",
            "Turn it off, unless you want to teach the model v-prediction, which takes long."
            if in_words
            else "Turn it off.",
            fix=SET_FAMILY,
            blocking=not in_words,
        )
    elif not told and found.prediction == "v_prediction":
        yield Problem(
            "v_parameterization",
            "The model's own files say that it predicts velocity, and it is trained that way even though v_param is "
            "off.",
            "Turn it on, so that the settings match.",
            fix=SET_FAMILY,
            blocking=False,
        )
    elif settings.objective.zero_terminal_snr and found.family in CHANNELS and not _predicts_velocity(settings, found):
        yield Problem(
            "zero_terminal_snr",
            "Zero terminal SNR is on, but this model predicts noise: it learns nothing from pictures that are pure "
            "noise.",
            "Turn it off, unless the model predicts velocity: then turn v_param on.",
            blocking=False,
        )


def _predicts_velocity(settings: TrainingSettings, found: Found) -> bool:
    return settings.families.v_parameterization or found.prediction == "v_prediction"


def _loses_depth(settings: TrainingSettings) -> bool:
    source = settings.source_model
    from_file = Path(source.pretrained_model_name_or_path).is_file()
    return not from_file and not is_folder(settings)


def switches_of(found: Found) -> dict[str, Any]:
    """The options that say of what family the model is, as they are right for it."""
    first = {family: switch for switch, family in reversed(SWITCHES.items())}
    family = found.family or "sd1"
    right: dict[str, Any] = {switch: switch == first.get(SWITCH_OF.get(family, family)) for switch in SWITCHES}
    right["train_inpainting"] = found.channels == INPAINTING
    if right["train_inpainting"]:
        right |= {"cache_latents": False, "cache_latents_to_disk": False}
    if family in ("flux", "chroma"):
        right["flux_model_type"] = family
    if found.prediction is not None:
        right["v_parameterization"] = found.prediction == "v_prediction"
    return right
