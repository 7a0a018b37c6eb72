"""Can the models be had that the settings name: files that hold weights, and models of the hub?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engine.check.problem import Problem
from engine.failure import Failure
from engine.models.file_kind import file_kind
from engine.models.header import NoModel, read_header
from engine.models.hub_reach import PATIENCE, TooSlow, is_cached, is_whole, refuse_unreachable
from engine.models.recognise import INDEX, recognise
from engine.settings.families import FamilyName
from engine.settings.option import Option
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings, training_options

ELSEWHERE = ("in_json", "dataset_config", "pretrained_model_name_or_path", "network_weights")
"""Files that are named for something else than their weights, or that checks of their own look at closer."""

ANYWHERE = ("vae",)
"""Read whatever the base model is; the parts that other options name are read beside a single file alone."""

NEEDED: Mapping[FamilyName, tuple[tuple[str, ...], ...]] = {
    "flux": (("clip_l", "flux1_clip_l"), ("t5xxl", "flux1_t5xxl"), ("flux_vae",)),
    "chroma": (("t5xxl", "flux1_t5xxl"), ("flux_vae",)),
    "lumina": (("lumina_gemma2",), ("lumina_ae",)),
}
"""What has to be named beside a file that holds the transformer alone: options of which one will do."""

VAE_FILES = ("vae/config.json", "config.json")
UTILITY_FILES = ("config.json", "model.onnx", INDEX)
"""Of which the models that utilities read have one."""


def check_sources(settings: TrainingSettings) -> Iterator[Problem]:
    source = settings.source_model
    values = {**settings.values(), "method": settings.method}
    beside_file = Path(source.pretrained_model_name_or_path).is_file()
    for item in training_options():
        is_read = item.acts and item.applies(values) and (beside_file or item.name in ANYWHERE)
        if is_read and item.widget == "path" and item.name not in ELSEWHERE and values[item.name]:
            yield from _weights(item, str(values[item.name]))
    if beside_file:
        yield from _needed(settings)
    name = source.pretrained_model_name_or_path
    if name and _is_of_hub(name) and not is_whole(name):
        yield from check_hub("pretrained_model_name_or_path", name, (INDEX,))
    if source.vae and _is_of_hub(source.vae) and not is_cached(source.vae, VAE_FILES):
        yield from check_hub("vae", source.vae, VAE_FILES)


def check_utility_source(item: Option, text: str) -> Iterator[Problem]:
    """The same for a utility's model, where the text names one of the hub."""
    name = "/".join(text.split("/")[:2])  # a folder of the model may stand behind it
    if item.widget == "path" and text.count("/") <= 2 and name and _is_of_hub(name) and not Path(text).exists():
        folder = text.removeprefix(name).strip("/")
        files = [f"{folder}/{file}".strip("/") for file in UTILITY_FILES]
        if not is_cached(name, files):
            yield from check_hub(item.name, name, files)


def check_hub(option: str, name: str, files: Sequence[str]) -> Iterator[Problem]:
    """Whether a model that is not on this machine can be fetched.  files: of which it has one at least."""
    try:
        refuse_unreachable(name, files, option)
    except Failure as failure:
        yield Problem(option, failure.what, failure.mend)
    except TooSlow:
        yield Problem(
            option,
            f"{name} is not on this machine, and Hugging Face did not answer within {PATIENCE:.0f} seconds whether it "
            "is available.",
            "The run will wait for it. Check again to see whether it answers now.",
            blocking=False,
        )


def _is_of_hub(name: str) -> bool:
    return is_hub_name(name) and not Path(name).exists()


def _weights(item: Option, text: str) -> Iterator[Problem]:
    file = Path(text)
    if file.is_file():
        try:
            if file_kind(file) == "safetensors":
                read_header(file)
        except NoModel as error:
            mend = error.mend or "Choose another file, or clear the field."
            yield Problem(item.name, f"{item.short_label}: {error}", mend)
    elif item.name not in ANYWHERE:
        yield Problem(
            item.name, f'{item.short_label}: there is no file "{text}".', "Correct the path, or clear the field."
        )


def _needed(settings: TrainingSettings) -> Iterator[Problem]:
    """The parts that a file lacks which holds the transformer alone."""
    try:
        found = recognise(settings.source_model.pretrained_model_name_or_path)
    except NoModel:
        return  # check_model() has the sentence
    if found is None or found.kind != "denoiser" or found.family is None:
        return
    values, labels = settings.values(), {item.name: item.short_label for item in training_options()}
    for options in NEEDED.get(found.family, ()):
        if not any(values[option] for option in options):
            yield Problem(
                options[0],
                f"The model's file contains only the transformer, and {labels[options[0]]} is empty.",
                "Choose the file for it.",
            )
