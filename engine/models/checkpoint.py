"""Gets a model's components from where they are: a diffusers folder, a single file, or the Hugging Face hub."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import diffusers
import torch
from huggingface_hub import try_to_load_from_cache

from engine.failure import Failure
from engine.models import hub
from engine.models.extra_channels import Depth, ExtraChannels, Masked
from engine.models.hub_reach import NOT_LOADED
from engine.models.layouts import ema
from engine.models.layouts.unet import PREFIX as UNET
from engine.models.makers import MODEL_FIELD
from engine.models.parts import Parts
from engine.models.recognise import LARGEST_LIST, MOVED
from engine.models.single_file import SINGLE_FILE_ENDINGS, Weights, first_line
from engine.models.skeleton import components_of, is_without_weights
from engine.models.vae_files import vae_of
from engine.reading import small_json
from engine.settings.source_model import SourceModel
from engine.settings.training import TrainingSettings

FromFile = Callable[[Weights, torch.dtype], dict[str, Any]]


def components(kinds: tuple[str, ...], model: SourceModel, dtype: torch.dtype, from_file: FromFile) -> dict[str, Any]:
    """A model's components by diffusers' names; "scheduler" is its configuration, with its class under "_class_name",
    and "pipeline" that of the whole model.

    kinds: names of diffusers' pipeline classes that it may be, the usual one first.
    from_file: makes the components from a single file in the original layout.
    Raises Failure with a sentence for people.
    """
    source = model.pretrained_model_name_or_path
    path = Path(source).expanduser()
    if path.is_file():
        return from_file(Weights(path, MODEL_FIELD, averaged=model.start_from_ema), dtype)
    if model.start_from_ema:
        raise Failure(ema.none_in(source), ema.MEND, ema.OPTION)
    if is_without_weights():
        return _skeleton(kinds, source, dtype)
    if path.is_dir():
        pipeline = _from_folder(kinds, path, dtype)
    elif path.suffix.lower() in SINGLE_FILE_ENDINGS or path.is_absolute() or source.count("/") != 1:
        raise Failure(
            f"There is no model at {source!r}.", "Give a folder, a file, or a Hugging Face model name.", MODEL_FIELD
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
    """The components of a folder or of a hub model, of which only the config files are downloaded."""
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
    """The components of a flow model, with as many text encoders as it has.  Raises Failure."""
    found = components((pipeline_class.__name__,), settings.source_model, dtype, from_file)
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
    """The base model, frozen; what is trained is attached to it, or chosen from it, later."""
    for module in parts.modules():
        module.requires_grad_(False)
    return parts


def unet_channels(weights: Weights) -> int:
    """Input channels of a single file's UNet; 4 for a file without one, which is reported elsewhere."""
    name = f"{UNET}input_blocks.0.0.weight"
    return weights.shape(name)[1] if name in weights else 4


def kind_of(
    unet: Any, kinds: Mapping[int, str], found: dict[str, Any], settings: TrainingSettings
) -> tuple[Any, ExtraChannels | None]:
    """Which of a family's pipelines a UNet belongs to, and its extra channels.

    kinds: diffusers' pipelines by the UNet's input channels.  found: the model's components.  Raises Failure.
    """
    channels = unet.config.in_channels
    if channels not in kinds:
        raise Failure(
            f"This model's UNet has {channels} input channels, which no known model has.",
            "Choose another model.",
            MODEL_FIELD,
        )
    if settings.objective.train_inpainting and channels != Masked.channels + 4:
        raise Failure(
            f"Train inpainting model is on, but this model's UNet has {channels} input channels, not the 9 of an "
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
                "This model's UNet expects a depth map, but the model has no depth estimator.",
                "Choose the folder saved from a StableDiffusionDepth2ImgPipeline.",
                MODEL_FIELD,
            )
        extra_channels = Depth(found["depth_estimator"])
    return getattr(diffusers, kinds[channels]), extra_channels


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
    """A folder's modules.  A file is in memory while it is read: so the largest comes first, while it is alone."""
    index = small_json(folder / hub.INDEX, LARGEST_LIST)
    wanted = [name for name in _asked(kind) if name not in NOT_LOADED]
    parts = [folder / name for name in wanted if (folder / name / "config.json").is_file()]
    modules = {}
    for part in sorted(parts, key=lambda part: -sum(file.stat().st_size for file in part.iterdir())):
        library, module_class = index.get(part.name) or (None, "")
        if library in ("diffusers", "transformers"):  # anything else that a list might name is not imported
            loader = getattr(importlib.import_module(library), module_class)
            modules[part.name] = loader.from_pretrained(part, torch_dtype=dtype, local_files_only=True).eval()
    return modules


def _class_name(index: Path) -> str:
    """The pipeline's class that a model_index.json names."""
    try:
        return str(small_json(index, LARGEST_LIST)["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(
            f"{index} is damaged: it does not name a pipeline.", "Download the model again.", MODEL_FIELD
        ) from error


def _from_hub(kinds: tuple[str, ...], name: str, dtype: torch.dtype) -> Any:
    """What was downloaded before, without asking the hub, so at once and offline; otherwise what the hub has now."""
    index = try_to_load_from_cache(name, hub.INDEX)
    if isinstance(index, str):
        with suppress(Failure):  # a part is still missing, because the download was interrupted
            return _from_folder(kinds, Path(index).parent, dtype)
    return _from_folder(kinds, hub.fetched(name, _parts_of(kinds), MODEL_FIELD), dtype)


def _without_unused(kind: Any) -> dict[str, Any]:
    asked = _asked(kind)
    return {name: None for name in NOT_LOADED if name in asked} | (
        {"requires_safety_checker": False} if "requires_safety_checker" in asked else {}
    )


def _parts_of(kinds: tuple[str, ...]) -> dict[str, list[str]]:
    """What is read of each component, by diffusers' name."""
    return {name: [part for part in _asked(getattr(diffusers, name)) if part not in NOT_LOADED] for name in kinds}


def _asked(kind: Any) -> list[str]:
    """The parts, and other constructor arguments of a pipeline."""
    return list(inspect.signature(kind).parameters)
