"""The names of the files that a run writes, which are kohya's."""

from __future__ import annotations

import os
import re
import unicodedata
from itertools import count
from pathlib import Path
from typing import Literal

from engine.data.steps import StepPlan
from engine.runs.saved_state import PROGRESS
from engine.settings.folders import Folders
from engine.settings.source_model import lora_form
from engine.settings.textual_inversion import IN_LORA, NEGATIVE
from engine.settings.training import TrainingSettings

_EPOCH_DIGITS, _STEP_DIGITS = 6, 8

SavedAs = Literal["safetensors", "ckpt", "pt", "diffusers", "diffusers_safetensors"]
"""A file, or a folder for diffusers with its weights in torch's or in safetensors' format."""

MODEL_INDEX = "model_index.json"
"""What every diffusers folder holds."""

_ENDINGS: dict[SavedAs, str] = {
    "safetensors": ".safetensors", "ckpt": ".ckpt", "pt": ".pt", "diffusers": "", "diffusers_safetensors": "",
}  # fmt: skip


def saved_as(settings: TrainingSettings) -> SavedAs:
    """The format of the result: a LoRA is always a file, as in kohya_ss, and of new words other programs read .pt; of
    hypernetworks they read nothing else.
    """
    asked = settings.source_model.save_model_as
    if settings.method == "hypernetwork":
        return "pt"
    if not settings.trains_whole_model:
        form = lora_form(asked)
        return "pt" if settings.method == "textual_inversion" and form == "ckpt" else form
    if asked != "same as source model":
        return asked
    source = Path(settings.source_model.pretrained_model_name_or_path).suffix.lower()
    if source in (".safetensors", ".sft"):
        return "safetensors"
    return "ckpt" if source in (".ckpt", ".pt", ".pth") else "diffusers_safetensors"


AVERAGED = "-ema"
"""NAME-ema: the averaged weights, saved beside the trained ones."""

SAMPLES = "sample"
"""The folder for sample pictures, next to the results."""


def is_folder(settings: TrainingSettings) -> bool:
    """Whether the result is a folder for diffusers."""
    return not _ENDINGS[saved_as(settings)]


def saved_names(settings: TrainingSettings, stem: str) -> list[str]:
    """The names of everything written under a stem, the model's own first: see beside_names()."""
    ending, weights = _ENDINGS[saved_as(settings)], ("", *[AVERAGED] * settings.averaging.saves_both())
    parts = [ending, *beside_endings(settings, ending)]
    return [f"{stem}{which}{part}" for which in weights for part in parts]


def beside_endings(settings: TrainingSettings, ending: str) -> list[str]:
    """beside_names() with their extensions.  ending: of the file itself."""
    own = word_ending(ending) if settings.new_words() else ending
    return [f"{part}{own}" for part in beside_names(settings)]


def word_ending(ending: str) -> str:
    """Of a new word's own file, beside a file that ends so: other programs read no word of a .ckpt."""
    return ".pt" if ending == ".ckpt" else ending


def beside_names(settings: TrainingSettings) -> list[str]:
    """The suffixes of text encoders that Stable Diffusion 3 saves next to its file, and of new words.

    Where nothing else is taught, the first word is in the file itself.
    """
    s = settings.sd3
    if words := settings.new_words():
        alone, apart = settings.method == "textual_inversion", settings.textual_inversion.save_words != IN_LORA
        return [word_suffix(word, settings) for word in words[alone:]] if alone or apart else []
    if not settings.trains_whole_model or settings.family() != "sd3" or is_folder(settings):
        return []
    return ["_clip_l", "_clip_g"] * s.save_clip + ["_t5xxl"] * s.save_t5xxl


def word_suffix(word: str, settings: TrainingSettings) -> str:
    """What a new word's own file has behind the run's name."""
    is_negative = settings.applied("dreamartist") and word == settings.new_words()[-1]
    return NEGATIVE if is_negative else f"-{word}"


def stem_of(file: str) -> str:
    """The stem under which a file or folder of this name was written."""
    return next((file.removesuffix(ending) for ending in _ENDINGS.values() if ending and file.endswith(ending)), file)


def epoch_name(name: str, epoch: int) -> str:
    """NAME-000003: after the third epoch."""
    return f"{name}-{epoch:0{_EPOCH_DIGITS}d}"


def step_name(name: str, step: int) -> str:
    """NAME-step00000500: after 500 steps."""
    return f"{name}-step{step:0{_STEP_DIGITS}d}"


def state_name(stem: str) -> str:
    """NAME-state: the folder with the training state next to a trained file of that name."""
    return f"{stem}-state"


def written_names(settings: TrainingSettings, stem: str, with_state: bool) -> list[str]:
    """saved_names(), and the state next to them if there is one."""
    return [*saved_names(settings, stem), *([state_name(stem)] if with_state else [])]


def free_stem(settings: TrainingSettings, stem: str, with_state: bool = False) -> str:
    """The stem itself, or with -2, -3 … if a name to be written is taken."""
    folder = Path(settings.folders.output_dir)
    stems = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    is_free = (
        (free, not any((folder / name).exists() for name in written_names(settings, free, with_state)))
        for free in stems
    )
    return next(free for free, is_it in is_free if is_it)


def holds_other_things(path: Path) -> bool:
    """Whether it is a folder that neither model nor state may replace: such as one of pictures with its name."""
    return path.is_dir() and not any((path / sign).exists() for sign in (MODEL_INDEX, PROGRESS)) and any(path.iterdir())


def place_of(folders: Folders) -> str:
    """Where a run's results go, as a canonical text: two active runs must not have the same."""
    return f"{os.path.realpath(folders.output_dir)}{os.sep}{_alike(folders.output_name)}"


def why_no_name(name: str) -> str:
    """Why an output name is invalid, as the end of a sentence; empty if it is valid.

    "." and ".." are folders: what is saved as one would replace the whole output folder.
    """
    if not name.strip() or any(character in name for character in '/\\:*?"<>|') or not name.isprintable():
        return 'cannot be a file name: remove / \\ : * ? " < > |'
    if not name.strip(". "):
        return "names a folder, not a file"
    if os.name == "nt" and (name[-1] in ". " or name.partition(".")[0].rstrip().upper() in DEVICES):
        return "is not a file name that Windows allows"
    return ""


DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
"""Device names on Windows, with any extension.  Source: Microsoft, "Naming Files, Paths, and Namespaces"."""


def _alike(name: str) -> str:
    """One text for names that Windows and macOS treat as equal; elsewhere an unnecessary question does no harm."""
    return unicodedata.normalize("NFC", name).casefold()


class OutputFiles:
    """The trained files that a whole run will write: computed, however many they are."""

    def __init__(self, settings: TrainingSettings, plan: StepPlan) -> None:
        self._saving, self._plan = settings.saving, plan
        self._name = _alike(settings.folders.output_name)
        self._folder = Path(settings.folders.output_dir)
        # What follows the stem, longest first: "_clip_l.safetensors" ends in ".safetensors" too.
        self._endings = sorted((_alike(name) for name in saved_names(settings, "")), key=len, reverse=True)
        name = re.escape(self._name)
        self._epoch = re.compile(rf"{name}-(\d{{{_EPOCH_DIGITS},}})")
        self._step = re.compile(rf"{name}-step(\d{{{_STEP_DIGITS},}})")

    def __len__(self) -> int:
        return 1 + sum(self._on_the_way())

    def at_once(self) -> int:
        """How many of them exist at once at most, including the last one: older ones may be deleted on the way."""
        s = self._saving
        return self._kept(s.save_last_n_epochs, s.save_last_n_steps)

    def states_at_once(self) -> int:
        """The same for their states."""
        s = self._saving
        if s.save_state:
            epochs, steps = s.save_last_n_epochs, s.save_last_n_steps
            return self._kept(s.save_last_n_epochs_state or epochs, s.save_last_n_steps_state or steps)
        return int(s.save_state_on_train_end)

    def _kept(self, last_epochs: int, last_steps: int) -> int:
        epochs, steps = self._on_the_way()
        every = self._saving.save_every_n_steps
        if last_epochs:
            epochs = min(epochs, last_epochs)
        if last_steps and every:
            steps = min(steps, last_steps // every + 1)
        return epochs + steps + 1  # a new one, or the last one, is written before an old one is deleted

    def _on_the_way(self) -> tuple[int, int]:
        """Epochs that end before the run does, and steps, including the last one, as in sd-scripts."""
        total = self._plan.steps
        epochs, steps = self._saving.save_every_n_epochs, self._saving.save_every_n_steps
        return (total - 1) // (epochs * self._plan.steps_per_epoch) if epochs else 0, total // steps if steps else 0

    def existing(self) -> list[Path]:
        """What already exists in the output folder under a name that the run will use: files, and their states."""
        if not self._folder.is_dir():
            return []
        return sorted(Path(entry.path) for entry in os.scandir(self._folder) if self._will_write(entry.name))

    def _will_write(self, file_name: str) -> bool:
        file_name = _alike(file_name)
        stems = (file_name.removesuffix(ending) for ending in self._endings if file_name.endswith(ending))
        if any(stem == self._name or self._is_on_the_way(stem) for stem in stems):
            return True
        stem = file_name.removesuffix(state_name(""))
        if stem == file_name:
            return False
        if stem == self._name:
            return self._saving.save_state or self._saving.save_state_on_train_end
        return self._saving.save_state and self._is_on_the_way(stem)

    def _is_on_the_way(self, stem: str) -> bool:
        return self._is_epoch(stem) or self._is_step(stem)

    def _is_epoch(self, stem: str) -> bool:
        found, every = self._epoch.fullmatch(stem), self._saving.save_every_n_epochs
        epoch = int(found[1]) if found else 0
        return bool(epoch and every) and epoch % every == 0 and epoch * self._plan.steps_per_epoch < self._plan.steps

    def _is_step(self, stem: str) -> bool:
        found, every = self._step.fullmatch(stem), self._saving.save_every_n_steps
        step = int(found[1]) if found else 0
        return bool(step and every) and step % every == 0 and step <= self._plan.steps
