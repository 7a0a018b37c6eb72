"""Is there a model, and is it one that this version trains?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.check.problem import Problem
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings


def check_model(settings: TrainingSettings) -> Iterator[Problem]:
    source = settings.source_model
    name = source.pretrained_model_name_or_path
    if not name:
        yield Problem("pretrained_model_name_or_path", "No model is chosen.", "Type or choose one.")
    elif not Path(name).exists() and not is_hub_name(name):
        yield Problem(
            "pretrained_model_name_or_path",
            f'There is no model at "{name}".',
            "Give a diffusers folder, a .safetensors or .ckpt file, or a Hugging Face name such as owner/model.",
        )
    elif Path(name).is_dir() and not (Path(name) / "model_index.json").exists():
        yield Problem(
            "pretrained_model_name_or_path",
            f'"{name}" is a folder without a model_index.json, so not a diffusers model.',
            "Choose the folder that holds model_index.json, or a file.",
        )
    if source.vae and not Path(source.vae).exists() and not is_hub_name(source.vae):
        yield Problem("vae", f'There is no VAE at "{source.vae}".', "Correct the path, or empty the field.")
    for key, family in {
        "v2": "SD 2",
        "sdxl": "SDXL",
        "flux1_checkbox": "FLUX.1",
        "sd3_checkbox": "SD 3",
    }.items():
        if settings.kohya_extra.get(key) is True:
            yield Problem(
                "pretrained_model_name_or_path",
                f"The settings file is for {family} models ({key} is on), which this version does not train.",
                "Choose a Stable Diffusion 1 model and settings made for it.",
            )
