"""Is there a model, and is it one that this version trains?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.check.problem import Problem
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings

TURN_OFF = "My model is a Stable Diffusion 1: turn off "

OTHER_FAMILIES = {
    "v2": "Stable Diffusion 2",
    "v_parameterization": "velocity-predicting",
    "sdxl": "SDXL",
    "sdxl_checkbox": "SDXL",
    "sd3_checkbox": "Stable Diffusion 3",
    "flux1_checkbox": "FLUX.1",
    "lumina_checkbox": "Lumina Image 2.0",
    "hunyuan_image_checkbox": "HunyuanImage-2.1",
    "anima_checkbox": "Anima",
}
"""The options that say which family the model is of, each with the family's name."""


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
    values = settings.values()
    for option, family in OTHER_FAMILIES.items():
        if values[option]:
            yield Problem(
                "pretrained_model_name_or_path",
                f"The settings are for {family} models ({option} is on), which this version does not train.",
                "Choose a Stable Diffusion 1 model and settings made for it.",
                fix=f"{TURN_OFF}{option}",
            )
