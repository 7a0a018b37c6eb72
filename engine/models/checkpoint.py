"""Gets the pieces of a model from where they lie: a diffusers folder, a single file, or the Hugging Face hub."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, DDPMScheduler
from huggingface_hub import try_to_load_from_cache

from engine.failure import Failure, Stopped
from engine.models import hub
from engine.models.extra_channels import Depth, ExtraChannels, Masked
from engine.models.hub_reach import NOT_LOADED
from engine.models.layouts.entry import Entry
from engine.models.layouts.unet import PREFIX as UNET
from engine.models.layouts.vae import vae_entries
from engine.models.parts import Parts, Prediction
from engine.models.recognise import LARGEST_LIST, MOVED, VAE_PREFIXES
from engine.models.single_file import SINGLE_FILE_ENDINGS, Weights, first_line, module_from
from engine.models.skeleton import components_of, is_without_weights
from engine.models.told import NO_TRACE, predicted
from engine.objective.noise import without_a_trace_of_signal
from engine.reading import small_json
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings

CONFIGS = Path(__file__).parent / "configs"
"""What single files lack: the configuration of their parts, a folder a family."""

CLIP = "openai/clip-vit-large-patch14"

MODEL_FIELD = "pretrained_model_name_or_path"

FromFile = Callable[[Weights, torch.dtype], dict[str, Any]]


def components(kinds: tuple[str, ...], source: str, dtype: torch.dtype, from_file: FromFile) -> dict[str, Any]:
    """A model's pieces by diffusers' names for them; "scheduler" is its configuration, with its class under
    "_class_name", and "pipeline" that of the whole.

    kinds: names of diffusers' classes of whole models that it may be of, the usual one first.
    from_file: makes them of a single file in the original layout.
    Raises Failure with a sentence for people.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return from_file(Weights(path, MODEL_FIELD), dtype)
    if is_without_weights():
        return _skeleton(kinds, source, dtype)
    if path.is_dir():
        pipeline = _from_folder(kinds, path, dtype)
    elif path.suffix.lower() in SINGLE_FILE_ENDINGS or path.is_absolute() or source.count("/") != 1:
        raise Failure(
            f"There is no model at {source!r}.", "Give a folder, a file, or a Hugging Face name.", MODEL_FIELD
        )
    else:
        pipeline = _from_hub(kinds, MOVED.get(source, source), dtype)
    said = {name: value for name, value in pipeline.config.items() if isinstance(value, bool | int | float | str)}
    return {
        **pipeline.components,
        "scheduler": config_of(pipeline.scheduler),
        "pipeline": {name: value for name, value in said.items() if not name.startswith("_")},
    }


def config_of(scheduler: Any) -> dict[str, Any]:
    """A scheduler's configuration, with its class under "_class_name"."""
    return {**scheduler.config, "_class_name": type(scheduler).__name__}


def _skeleton(kinds: tuple[str, ...], source: str, dtype: torch.dtype) -> dict[str, Any]:
    """The pieces of a folder or of a hub model, of which no more is downloaded for this than their lists."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        cached = try_to_load_from_cache(MOVED.get(source, source), hub.INDEX)
        folder = Path(cached).parent if isinstance(cached, str) else folder
        if not any((folder / part / "config.json").is_file() for part in ("unet", "transformer")):
            folder = hub.fetched(source, _parts_of(kinds), MODEL_FIELD, weights=False)
    try:
        return components_of(folder, dtype)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Failure(f"{source} cannot be read: {first_line(error)}.", option=MODEL_FIELD) from error


def flow_parts(pipeline_class: Any, settings: TrainingSettings, dtype: torch.dtype, from_file: FromFile) -> Parts:
    """The pieces of a model whose transformer follows a flow, with as many text encoders as it has.  Raises Failure."""
    found = components(
        (pipeline_class.__name__,), settings.source_model.pretrained_model_name_or_path, dtype, from_file
    )
    names = [name for name in ("text_encoder", "text_encoder_2", "text_encoder_3") if found.get(name) is not None]
    return frozen(
        Parts(
            denoiser=found["transformer"],
            vae=vae_of(settings, found, dtype),
            text_encoders=[found[name] for name in names],
            tokenizers=[found[name.replace("text_encoder", "tokenizer")] for name in names],
            prediction="flow",
            scheduler=found["scheduler"],
            pipeline=found.get("pipeline", {}),
        )
    )


def frozen(parts: Parts) -> Parts:
    """Nothing of the base model learns; what does is attached to it, or chosen from it, later."""
    for module in parts.modules():
        module.requires_grad_(False)
    return parts


def unet_channels(weights: Weights) -> int:
    """How many a single file's UNet is shown; 4 for a file without one, of which another sentence says so."""
    name = f"{UNET}input_blocks.0.0.weight"
    return weights.shape(name)[1] if name in weights else 4


def kind_of(
    unet: Any, kinds: Mapping[int, str], found: dict[str, Any], settings: TrainingSettings
) -> tuple[Any, ExtraChannels | None]:
    """Which of a family's pipelines a UNet is of, and what it is shown beside noisy latents.

    kinds: diffusers' pipelines by the channels of the UNet's input.  found: the model's pieces.  Raises Failure.
    """
    channels = unet.config.in_channels
    if channels not in kinds:
        raise Failure(
            f"This model's UNet is shown {channels} channels, which no model does that is known here.",
            "Choose another model.",
            MODEL_FIELD,
        )
    if settings.objective.train_inpainting and channels != Masked.channels + 4:
        raise Failure(
            f"Train inpainting model is on, but this model's UNet is shown {channels} channels, not the 9 of an "
            "inpainting model.",
            "Turn it off, or choose an inpainting model.",
            "train_inpainting",
        )
    extra_channels: ExtraChannels | None = None
    if channels == Masked.channels + 4:
        extra_channels = Masked()
    elif channels == Depth.channels + 4:
        if found.get("depth_estimator") is None:
            raise Failure(
                "This model's UNet is shown depth, but the model has no part that sees it.",
                "Choose the folder of StableDiffusionDepth2ImgPipeline.",
                MODEL_FIELD,
            )
        extra_channels = Depth(found["depth_estimator"])
    return getattr(diffusers, kinds[channels]), extra_channels


def maker(module_class: Any, config: Path, **changes: Any) -> Callable[[], Any]:
    """Makes a module by the configuration in a folder.  changes: to a module of diffusers'."""
    if hasattr(module_class, "load_config"):  # diffusers'
        return partial(module_class.from_config, module_class.load_config(config), **changes)
    return partial(module_class, module_class.config_class.from_pretrained(config))


def scheduler_config(configs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((configs / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return found


def scheduler_told(configs: Path, weights: Weights) -> dict[str, Any]:
    """The usual one of a family, with what the model's file says of itself."""
    scheduler = scheduler_config(configs)
    if said := predicted(weights.metadata, weights):
        scheduler["prediction_type"] = said
    if NO_TRACE in weights:
        scheduler["rescale_betas_zero_snr"] = True
    return scheduler


def prediction_of(scheduler: dict[str, Any], settings: TrainingSettings) -> Prediction:
    """What the model predicts: velocity where its files or the settings say so."""
    said = scheduler.get("prediction_type", "epsilon")
    if said not in ("epsilon", "v_prediction"):
        raise Failure(
            f"This model predicts {said!r}, which this version does not train.", "Choose another.", MODEL_FIELD
        )
    return "v_prediction" if settings.families.v_parameterization else said


def noise_schedule(scheduler: dict[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """What Parts are told of the noise: the schedule of the model's files with what the settings say over it, what
    the model answers, and ᾱ by timesteps as the schedule has it and before its end was brought down to no signal.
    """
    prediction = prediction_of(scheduler, settings)
    without = bool(scheduler.get("rescale_betas_zero_snr") or settings.objective.zero_terminal_snr)
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    plain = DDPMScheduler(**{name: scheduler[name] for name in names if name in scheduler}).alphas_cumprod.float()
    return {
        "prediction": prediction,
        "alphas_cumprod": without_a_trace_of_signal(plain) if without else plain,
        "alphas_with_signal": plain,
        "scheduler": scheduler
        | {"prediction_type": prediction}
        | ({"rescale_betas_zero_snr": True} if without else {}),
    }


def vae_of(settings: TrainingSettings, found: dict[str, Any], dtype: torch.dtype) -> Any:
    """The VAE that the settings name in place of the model's own, else that one.  Raises Failure.

    dtype: of its weights, with all digits that their file has for it.
    """
    own, source = found["vae"], settings.source_model.vae
    make = partial(AutoencoderKL.from_config, own.config)
    if source:
        return load_vae(source, dtype, make)
    if own.dtype == dtype or is_without_weights():
        return own.to(dtype)
    return load_vae(settings.source_model.pretrained_model_name_or_path, dtype, make, MODEL_FIELD)


def load_vae(source: str, dtype: torch.dtype, make: Callable[[], Any], option: str = "vae") -> Any:
    """A VAE from a file, a folder (its own or a whole model's), or a hub name.  Raises Failure.

    make: gives one without weights, for a file.  option: the one that names it.
    """
    path, name = Path(source).expanduser(), MOVED.get(source, source)
    try:
        if path.is_file():
            return vae_from_file(Weights(path, option), make, dtype)
        if path.is_dir():
            inner = path / "vae" if (path / "vae").is_dir() else path
            return _vae_in(inner, dtype)
        if not is_hub_name(source):
            raise FileNotFoundError("there is no such file or folder")
        return local_first(lambda local: _vae_of_hub(name, dtype, option, local))
    except (Failure, Stopped):
        raise
    except Exception as error:
        raise Failure(f"The VAE {source!r} cannot be loaded: {first_line(error)}.", option=option) from error


def _vae_of_hub(name: str, dtype: torch.dtype, option: str, local: bool) -> Any:
    """local: as it was downloaded before.  Raises OSError where it was not."""
    if not local:
        return _vae_in(hub.fetched_module(name, "vae", option, weights=not is_without_weights()), dtype)
    for config in ("vae/config.json", "config.json"):
        cached = try_to_load_from_cache(name, config)
        with suppress(OSError):
            if isinstance(cached, str):
                return _vae_in(Path(cached).parent, dtype)
    raise OSError


def _vae_in(folder: Path, dtype: torch.dtype) -> Any:
    """Raises OSError where a file is missing."""
    if is_without_weights():
        with init_empty_weights():
            return AutoencoderKL.from_config(AutoencoderKL.load_config(folder)).to(dtype).eval()
    return AutoencoderKL.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)


def vae_within(weights: Weights, config: Path, dtype: torch.dtype, settings: TrainingSettings | None) -> Any:
    """The VAE in a whole model's file; one without weights where it has none and the settings name another.

    config: the folder of its configuration.  Raises Failure where there is none and none is named.
    """
    make = maker(AutoencoderKL, config)
    if any(map(weights.has, VAE_PREFIXES)):
        return vae_from_file(weights, make, dtype)
    if settings is None or not settings.source_model.vae:
        raise Failure(f"{weights.file.name} has no VAE in it.", "Choose one as VAE.", "vae")
    with init_empty_weights():
        return make()


def vae_from_file(weights: Weights, make: Callable[[], Any], dtype: torch.dtype, prefix: str | None = None) -> Any:
    """A VAE from a file of its own, or from that of a whole model.  prefix: before its names, None to look for it."""
    if prefix is None:
        prefix = next((prefix for prefix in VAE_PREFIXES if weights.has(prefix)), "")
    if weights.has("decoder.up_blocks."):  # a file of diffusers' own
        return module_from(weights, make, own_names, prefix, dtype, "VAE")
    return module_from(weights, make, vae_entries, prefix, dtype, "VAE")


def own_names(module: Any, prefix: str) -> list[Entry]:
    """The layout of a file that names everything as it is named here."""
    return [Entry(prefix + name, (name,)) for name in module.state_dict()]


def _from_folder(kinds: tuple[str, ...], folder: Path, dtype: torch.dtype) -> Any:
    index = folder / "model_index.json"
    if not index.exists():
        raise Failure(
            f"{folder} is not a diffusers model: it has no model_index.json.",
            "Choose the folder that holds model_index.json, or a single file inside this one.",
            MODEL_FIELD,
        )
    name, wanted = _class_name(index), kinds[0].removesuffix("Pipeline")
    if name not in kinds:
        raise Failure(
            f"{folder} holds a {name.removesuffix('Pipeline')} model, not a {wanted} model.",
            "Choose another model, or set the model family to this one's.",
            MODEL_FIELD,
        )
    kind = getattr(diffusers, name)
    try:
        modules = _largest_first(kind, folder, dtype)
        return kind.from_pretrained(folder, local_files_only=True, **modules, **_without_unused(kind))
    except Exception as error:
        raise Failure(f"{folder} cannot be loaded: {first_line(error)}.", option=MODEL_FIELD) from error


def _largest_first(kind: Any, folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """A folder's modules.  While one is read its file is in memory beside it: the largest's, where it is alone yet."""
    index = small_json(folder / hub.INDEX, LARGEST_LIST)
    wanted = [name for name in _asked(kind) if name not in NOT_LOADED]
    parts = [folder / name for name in wanted if (folder / name / "config.json").is_file()]
    modules = {}
    for part in sorted(parts, key=lambda part: -sum(file.stat().st_size for file in part.iterdir())):
        library, module_class = index.get(part.name) or (None, "")
        if library in ("diffusers", "transformers"):  # what else a list might name is not imported for it
            loader = getattr(importlib.import_module(library), module_class)
            modules[part.name] = loader.from_pretrained(part, torch_dtype=dtype, local_files_only=True).eval()
    return modules


def _class_name(index: Path) -> str:
    """The pipeline's class that a model_index.json names."""
    try:
        return str(small_json(index, LARGEST_LIST)["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{index} is damaged: it names no pipeline.", "Download the model again.", MODEL_FIELD) from error


def _from_hub(kinds: tuple[str, ...], name: str, dtype: torch.dtype) -> Any:
    """What was downloaded before, without asking the hub: at once, and without a network too; else what it has now."""
    index = try_to_load_from_cache(name, hub.INDEX)
    if isinstance(index, str):
        with suppress(Failure):  # a part is missing still, where the download broke off
            return _from_folder(kinds, Path(index).parent, dtype)
    return _from_folder(kinds, hub.fetched(name, _parts_of(kinds), MODEL_FIELD), dtype)


def local_first(load: Callable[[bool], Any]) -> Any:
    """What was downloaded before, without asking the hub: at once, and without a network too."""
    try:
        return load(True)
    except OSError:
        return load(False)


def _without_unused(kind: Any) -> dict[str, Any]:
    asked = _asked(kind)
    return {name: None for name in NOT_LOADED if name in asked} | (
        {"requires_safety_checker": False} if "requires_safety_checker" in asked else {}
    )


def _parts_of(kinds: tuple[str, ...]) -> dict[str, list[str]]:
    """What is read of each, by diffusers' name for it."""
    return {name: [part for part in _asked(getattr(diffusers, name)) if part not in NOT_LOADED] for name in kinds}


def _asked(kind: Any) -> list[str]:
    """The parts, and what else a pipeline is made with."""
    return list(inspect.signature(kind).parameters)


def clip_tokenizer(file: Path, configs: Path, folder: str = "tokenizer") -> Any:
    """CLIP's tokenizer for a single file."""
    from transformers import CLIPTokenizer

    return tokenizer_beside(file, CLIPTokenizer, folder, CLIP, "vocab.json and merges.txt", configs)


def tokenizer_beside(
    file: Path,
    tokenizer_class: Any,
    folder: str,
    name: str,
    needed: str,
    configs: Path | None = None,
    subfolder: str = "",
) -> Any:
    """A tokenizer that a single file lacks; see piece_beside()."""
    return piece_beside(file, tokenizer_class.from_pretrained, "tokenizer", folder, name, needed, configs, subfolder)


def piece_beside(
    file: Path,
    load: Callable[..., Any],
    what: str,
    folder: str,
    name: str,
    needed: str,
    configs: Path | None = None,
    subfolder: str = "",
) -> Any:
    """A piece that a single file lacks: of a folder beside it, among the configs, or from the hub.

    load: from a folder or a name on the hub.  what, needed: the piece and its files, for people.
    name, subfolder: on the hub.  Raises Failure.
    """
    places = [file.with_suffix("") / folder, file.parent / folder, *([configs / folder] if configs else [])]
    for place in places:
        if place.is_dir():
            return load(place)
    try:
        return local_first(lambda local: load(name, subfolder=subfolder, local_files_only=local))
    except (OSError, ValueError) as error:
        raise Failure(
            f"{file.name} needs the {what} of {name}, which is not on this machine, and the Hugging Face hub cannot "
            "be reached.",
            f"Connect to the internet once, or put {needed} of it into {file.parent / folder}.",
            MODEL_FIELD,
        ) from error
