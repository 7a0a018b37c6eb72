"""Presets: recipes for training, ours and the user's own, as kohya_ss's JSON of what differs from the defaults.

What applying one does, always: the preset's values, and the defaults for every option that it does not
name, except for what is the user's own (see is_users_own), which stays as it is unless the preset names it.
So a preset brings the same recipe whatever was set before, to the user's own model, pictures and machine.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from engine.disk import why_not, write_text_whole
from engine.settings.errors import SettingsFileError
from engine.settings.families import SWITCHES
from engine.settings.files import read_settings
from engine.settings.kohya_json import RETIRED, Loaded, to_kohya
from engine.settings.option import Option
from engine.settings.secrets import hidden
from engine.settings.training import Method, TrainingSettings, training_options

OURS = Path(__file__).parents[2] / "presets"
"""The presets that come with the program; a folder for each method."""

DESCRIPTION = "darkroom_description"
"""The key under which a preset says in a sentence when to use it."""

USERS_OWN_SECTIONS = (
    "Source Model", "Folders", "Parameters/Metadata", "Parameters/Accelerate launch",
    "Parameters/Advanced/Logging", "Parameters/HuggingFace",
)  # fmt: skip
USERS_OWN_WIDGETS = ("path", "file", "folder", "secret")
USERS_OWN = (
    "sample_prompts", "caption_extension", "token_string", "init_word", "negative_init_word",
    "leco_target", "leco_positive", "leco_unconditional", "leco_neutral",
)  # fmt: skip

LONGEST_NAME = 80
_RESERVED_BY_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class PresetError(ValueError):
    """Something cannot be done with a preset; the message is one sentence for people."""


class PresetExists(PresetError):
    """There is a preset of this name, and nobody said that it may be replaced."""


@dataclass(frozen=True)
class Preset:
    """A preset by its file; its name is the file's.  ours: it came with the program and cannot be changed."""

    file: Path
    ours: bool = False

    @property
    def name(self) -> str:
        return self.file.stem


@dataclass(frozen=True)
class Recipe:
    """What a preset says.

    settings: the defaults with the preset's values over them; of what it does not name, what is usual with the method
    counts.  report: what there is to say about its values.
    named: the options that it gives a value, be it their default.
    """

    settings: TrainingSettings
    description: str = ""
    report: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()

    def by(self, method: str) -> Recipe:
        """The same for a method: what the recipe does not name is what is usual with it."""
        said = self.settings.values()
        usual = TrainingSettings().for_method(cast(Method, method))
        settings = usual.with_values({name: said[name] for name in self.named})
        return replace(self, settings=settings.model_copy(update={"kohya_extra": self.settings.kohya_extra}))

    def applied_to(self, current: TrainingSettings) -> TrainingSettings:
        """The recipe for everything but what is the user's own; see the top of this file."""
        said = self.by(current.method).settings.values()
        # A model is of one family: a preset that names its switch turns the others off.
        named = self.named | set(SWITCHES) if set(SWITCHES) & set(self.named) else self.named
        values = {
            item.name: said[item.name] for item in training_options() if not is_users_own(item) or item.name in named
        }
        applied = current.with_values(values)
        return applied.model_copy(update={"kohya_extra": applied.kohya_extra | self.settings.kohya_extra})


def is_users_own(item: Option) -> bool:
    """Whether an option belongs to the user's model, pictures, files and machine rather than to a recipe."""
    return item.section in USERS_OWN_SECTIONS or item.widget in USERS_OWN_WIDGETS or item.name in USERS_OWN


class Presets:
    """The presets of a method: ours, which are only read, and those in the user's own folder."""

    def __init__(self, own: Path, ours: Path = OURS, method: str = "lora") -> None:
        self._own, self._ours, self._method = own / method, ours / method, method

    def all(self) -> list[Preset]:
        """Ours, then the user's own, each by name."""
        return [*_presets_in(self._ours, ours=True), *_presets_in(self._own, ours=False)]

    def find(self, name: str, ours: bool = False) -> Preset:
        """Raises PresetError where there is none of this name."""
        found = next((p for p in self.all() if p.ours == ours and _same(p.name, name)), None)
        if found is None:
            raise PresetError(f"The preset “{name}” no longer exists.")
        return found

    def load(self, preset: Preset) -> Recipe:
        """Raises PresetError where the file is gone or broken."""
        try:
            return _recipe(read_settings(preset.file))
        except SettingsFileError as error:
            raise PresetError(f"The preset “{preset.name}” cannot be read. {error}") from None

    def save(self, name: str, settings: TrainingSettings, description: str = "", replace: bool = False) -> Preset:
        """Keep the settings' recipe, without what is the user's own.

        Raises PresetError for a name that no file can have, and PresetExists unless an older one may be replaced.
        """
        file = self._file(name)
        if not replace:
            self._refuse_existing(file)
        return self._write(file, settings, description)

    def rename(self, preset: Preset, name: str) -> Preset:
        """Raises PresetError for one of ours, for a name that no file can have, and where the name is taken."""
        self._refuse_ours(preset, "renamed")
        file = self._file(name)
        if not _same(file.stem, preset.name):  # another case of the same name is no other preset
            self._refuse_existing(file)
        try:
            preset.file.rename(file)
        except OSError as error:
            raise PresetError(f"“{preset.name}” cannot be renamed: {error.strerror}.") from None
        return Preset(file)

    def delete(self, preset: Preset) -> None:
        """Raises PresetError for one of ours."""
        self._refuse_ours(preset, "deleted")
        try:
            preset.file.unlink(missing_ok=True)
        except OSError as error:
            raise PresetError(f"“{preset.name}” cannot be deleted: {error.strerror}.") from None

    def import_file(self, path: Path) -> tuple[Preset, list[str]]:
        """Keep the recipe of a settings file or preset of anybody's under the file's name; also what there is to say.

        What is its giver's own (paths, names, prompts, machine) is left out.  Raises PresetError.
        """
        try:
            loaded = read_settings(path)
        except SettingsFileError as error:
            raise PresetError(str(error)) from None
        recipe = _recipe(loaded).by(self._method)
        file = self._file(path.stem)
        self._refuse_existing(file)
        left_out = [
            item.short_label
            for item in changed(recipe.settings)
            if is_users_own(item) and item.value_in(recipe.settings) != ""
        ]
        said = list(recipe.report)
        if left_out:
            said.append(f"Left out of the preset, because these are personal settings: {', '.join(left_out)}.")
        return self._write(file, recipe.settings, recipe.description), said

    def _write(self, file: Path, settings: TrainingSettings, description: str) -> Preset:
        try:
            write_text_whole(file, json.dumps(as_preset(settings, description), indent=2, ensure_ascii=False) + "\n")
        except (OSError, ValueError) as error:
            raise PresetError(f"Cannot write {file}: {why_not(error)}.") from None
        return Preset(file)

    def _file(self, name: str) -> Path:
        """Where a preset of this name lies: always directly in the user's own folder."""
        name = name.strip()
        if not name:
            raise PresetError("Enter a name for the preset.")
        bad = re.search(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]', name)
        if bad or name[0] == "." or name[-1] == "." or _RESERVED_BY_WINDOWS.fullmatch(name):
            raise PresetError(f"“{name}” cannot be used as a file name. Use letters, digits, spaces and hyphens.")
        if len(name.encode()) > LONGEST_NAME:
            raise PresetError(f"The name is too long; use at most {LONGEST_NAME} characters.")
        return self._own / f"{name}.json"

    def _refuse_existing(self, file: Path) -> None:
        if any(_same(preset.name, file.stem) for preset in _presets_in(self._own, ours=False)):
            raise PresetExists(f"You already have a preset “{file.stem}”.")

    def _refuse_ours(self, preset: Preset, done: str) -> None:
        if preset.ours or preset.file.parent != self._own:
            raise PresetError(
                f"“{preset.name}” is built into Darkroom and cannot be {done}. Save it under another name."
            )


def changed(settings: TrainingSettings) -> list[Option]:
    """The options that have another value than is usual with the method."""
    usual = TrainingSettings().for_method(settings.method)
    return [item for item in training_options() if item.value_in(settings) != item.value_in(usual)]


def as_preset(settings: TrainingSettings, description: str = "") -> dict[str, Any]:
    """The settings' recipe, without secrets: kohya's keys of what differs from the defaults, and keys that no option
    stands for.
    """
    settings, _ = settings.parted_from_secrets()
    written = to_kohya(settings)
    known = {item.kohya.key for item in training_options()}
    recipe = {item.kohya.key for item in changed(settings) if not is_users_own(item)}
    kept = {key for key in settings.kohya_extra if key not in known and key not in RETIRED}
    sentence = {DESCRIPTION: hidden(description.strip())} if description.strip() else {}
    return sentence | {key: value for key, value in written.items() if key in recipe | kept}


def _recipe(loaded: Loaded) -> Recipe:
    """The description is taken out of the keys that no option stands for, where the file's reader put it."""
    extra = dict(loaded.settings.kohya_extra)
    description = extra.pop(DESCRIPTION, "")
    settings = loaded.settings.model_copy(update={"kohya_extra": extra})
    sentence = description if isinstance(description, str) else ""
    return Recipe(settings, sentence, tuple(loaded.report()), loaded.named)


def _presets_in(folder: Path, ours: bool) -> list[Preset]:
    """None where there is no such folder, or it cannot be looked into."""
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() == ".json" and path.name[0] != "."]
    except OSError:
        return []
    return [Preset(file, ours) for file in sorted(files, key=lambda path: path.name.casefold())]


def _same(one: str, other: str) -> bool:
    """Whether two names are one file on a disk that does not tell capitals from small letters."""
    return one.casefold() == other.casefold()
