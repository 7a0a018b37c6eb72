"""Gets a model from where it lies: a diffusers folder, a single file, or the Hugging Face hub."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from engine.failure import Failure

SINGLE_FILE_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth")
SD1_CONFIGS = Path(__file__).parent / "configs" / "sd1"
"""What a single file of SD 1 lacks: the configuration of its parts."""

CLIP = "openai/clip-vit-large-patch14"

MODEL_FIELD = "pretrained_model_name_or_path"

MOVED = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
"""Models that stand under another name on the hub since the presets of kohya's users were written."""


def load_pipeline(pipeline_class: Any, source: str, dtype: torch.dtype, configs: Path) -> Any:
    """A diffusers pipeline from a folder, a single file in the original layout, or a hub name.

    configs: the folder with the configuration of a single file's parts.
    Raises Failure with a sentence for people.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(pipeline_class, path, dtype)
    if path.is_file():
        return _from_single_file(pipeline_class, path, dtype, configs)
    if path.suffix.lower() in SINGLE_FILE_ENDINGS or path.is_absolute() or source.count("/") != 1:
        raise Failure(
            f"There is no model at {source!r}.", "Give a folder, a file, or a Hugging Face name.", MODEL_FIELD
        )
    return _from_hub(pipeline_class, MOVED.get(source, source), dtype)


def load_vae(vae_class: Any, source: str, dtype: torch.dtype) -> Any:
    """A VAE from a file, a folder (its own or a whole model's), or a hub name.  Raises Failure."""
    path = Path(source).expanduser()
    try:
        if path.is_file():
            _refuse_unsafe(path, "vae")
            return vae_class.from_single_file(str(path), config=str(SD1_CONFIGS / "vae"), torch_dtype=dtype)
        if path.is_dir():
            inner = path / "vae" if (path / "vae").is_dir() else path
            return vae_class.from_pretrained(inner, torch_dtype=dtype)
        return vae_class.from_pretrained(source, torch_dtype=dtype)
    except Failure:
        raise
    except Exception as error:
        raise Failure(f"The VAE {source!r} cannot be loaded: {_first_line(error)}.", option="vae") from error


def _from_folder(pipeline_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    index = folder / "model_index.json"
    if not index.exists():
        raise Failure(
            f"{folder} is not a diffusers model: it has no model_index.json.",
            "Choose the folder that holds model_index.json, or a single file inside this one.",
            MODEL_FIELD,
        )
    kind = _class_name(index)
    if kind != pipeline_class.__name__:
        raise Failure(
            f"{folder} holds a {kind.removesuffix('Pipeline')} model, not a Stable Diffusion 1 model.",
            "This version trains Stable Diffusion 1 models; choose one.",
            MODEL_FIELD,
        )
    try:
        return pipeline_class.from_pretrained(folder, torch_dtype=dtype, local_files_only=True, **_WITHOUT_CHECKER)
    except Exception as error:
        raise Failure(f"{folder} cannot be loaded: {_first_line(error)}.", option=MODEL_FIELD) from error


def _class_name(index: Path) -> str:
    """The pipeline's class that a model_index.json names."""
    try:
        return str(json.loads(index.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{index} is damaged: it names no pipeline.", "Download the model again.", MODEL_FIELD) from error


def _from_single_file(pipeline_class: Any, file: Path, dtype: torch.dtype, configs: Path) -> Any:
    _refuse_unsafe(file)
    try:
        return pipeline_class.from_single_file(
            str(file),
            config=str(configs),
            torch_dtype=dtype,
            tokenizer=_tokenizer(file, configs),
            safety_checker=None,
            feature_extractor=None,
        )
    except Failure:
        raise
    except Exception as error:
        raise Failure(
            f"{file.name} cannot be loaded as a Stable Diffusion 1 model: {_first_line(error)}.",
            "Check that the file is a whole Stable Diffusion 1 model and was downloaded completely.",
            MODEL_FIELD,
        ) from error


def _from_hub(pipeline_class: Any, name: str, dtype: torch.dtype) -> Any:
    def load(local_files_only: bool) -> Any:
        return pipeline_class.from_pretrained(
            name, torch_dtype=dtype, local_files_only=local_files_only, **_WITHOUT_CHECKER
        )

    try:
        return _local_first(load)
    except GatedRepoError as error:
        raise Failure(
            f"{name} asks its users to accept a licence first.",
            f"Accept it on the model's page of the Hugging Face hub, then set HF_TOKEN to your token. ({error})",
            MODEL_FIELD,
        ) from error
    except RepositoryNotFoundError as error:
        raise Failure(
            f"The Hugging Face hub has no model {name!r}, or it is private.", "Check the name.", MODEL_FIELD
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise Failure(
            f"{name} is not on this machine, and the Hugging Face hub cannot be reached.",
            "Connect to the internet for the first download, or download the model elsewhere and give its "
            "folder or .safetensors file here.",
            MODEL_FIELD,
        ) from error


def _local_first(load: Callable[[bool], Any]) -> Any:
    """What was downloaded before, without asking the hub: at once, and without a network too."""
    try:
        return load(True)
    except OSError:
        return load(False)


_WITHOUT_CHECKER: dict[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}


def _tokenizer(file: Path, configs: Path) -> Any:
    """The tokenizer of a single file: a folder beside it, one among the configs, or CLIP's from the hub."""
    from transformers import CLIPTokenizer

    for folder in (file.with_suffix("") / "tokenizer", file.parent / "tokenizer", configs / "tokenizer"):
        if folder.is_dir():
            return CLIPTokenizer.from_pretrained(folder)
    try:
        return _local_first(lambda local: CLIPTokenizer.from_pretrained(CLIP, local_files_only=local))
    except OSError as error:
        raise Failure(
            f"{file.name} needs CLIP's tokenizer, which is not on this machine, and the Hugging Face hub cannot be "
            "reached.",
            f"Connect to the internet once, or put vocab.json and merges.txt of {CLIP} into "
            f"{file.parent / 'tokenizer'}.",
            MODEL_FIELD,
        ) from error


def _refuse_unsafe(file: Path, option: str = MODEL_FIELD) -> None:
    """Refuse web pages, and pickles that hold code: they are read through torch's weights-only loader alone."""
    with file.open("rb") as stream:
        if stream.read(64).lstrip()[:1] == b"<":
            raise Failure(
                f"{file.name} is a web page, not a model: the download brought the site's words instead of the file.",
                "Download it again; some sites want you to log in first.",
                option,
            )
    if file.suffix.lower() == ".safetensors":
        return
    try:
        # Files from before torch 1.6 are no archives and cannot be mapped into memory.
        torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise Failure(
            f"{file.name} holds more than weights: loading it could run code, so it was not loaded.",
            "Get the model as a .safetensors file.",
            option,
        ) from error
    except Exception as error:
        raise Failure(f"{file.name} is not a readable checkpoint: {_first_line(error)}.", option=option) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".")
