"""How many weights a model's parts have, from its headers alone; no torch: the checks use it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from engine.models.header import SAFETENSORS, NoModel, read_header
from engine.models.recognise import MOVED
from engine.settings.families import FamilyName
from engine.settings.paths import is_hub_name, typed_path


@dataclass(frozen=True)
class Sizes:
    """Weights of the UNet or transformer, of each text encoder in the family's order, and of the VAE."""

    denoiser: int
    text_encoders: tuple[int, ...]
    vae: int


_CLIP_L, _CLIP_G, _T5, _VAE = 123_060_480, 694_659_840, 4_762_310_656, 83_653_863

USUAL: Mapping[FamilyName, Sizes] = {
    "sd1": Sizes(859_520_964, (_CLIP_L,), _VAE),
    "sd2": Sizes(865_910_724, (340_387_840,), _VAE),
    "sdxl": Sizes(2_567_463_684, (_CLIP_L, _CLIP_G), _VAE),
    "sdxl-refiner": Sizes(2_259_526_660, (_CLIP_G,), _VAE),
    "sd3": Sizes(2_028_328_000, (_CLIP_L, _CLIP_G, _T5), _VAE),
    "flux": Sizes(11_901_408_320, (_CLIP_L, _T5), _VAE),
    "chroma": Sizes(8_900_000_000, (_T5,), _VAE),
    "lumina": Sizes(2_610_000_000, (2_614_341_888,), _VAE),
}
"""Sizes of each family's main model: for models that are not on this machine yet, or cannot be examined."""

_EDITIONS: tuple[tuple[FamilyName, re.Pattern[str], str, int], ...] = (
    ("sd3", re.compile(r"3[._-]?5.*large", re.IGNORECASE), "3.5-large", 8_056_627_520),
    ("sd3", re.compile(r"3[._-]?5.*medium", re.IGNORECASE), "3.5-medium", 2_243_171_520),
)
"""A family's other models: what their names contain, and the weights of their denoisers."""

_TEXT = ("cond_stage_model.", "conditioner.embedders.", "text_encoders.")
_ORDER = {"clip_l": "1", "clip_g": "2", "t5xxl": "3"}
_VAES = ("first_stage_model.", "vae.")


def edition_of(source: str, family: FamilyName) -> str:
    """Which of a family's published models has this hub name; "" for the main one."""
    name = source.rpartition("/")[2] if is_hub_name(source) else ""
    return next((edition for of, told, edition, _ in _EDITIONS if of == family and told.search(name)), "")


def sizes_of(source: str, family: FamilyName) -> Sizes | None:
    """Sizes of the model at a path or hub name; what its files do not say is taken from the published one.

    None for an unknown family.
    """
    usual = USUAL.get(family)
    if usual is None:
        return None
    try:
        counted = _counted(source)
    except (NoModel, OSError):
        counted = Counter()
    edition = edition_of(source, family)
    denoiser = next((weights for *_, name, weights in _EDITIONS if name == edition), usual.denoiser)
    encoders = tuple(counted[part] for part in sorted(counted) if part.startswith("text_encoder"))
    return Sizes(counted["denoiser"] or denoiser, encoders or usual.text_encoders, counted["vae"] or usual.vae)


def _counted(source: str) -> Counter[str]:
    path = typed_path(source)
    if path.is_file():
        return _of_file(path) if path.suffix.lower() in SAFETENSORS else Counter()
    if path.is_dir():
        return _of_folder(path)
    cached = _downloaded(source)
    return _of_folder(cached) if cached else Counter()


def _downloaded(name: str) -> Path | None:
    if not is_hub_name(name):
        return None
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(MOVED.get(name, name), "model_index.json")
    return Path(index).parent if isinstance(index, str) else None


def _of_file(file: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, shape in read_header(file).shapes.items():
        if name.startswith(_VAES):
            part = "vae"
        elif name.startswith(_TEXT):
            text = next(prefix for prefix in _TEXT if name.startswith(prefix))
            which = name.removeprefix(text).partition(".")[0]
            part = f"text_encoder_{_ORDER.get(which, which)}" if text != _TEXT[0] else "text_encoder"
        else:
            part = "denoiser"
        counted[part] += prod(shape)
    return counted


def _of_folder(folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for part in folder.iterdir():
        if part.name in ("unet", "transformer", "vae") or part.name.startswith("text_encoder"):
            name = "denoiser" if part.name in ("unet", "transformer") else part.name
            counted[name] = sum(prod(shape) for file in _weights(part) for shape in read_header(file).shapes.values())
    return counted


def _weights(part: Path) -> list[Path]:
    """A part's files; if they exist in several number formats, those of one format."""
    files = sorted(part.glob("*.safetensors"))
    plain = [file for file in files if not {"fp16", "bf16", "non_ema"} & set(file.name.split("."))]
    return plain or files
