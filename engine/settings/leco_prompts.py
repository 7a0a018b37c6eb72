"""The sets of prompts that LECO learns from: those of the form, or of a file as sd-scripts or LECO itself reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from engine.settings.errors import SettingsFileError
from engine.settings.text_files import TooLarge, small_text
from engine.settings.toml_files import parse_toml
from engine.settings.training import TrainingSettings

LARGEST = 2**19
"""Letters of a file."""

MOST = 10_000
"""Sets that a file may come to."""

SIDES = 64, 4096
"""Pixels; in between, multiples of 64."""


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """resolution: (width, height) in pixels.  multiplier: the LoRA's strength.  weight: of the loss.

    dynamic_resolution: sides are drawn between the half and the whole.  dynamic_crops: SDXL is told a part of a larger
    picture.
    """

    target: str
    positive: str
    unconditional: str = ""
    neutral: str = ""
    action: str = "erase"
    guidance_scale: float = 1.0
    resolution: tuple[int, int] = (512, 512)
    dynamic_resolution: bool = False
    batch_size: int = 1
    dynamic_crops: bool = False
    multiplier: float = 1.0
    weight: float = 1.0

    @property
    def prompts(self) -> tuple[str, str, str, str]:
        return self.target, self.positive, self.unconditional, self.neutral

    @property
    def direction(self) -> float:
        """From the unconditional prompt to the positive one, or away from it."""
        return self.guidance_scale if self.action == "enhance" else -self.guidance_scale

    def why_idle(self) -> str:
        """Why nothing is learned from it, as a sentence; empty where something is."""
        if not self.multiplier:
            return "The multiplier is 0, so the LoRA would not take part."
        if not self.weight:
            return "The weight is 0."
        if self.positive == self.unconditional:
            return f'The positive and the unconditional prompt are the same ("{self.positive}").'
        if not self.guidance_scale:
            return "The guidance scale is 0."
        return ""


def prompt_sets(settings: TrainingSettings) -> list[PromptSet]:
    """Those that the settings name.  Raises ValueError, a sentence."""
    s = settings.leco
    if s.prompts_file:
        try:
            return read_prompt_sets(Path(s.prompts_file))
        except ValueError as error:
            raise ValueError(f"{Path(s.prompts_file).name} was not read: {error}.") from None
    usual = PromptSet(
        target=s.leco_target, positive=s.leco_positive or s.leco_target, unconditional=s.leco_unconditional,
        neutral=s.leco_neutral, action=s.leco_action, guidance_scale=s.leco_guidance_scale,
        multiplier=s.leco_multiplier, resolution=settings.dataset.size(),
        batch_size=settings.optimizer.train_batch_size,
    )  # fmt: skip
    return list(_both_ways(usual)) if s.leco_action == "slide" else [usual]


def read_prompt_sets(file: Path) -> list[PromptSet]:
    """Raises ValueError with the reason, in words that follow "was not read:"."""
    try:
        text = small_text(file, LARGEST)
    except TooLarge:
        raise ValueError("it is too large") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ValueError("it does not exist" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None
    found = list(_of_yaml(text) if file.suffix.lower() in (".yaml", ".yml") else _of_toml(text, file.parent))
    if not found:
        raise ValueError("there is no set of prompts in it")
    return found


def _of_yaml(text: str) -> Iterator[PromptSet]:
    if "&" in text and "*" in text and any(token for token in _aliases(text)):
        raise ValueError("it refers from one place to another (YAML aliases), which prompt files do not")
    try:
        listed = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ValueError("it is not valid YAML; it may have an editing mistake") from None
    if not isinstance(listed, list):
        raise ValueError("it is no list of prompts, which LECO's YAML files are")
    yield from _limited(set_ for entry in listed for set_ in _of_table(entry, {}))


def _aliases(text: str) -> Iterator[bool]:
    try:
        yield from (True for token in yaml.scan(text) if isinstance(token, yaml.AliasToken))
    except yaml.YAMLError:
        return


def _of_toml(text: str, folder: Path) -> Iterator[PromptSet]:
    try:
        told = parse_toml(text, "it")
    except SettingsFileError as error:
        raise ValueError(str(error).removeprefix("it is ").removesuffix(".")) from None
    common = told if "prompts" in told else told.get("slider", told)
    if not isinstance(common, dict):
        raise ValueError("slider is not a table")
    listed = common.get("prompts", common.get("targets", [common]))
    if not isinstance(listed, list):
        raise ValueError("its prompts or targets are not a list of tables")
    neutrals: list[str | None] = [*_neutrals(common, folder)] or [None]
    yield from _limited(
        replace(set_, neutral=neutral) if neutral is not None else set_
        for entry in listed
        for neutral in (_neutrals(entry, folder) if isinstance(entry, dict) else []) or neutrals
        for set_ in _of_table(entry, common)
    )


def _limited(found: Iterator[PromptSet]) -> Iterator[PromptSet]:
    for number, set_ in enumerate(found):
        if number == MOST:
            raise ValueError(f"it has more than {MOST} sets of prompts")
        yield set_


def _neutrals(table: Mapping[str, Any], folder: Path) -> list[str]:
    """Of sliders, for each of which the same is learned."""
    listed = table.get("neutrals")
    found = [str(one) for one in listed] if isinstance(listed, list) else []
    for key in ("neutral_prompt_file", "prompt_file"):
        if isinstance(name := table.get(key), str):
            try:
                found += [line.strip() for line in small_text(folder / name, LARGEST).splitlines() if line.strip()]
            except (OSError, ValueError):
                raise ValueError(f'{key} "{name}" cannot be read') from None
    return found


def _of_table(entry: Any, common: Mapping[str, Any]) -> Iterator[PromptSet]:
    """A set of prompts, or the sets of a slider.  common: what the file says for all."""
    if not isinstance(entry, dict):
        raise ValueError("a set of prompts in it is not a table")
    said = {key: value for key, value in {**common, **entry}.items() if value is not None}
    is_slider = "target_class" in entry or ("target" not in entry and "target_class" in common)
    if "target" not in said and not is_slider:
        raise ValueError("a set of prompts in it has no target")
    values: dict[str, Any] = {}
    for field in fields(PromptSet):
        if field.name in said and field.name != "resolution":
            values[field.name] = _as(field.name, said[field.name])
    several = said.get("resolutions") if is_slider else None
    for resolution in several if isinstance(several, list) else [said.get("resolution", 512)]:
        values["resolution"] = _size(resolution)
        if is_slider:
            yield from _slider(said, values)
        else:
            values.setdefault("positive", values["target"])
            values.setdefault("neutral", values.get("unconditional", ""))
            yield PromptSet(**values)


def _slider(said: Mapping[str, Any], values: dict[str, Any]) -> Iterator[PromptSet]:
    positive, negative = str(said.get("positive", "")), str(said.get("negative", ""))
    if not positive.strip() and not negative.strip():
        raise ValueError("a slider in it has neither a positive nor a negative prompt")
    to, other = (positive, negative) if positive.strip() else (negative, "")
    own = {"target": str(said.get("target_class", "")), "positive": to, "unconditional": other}
    sets = _both_ways(PromptSet(**{**values, **own}))
    for set_ in sets:
        # Of a negative prompt alone, more strength leads away from it.
        yield set_ if positive.strip() else replace(set_, multiplier=-set_.multiplier)


def _both_ways(usual: PromptSet) -> Iterator[PromptSet]:
    """Towards the positive prompt at the multiplier, towards the unconditional one at its opposite."""
    yield replace(usual, action="enhance")
    yield replace(usual, action="erase", multiplier=-usual.multiplier)


def _as(name: str, value: Any) -> Any:
    """Raises ValueError where a value is of another kind than the set has."""
    if name in ("dynamic_resolution", "dynamic_crops"):
        if isinstance(value, bool):
            return value
    elif name == "batch_size":
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64:
            return value
    elif name in ("guidance_scale", "multiplier", "weight"):
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    elif name == "action":
        if value in ("erase", "enhance"):
            return value
    elif isinstance(value, str):
        return value
    raise ValueError(f"{name} cannot be {str(value)[:40]!r}")


def _size(value: Any) -> tuple[int, int]:
    """A side, or [height, width] as sd-scripts has them; as (width, height)."""
    least, most = SIDES
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(
        isinstance(side, int) and not isinstance(side, bool) and least <= side <= most and side % 8 == 0
        for side in sides
    ):
        raise ValueError(f"resolution cannot be {str(value)[:40]!r}: sides are multiples of 8 from {least} to {most}")
    height, width = sides
    return width, height
