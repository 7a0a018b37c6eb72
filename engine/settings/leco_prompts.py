"""The sets of prompts that LECO learns from: those of the form, or of a file as sd-scripts or LECO itself reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from engine.settings.errors import SettingsFileError
from engine.settings.text_files import prompts_text, small_text
from engine.settings.toml_files import parse_toml
from engine.settings.training import TrainingSettings

LARGEST = 2**19
"""Letters of a file."""

LARGEST_BATCH, LARGEST_NUMBER = 64, 1000
"""Beyond any that makes sense."""

MOST_BRACKETS = 2000
"""Of a YAML file, each of which its reader goes through again and again."""

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
    if s.leco_action != "slide":
        return [usual]
    if not (s.leco_positive.strip() or s.leco_unconditional.strip()):
        raise ValueError("A slider needs something to slide to.")
    return list(_both_ways(replace(usual, positive=s.leco_positive)))


def read_prompt_sets(file: Path) -> list[PromptSet]:
    """Raises ValueError with the reason, in words that follow "was not read:"."""
    text = prompts_text(file, LARGEST)
    found = list(_of_yaml(text) if file.suffix.lower() in (".yaml", ".yml") else _of_toml(text, file.parent))
    if not found:
        raise ValueError("there is no set of prompts in it")
    return found


def _of_yaml(text: str) -> Iterator[PromptSet]:
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise ValueError("it is not valid YAML; it may have an editing mistake")
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
    yield from _limited(set_ for entry in listed for set_ in _of_entry(entry, common, folder))


def _of_entry(entry: Any, common: Mapping[str, Any], folder: Path) -> Iterator[PromptSet]:
    """Of a slider with several neutral prompts, each set once for each of them: the entry's own, or else the file's."""
    if not (isinstance(entry, dict) and _is_slider(entry, common)):
        yield from _of_table(entry, common)
        return
    neutrals = _neutrals(entry, folder, at_most=1)
    if not neutrals and "neutral" not in entry:
        neutrals = _neutrals(common, folder)
    for set_ in _of_table(entry, common):
        yield from (replace(set_, neutral=neutral) for neutral in neutrals or [set_.neutral])


def _limited(found: Iterator[PromptSet]) -> Iterator[PromptSet]:
    for number, set_ in enumerate(found):
        if number == MOST:
            raise ValueError(f"it has more than {MOST} sets of prompts")
        yield set_


def _neutrals(table: Mapping[str, Any], folder: Path, at_most: int = 3) -> list[str]:
    """Of the keys that name them; of an entry the first alone counts."""
    found: list[list[str]] = []
    listed = table.get("neutrals")
    if isinstance(listed, list):
        found.append([_as("neutral", str(one)) for one in listed])
    for key in ("neutral_prompt_file", "prompt_file"):
        if isinstance(name := table.get(key), str):
            try:
                lines = small_text(folder / name, LARGEST).splitlines()
            except (OSError, ValueError):
                raise ValueError(f'{key} "{name}" cannot be read') from None
            found.append([line.strip() for line in lines if line.strip()])
    return [neutral for some in found[:at_most] for neutral in some]


def _is_slider(entry: Mapping[str, Any], common: Mapping[str, Any]) -> bool:
    return "target_class" in entry or ("target" not in entry and "target_class" in common)


def _of_table(entry: Any, common: Mapping[str, Any]) -> Iterator[PromptSet]:
    """A set of prompts, or the sets of a slider.  common: what the file says for all."""
    if not isinstance(entry, dict):
        raise ValueError("a set of prompts in it is not a table")
    said = {key: value for key, value in {**common, **entry}.items() if value is not None}
    is_slider = _is_slider(entry, common)
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
    positive, negative = (_as("positive", said.get(key) or "") for key in ("positive", "negative"))
    if not positive.strip() and not negative.strip():
        raise ValueError("a slider in it has neither a positive nor a negative prompt")
    own = {"target": _as("target", said.get("target_class") or ""), "positive": positive, "unconditional": negative}
    yield from _both_ways(PromptSet(**{**values, **own}))


def _both_ways(usual: PromptSet) -> Iterator[PromptSet]:
    """Towards the positive prompt at the multiplier, towards the unconditional one at its opposite.

    Of two prompts each way is there twice, so that pictures begin as often away from the one as from the other.
    """
    positive, negative = usual.positive.strip(), usual.unconditional.strip()
    for sign, towards, away in ((1, "enhance", "erase"), (-1, "erase", "enhance")):
        to = replace(usual, multiplier=sign * usual.multiplier)
        if positive:
            yield replace(to, action=towards)
        if negative:
            turned = replace(to, positive=usual.unconditional, unconditional=usual.positive if positive else "")
            yield replace(turned, action=away)


def _as(name: str, value: Any) -> Any:
    """Raises ValueError where a value is of another kind than the set has."""
    if name in ("dynamic_resolution", "dynamic_crops"):
        if isinstance(value, bool):
            return value
    elif name == "batch_size":
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_BATCH:
            return value
    elif name in ("guidance_scale", "multiplier", "weight"):
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER:
            return float(value)
    elif name == "action":
        if value in ("erase", "enhance"):
            return value
    elif isinstance(value, str) and _is_whole(value):
        return value
    raise ValueError(f"{name} cannot be {_shown(value)}")


def _is_whole(text: str) -> bool:
    """No half of a character, which no tokenizer takes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _shown(value: Any) -> str:
    try:
        return repr(str(value)[:40].encode("utf-8", "replace").decode())
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of so many digits"


def _size(value: Any) -> tuple[int, int]:
    """A side, or [height, width] as sd-scripts has them; as (width, height)."""
    least, most = SIDES
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(
        isinstance(side, int) and not isinstance(side, bool) and least <= side <= most and side % 8 == 0
        for side in sides
    ):
        raise ValueError(f"resolution cannot be {_shown(value)}: sides are multiples of 8 from {least} to {most}")
    height, width = sides
    return width, height
