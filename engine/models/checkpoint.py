"""Gets the pieces of a model from where they lie: a diffusers folder, a single file, or the Hugging Face hub."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from huggingface_hub import try_to_load_from_cache
from torch import Tensor

from engine.failure import Failure
from engine.models import hub
from engine.models.family import Parts, Prediction
from engine.models.layouts.entry import Entry
from engine.models.layouts.vae import PREFIX as VAE_PREFIX
from engine.models.layouts.vae import vae_entries
from engine.models.recognise import MOVED
from engine.models.single_file import SINGLE_FILE_ENDINGS, Weights, first_line, module_from
from engine.models.skeleton import components_of, is_without_weights
from engine.objective.noise import without_a_trace_of_signal
from engine.settings.training import TrainingSettings

CONFIGS = Path(__file__).parent / "configs"
"""What single files lack: the configuration of their parts, a folder a family."""

CLIP = "openai/clip-vit-large-patch14"

MODEL_FIELD = "pretrained_model_name_or_path"

NOT_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of diffusers' pipelines that look at pictures: at finished ones, or at ones to draw alike."""

FromFile = Callable[[Weights, torch.dtype], dict[str, Any]]


def components(pipeline_class: Any, source: str, dtype: torch.dtype, from_file: FromFile) -> dict[str, Any]:
    """A model's pieces by diffusers' names for them; "scheduler" is its configuration, with its class under
    "_class_name", and "pipeline" that of the whole.

    from_file: makes them of a single file in the original layout.
    Raises Failure with a sentence for people.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return from_file(Weights(path, MODEL_FIELD), dtype)
    if is_without_weights():
        return _skeleton(source, dtype)
    if path.is_dir():
        pipeline = _from_folder(pipeline_class, path, dtype)
    elif path.suffix.lower() in SINGLE_FILE_ENDINGS or path.is_absolute() or source.count("/") != 1:
        raise Failure(
            f"There is no model at {source!r}.", "Give a folder, a file, or a Hugging Face name.", MODEL_FIELD
        )
    else:
        pipeline = _from_hub(pipeline_class, MOVED.get(source, source), dtype)
    said = {name: value for name, value in pipeline.config.items() if isinstance(value, bool | int | float | str)}
    return {
        **pipeline.components,
        "scheduler": config_of(pipeline.scheduler),
        "pipeline": {name: value for name, value in said.items() if not name.startswith("_")},
    }


def config_of(scheduler: Any) -> dict[str, Any]:
    """A scheduler's configuration, with its class under "_class_name"."""
    return {**scheduler.config, "_class_name": type(scheduler).__name__}


def _skeleton(source: str, dtype: torch.dtype) -> dict[str, Any]:
    """A folder's pieces, or those of a hub model that lies on this machine."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        cached = try_to_load_from_cache(MOVED.get(source, source), "model_index.json")
        if not isinstance(cached, str):
            raise Failure(f"{source} has not been downloaded yet.", "Its first run downloads it.", MODEL_FIELD)
        folder = Path(cached).parent
    try:
        return components_of(folder, dtype)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Failure(f"{source} cannot be read: {first_line(error)}.", option=MODEL_FIELD) from error


def flow_parts(pipeline_class: Any, settings: TrainingSettings, dtype: torch.dtype, from_file: FromFile) -> Parts:
    """The pieces of a model whose transformer follows a flow, with as many text encoders as it has.  Raises Failure."""
    found = components(pipeline_class, settings.source_model.pretrained_model_name_or_path, dtype, from_file)
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


def maker(module_class: Any, config: Path) -> Callable[[], Any]:
    """Makes a module by the configuration in a folder."""
    if hasattr(module_class, "load_config"):  # diffusers'
        return partial(module_class.from_config, module_class.load_config(config))
    return partial(module_class, module_class.config_class.from_pretrained(config))


def scheduler_config(configs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((configs / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return found


def prediction_of(scheduler: dict[str, Any], settings: TrainingSettings) -> Prediction:
    """What the model predicts: velocity where its files or the settings say so."""
    said = scheduler.get("prediction_type", "epsilon")
    if said not in ("epsilon", "v_prediction"):
        raise Failure(
            f"This model predicts {said!r}, which this version does not train.", "Choose another.", MODEL_FIELD
        )
    return "v_prediction" if settings.families.v_parameterization else said


def alphas_cumprod(scheduler: dict[str, Any]) -> Tensor:
    """(T,) ᾱ of the model's noise schedule, brought down to no signal at all at its end where its files say so."""
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    schedule = DDPMScheduler(**{name: scheduler[name] for name in names if name in scheduler}).alphas_cumprod.float()
    return without_a_trace_of_signal(schedule) if scheduler.get("rescale_betas_zero_snr") else schedule


def vae_of(settings: TrainingSettings, found: dict[str, Any], dtype: torch.dtype) -> Any:
    """The VAE that the settings name in place of the model's own, else that one.  Raises Failure."""
    own, source = found["vae"], settings.source_model.vae
    return load_vae(type(own), source, dtype, own) if source else own


def load_vae(vae_class: Any, source: str, dtype: torch.dtype, like: Any) -> Any:
    """A VAE from a file, a folder (its own or a whole model's), or a hub name.  Raises Failure.

    like: the model's own, whose configuration a file's has.
    """
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return vae_from_file(Weights(path, "vae"), partial(vae_class.from_config, like.config), dtype)
        if path.is_dir():
            inner = path / "vae" if (path / "vae").is_dir() else path
            return vae_class.from_pretrained(inner, torch_dtype=dtype)
        return vae_class.from_pretrained(source, torch_dtype=dtype)
    except Failure:
        raise
    except Exception as error:
        raise Failure(f"The VAE {source!r} cannot be loaded: {first_line(error)}.", option="vae") from error


def vae_from_file(weights: Weights, make: Callable[[], Any], dtype: torch.dtype, prefix: str | None = None) -> Any:
    """A VAE from a file of its own, or from that of a whole model.  prefix: before its names, None to look for it."""
    if prefix is None:
        prefix = VAE_PREFIX if weights.has(VAE_PREFIX) else ""
    if weights.has("decoder.up_blocks."):  # a file of diffusers' own
        return module_from(weights, make, own_names, prefix, dtype, "VAE")
    return module_from(weights, make, vae_entries, prefix, dtype, "VAE")


def own_names(module: Any, prefix: str) -> list[Entry]:
    """The layout of a file that names everything as it is named here."""
    return [Entry(prefix + name, (name,)) for name in module.state_dict()]


def _from_folder(pipeline_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    index = folder / "model_index.json"
    if not index.exists():
        raise Failure(
            f"{folder} is not a diffusers model: it has no model_index.json.",
            "Choose the folder that holds model_index.json, or a single file inside this one.",
            MODEL_FIELD,
        )
    kind, wanted = _class_name(index), pipeline_class.__name__.removesuffix("Pipeline")
    if kind != pipeline_class.__name__:
        raise Failure(
            f"{folder} holds a {kind.removesuffix('Pipeline')} model, not a {wanted} model.",
            "Choose another model, or set the model family to this one's.",
            MODEL_FIELD,
        )
    try:
        return pipeline_class.from_pretrained(
            folder, torch_dtype=dtype, local_files_only=True, **_without_unused(pipeline_class)
        )
    except Exception as error:
        raise Failure(f"{folder} cannot be loaded: {first_line(error)}.", option=MODEL_FIELD) from error


def _class_name(index: Path) -> str:
    """The pipeline's class that a model_index.json names."""
    try:
        return str(json.loads(index.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{index} is damaged: it names no pipeline.", "Download the model again.", MODEL_FIELD) from error


def _from_hub(pipeline_class: Any, name: str, dtype: torch.dtype) -> Any:
    """What was downloaded before, without asking the hub: at once, and without a network too; else what it has now."""
    index = try_to_load_from_cache(name, hub.INDEX)
    if isinstance(index, str):
        with suppress(Failure):  # a part is missing still, where the download broke off
            return _from_folder(pipeline_class, Path(index).parent, dtype)
    parts = [part for part in inspect.signature(pipeline_class).parameters if part not in NOT_LOADED]
    return _from_folder(pipeline_class, hub.fetched(name, pipeline_class.__name__, parts, MODEL_FIELD), dtype)


def local_first(load: Callable[[bool], Any]) -> Any:
    """What was downloaded before, without asking the hub: at once, and without a network too."""
    try:
        return load(True)
    except OSError:
        return load(False)


def _without_unused(pipeline_class: Any) -> dict[str, Any]:
    asked = inspect.signature(pipeline_class).parameters
    return {name: None for name in NOT_LOADED if name in asked} | (
        {"requires_safety_checker": False} if "requires_safety_checker" in asked else {}
    )


def clip_tokenizer(file: Path, configs: Path) -> Any:
    """CLIP's tokenizer for a single file."""
    from transformers import CLIPTokenizer

    return tokenizer_beside(file, CLIPTokenizer, "tokenizer", CLIP, "vocab.json and merges.txt", configs)


def tokenizer_beside(
    file: Path,
    tokenizer_class: Any,
    folder: str,
    name: str,
    needed: str,
    configs: Path | None = None,
    subfolder: str = "",
) -> Any:
    """A tokenizer that a single file lacks: of a folder beside it, among the configs, or from the hub.

    name, subfolder: on the hub.  needed: its files, for people.
    """
    places = [file.with_suffix("") / folder, file.parent / folder, *([configs / folder] if configs else [])]
    for place in places:
        if place.is_dir():
            return tokenizer_class.from_pretrained(place)
    try:
        return local_first(
            lambda local: tokenizer_class.from_pretrained(name, subfolder=subfolder, local_files_only=local)
        )
    except (OSError, ValueError) as error:
        raise Failure(
            f"{file.name} needs the tokenizer of {name}, which is not on this machine, and the Hugging Face hub cannot "
            "be reached.",
            f"Connect to the internet once, or put {needed} of it into {file.parent / folder}.",
            MODEL_FIELD,
        ) from error
