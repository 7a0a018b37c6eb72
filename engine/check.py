"""What is wrong with the settings before a start: everything at once, with how to mend it.

Needs no torch, and looks at the disk, never at the network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.data.folders import (
    ImageFolder,
    add_number,
    captions_without_picture,
    move_into_concept,
    scan,
    unreadable,
)
from engine.data.output_names import saved_files
from engine.data.steps import StepPlan, plan_steps
from engine.settings.training import TrainingSettings, training_options

BYTES_PER_RANK = 589_824
"""Trained numbers of an SD 1.5 LoRA for each rank: the inputs plus outputs of its 264 modules."""


@dataclass(frozen=True)
class Problem:
    """option: the name of the option it is about.  what: what is wrong.  mend: the next move.

    blocking: the run does not start.  fix: what the page's button says, where the program can mend it
    itself; mended() does it.
    """

    option: str
    what: str
    mend: str = ""
    blocking: bool = True
    fix: str = ""

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """problems: in the order of the form.  plan: the steps, where the pictures can be counted."""

    problems: list[Problem]
    plan: StepPlan | None

    @property
    def can_start(self) -> bool:
        return not any(problem.blocking for problem in self.problems)


def check(settings: TrainingSettings) -> Checked:
    """Look at everything that can be known before a start."""
    folder, folder_problems = _image_folder(settings)
    plan = None
    if folder and folder.weight:
        plan = plan_steps(folder.weight, settings.optimizer, settings.hardware.num_processes)
    problems = [
        *_model(settings),
        *_not_yet(settings),
        *folder_problems,
        *(_pictures(folder, settings) if folder else []),
        *_output(settings, plan),
        *_numbers(settings),
        *_samples(settings, plan),
    ]
    return Checked(problems, plan)


def mended(problem: Problem, settings: TrainingSettings) -> TrainingSettings:
    """Do what the problem's fix says; returns the settings to go on with.

    Raises OSError where the disk does not let it.
    """
    folder = Path(settings.folders.train_data_dir)
    if problem.fix == MAKE_FOLDER:
        move_into_concept(folder, words=_words_for(settings))
    elif problem.fix == ADD_NUMBERS:
        for unnumbered in scan(folder).unnumbered:
            add_number(unnumbered)
    elif problem.fix == USE_PARENT:
        return settings.with_values({"train_data_dir": str(folder.parent)})
    elif problem.fix.startswith(NEW_NAME):
        return settings.with_values({"output_name": problem.fix.removeprefix(NEW_NAME).strip('"')})
    elif problem.fix.startswith(TURN_OFF):
        return settings.with_values({problem.fix.removeprefix(TURN_OFF): False})
    return settings


def with_free_name(settings: TrainingSettings) -> TrainingSettings:
    """The settings, under another output name where a file of an earlier run would be overwritten."""
    for problem in check(settings).problems:
        if problem.fix.startswith(NEW_NAME):
            return mended(problem, settings)
    return settings


MAKE_FOLDER = "Make the folder for me"
ADD_NUMBERS = "Add the numbers for me"
USE_PARENT = "Use the folder above"
NEW_NAME = "Use the name "
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
"""Options that say which family the model is of, and its name."""


# ── model ─────────────────────────────────────────────────────────────────────────────────────────


def _model(settings: TrainingSettings) -> Iterator[Problem]:
    source = settings.source_model
    name = source.pretrained_model_name_or_path.strip()
    if not name:
        yield Problem("pretrained_model_name_or_path", "No model is chosen.", "Type or choose one.")
    elif not _exists_or_hub(name):
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
    if source.vae and not _exists_or_hub(source.vae):
        yield Problem("vae", f'There is no VAE at "{source.vae}".', "Correct the path, or empty the field.")
    values = settings.values()
    for name, family in OTHER_FAMILIES.items():
        if values[name]:
            yield Problem(
                "pretrained_model_name_or_path",
                f"The settings are for {family} models ({name} is on), which this version does not train.",
                "Choose a Stable Diffusion 1 model and settings made for it.",
                fix=f"{TURN_OFF}{name}",
            )


def _exists_or_hub(name: str) -> bool:
    path = Path(name).expanduser()
    looks_like_path = (
        path.is_absolute() or name.startswith(".") or "\\" in name or path.suffix in (".safetensors", ".ckpt")
    )
    return path.exists() or (name.count("/") == 1 and not looks_like_path)


# ── choices ───────────────────────────────────────────────────────────────────────────────────────


def _not_yet(settings: TrainingSettings) -> Iterator[Problem]:
    """Choices that kohya_ss has and this version cannot follow: better no run than another one."""
    for item in training_options():
        value = item.value_in(settings)
        if item.acts and value in item.not_yet:
            ready = [choice for choice in item.choices if choice not in item.not_yet]
            yield Problem(
                item.name,
                f'"{value}" waits for {item.not_yet[value]}, which this version does not have.',
                f"Choose {ready[0]}." if len(ready) == 1 else f"Choose one of {', '.join(ready)}.",
            )


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────


def _image_folder(settings: TrainingSettings) -> tuple[ImageFolder | None, list[Problem]]:
    name = settings.folders.train_data_dir.strip()
    if not name:
        return None, [Problem("train_data_dir", "No image folder is chosen.", "Type or choose one.")]
    path = Path(name)
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        return None, [Problem("train_data_dir", f'"{name}" {what}.', "Correct the path.")]
    try:
        return scan(path), []
    except OSError as error:
        return None, [Problem("train_data_dir", f'"{name}" cannot be read: {error.strerror}.', "Allow reading it.")]


def _pictures(folder: ImageFolder, settings: TrainingSettings) -> Iterator[Problem]:
    path = Path(settings.folders.train_data_dir)
    example = f'such as "{path.name}/10_{_words_for(settings)}"'
    found = [picture for concept in folder.concepts for picture in concept.pictures]
    if not found:
        if folder.loose and path.name[:1].isdigit() and "_" in path.name:
            yield Problem(
                "train_data_dir",
                f'"{path}" is itself the folder with the pictures; its parent is the image folder.',
                "Choose the folder above it.",
                fix=USE_PARENT,
            )
        elif folder.loose:
            yield Problem(
                "train_data_dir",
                f'Found {len(folder.loose)} pictures directly in "{path}", none in a sub-folder.',
                f"Training pictures go in a sub-folder named REPEATS_WORDS, {example}.",
                fix=MAKE_FOLDER,
            )
        elif folder.unnumbered:
            names = ", ".join(f'"{child.name}"' for child in folder.unnumbered[:3])
            yield Problem(
                "train_data_dir",
                f"Found pictures in {names}, but the folder's name has no number of repeats.",
                f"Name it REPEATS_WORDS, {example}.",
                fix=ADD_NUMBERS,
            )
        else:
            yield Problem(
                "train_data_dir",
                f'Found no pictures (.png, .jpg, .webp, .bmp) below "{path}".',
                f"Put them into a sub-folder named REPEATS_WORDS, {example}.",
            )
        return
    for child in folder.unnumbered:
        yield Problem(
            "train_data_dir",
            f'The pictures in "{child.name}" are left out: its name has no number of repeats.',
            f'Rename it, such as "10_{child.name}".',
            blocking=False,
            fix=ADD_NUMBERS,
        )
    if folder.loose:
        yield Problem(
            "train_data_dir",
            f'{len(folder.loose)} pictures directly in "{path}" are left out.',
            "Move them into one of the sub-folders.",
            blocking=False,
        )
    bad = unreadable(found)
    if bad:
        yield Problem("train_data_dir", f"{_listed_pictures(bad)}.", "Remove or replace them.")
    ending = settings.dataset.caption_ending()
    if any(character in ending for character in "/\\"):
        yield Problem("caption_extension", f'"{ending}" cannot be the ending of a file.', "Write .txt or .caption.")
        return
    orphans = [file for concept in folder.concepts for file in captions_without_picture(concept, ending)]
    if orphans:
        yield Problem(
            "caption_extension",
            f"{len(orphans)} caption files have no picture: {_listed(orphans)}.",
            "Was a picture renamed or removed?",
            blocking=False,
        )


def _listed_pictures(bad: dict[Path, str]) -> str:
    shown = [f'"{_short(picture)}" ({reason})' for picture, reason in list(bad.items())[:5]]
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    noun = "1 picture cannot" if len(bad) == 1 else f"{len(bad)} pictures cannot"
    return f"{noun} be read: {', '.join(shown)}{more}"


def _listed(files: list[Path]) -> str:
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return ", ".join(f'"{_short(file)}"' for file in files[:5]) + more


def _short(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _words_for(settings: TrainingSettings) -> str:
    """Words for a new sub-folder: the output name says what is being taught, unless it is the default."""
    name = settings.folders.output_name.strip()
    return name if name and name != "last" and name.isprintable() and "/" not in name else "concept"


# ── output ────────────────────────────────────────────────────────────────────────────────────────


def _output(settings: TrainingSettings, plan: StepPlan | None) -> Iterator[Problem]:
    folders = settings.folders
    name = folders.output_name
    if not name.strip() or any(character in name for character in '/\\:*?"<>|') or not name.isprintable():
        yield Problem("output_name", f'"{name}" cannot be a file name.', 'Leave out / \\ : * ? " < > |.')
        return
    if not folders.output_dir.strip():
        yield Problem("output_dir", "No output folder is chosen.", "Type or choose one.")
        return
    folder = Path(folders.output_dir)
    if folder.exists() and not folder.is_dir():
        yield Problem("output_dir", f'"{folder}" is a file, not a folder.', "Correct the path.")
        return
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        yield Problem("output_dir", f'"{existing}" cannot be written to.', "Choose another folder.")
        return
    if plan is not None:
        yield from _overwritten(settings, plan)
        yield from _disk(settings, plan, existing)


def _overwritten(settings: TrainingSettings, plan: StepPlan) -> Iterator[Problem]:
    there = [file for file in saved_files(settings, plan) if file.exists()]
    if there and not settings.folders.overwrite:
        free = _free_name(settings, plan)
        yield Problem(
            "output_name",
            f"The run would overwrite {_listed(there)}.",
            'Choose another name, or turn on "Overwrite files of the same name".',
            fix=f'{NEW_NAME}"{free}"',
        )


def _free_name(settings: TrainingSettings, plan: StepPlan) -> str:
    stem = settings.folders.output_name
    base, _, number = stem.rpartition("-")
    base, first = (base, int(number) + 1) if base and number.isdigit() else (stem, 2)
    for number_ in range(first, first + 10_000):
        candidate = settings.with_values({"output_name": f"{base}-{number_}"})
        if not any(file.exists() for file in saved_files(candidate, plan)):
            return candidate.folders.output_name
    return f"{stem}-new"


def _disk(settings: TrainingSettings, plan: StepPlan, existing: Path) -> Iterator[Problem]:
    numbers = BYTES_PER_RANK * settings.network.network_dim
    size = numbers * (4 if settings.source_model.save_precision == "float" else 2)
    files = saved_files(settings, plan)
    states = len(files) if settings.saving.save_state else 1
    needed = size * len(files) + 12 * numbers * (states + 1)
    free = shutil.disk_usage(existing).free
    if free < needed:
        yield Problem(
            "output_dir",
            f'About {_gigabytes(needed)} are needed for {len(files)} files; "{existing}" has {_gigabytes(free)} free.',
            "Free some space, choose another disk, or save less often.",
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────


def _numbers(settings: TrainingSettings) -> Iterator[Problem]:
    optimizer, network = settings.optimizer, settings.network
    if not any(optimizer.rates()):
        yield Problem("learning_rate", "Every learning rate is 0, so nothing would be learned.", "1e-4 is usual.")
    elif max(optimizer.rates()) > 0.01:
        yield Problem(
            "unet_lr",
            f"A learning rate of {max(optimizer.rates()):g} is very high; training will most likely break down.",
            "1e-4 is usual for a LoRA.",
            blocking=False,
        )
    if network.network_alpha > network.network_dim:
        yield Problem(
            "network_alpha",
            f"Alpha {network.network_alpha:g} is above rank {network.network_dim}: the LoRA acts with "
            f"{network.network_alpha / network.network_dim:.3g} times its strength.",
            "Alpha is usually between 1 and the rank.",
            blocking=False,
        )
    yield from _as_problem("optimizer_args", optimizer.extra_arguments)
    sized = list(_as_problem("max_resolution", settings.dataset.size))
    yield from sized
    if not sized:
        width, height = settings.dataset.size()
        if width % 8 or height % 8:
            yield Problem(
                "max_resolution",
                f"Max resolution {width},{height} is not divisible by 8.",
                f"Use {_multiple(width)},{_multiple(height)}.",
            )
        elif min(width, height) < 64:
            yield Problem("max_resolution", f"Max resolution {width},{height} is too small.", "Use 64 or more.")


def _samples(settings: TrainingSettings, plan: StepPlan | None) -> Iterator[Problem]:
    wrong = list(_as_problem("sample_prompts", settings.samples.prompts))
    yield from wrong
    if wrong:
        return
    prompts = settings.samples.prompts()
    for prompt in prompts:
        for flag, side in (("w", prompt.width), ("h", prompt.height)):
            if side is not None and side % 8:
                yield Problem(
                    "sample_prompts",
                    f'"{prompt.text[:40]}": --{flag} {side} is not divisible by 8.',
                    f"Use --{flag} {_multiple(side)}.",
                )
    samples = settings.samples
    asked = samples.sample_every_n_steps or samples.sample_every_n_epochs or samples.sample_at_first
    if asked and not prompts:
        yield Problem("sample_prompts", "Samples are asked for, but there is no prompt.", "Write one.", blocking=False)
    if prompts and not asked:
        yield Problem(
            "sample_every_n_steps",
            "There are sample prompts, but no sample is ever drawn.",
            "Set Sample every n steps or epochs.",
            blocking=False,
        )


def _as_problem(option: str, read: Callable[[], object]) -> Iterator[Problem]:
    """The sentence with which a value refuses to be read."""
    try:
        read()
    except ValueError as error:
        yield Problem(option, str(error))


def _multiple(side: int) -> int:
    return max(64, round(side / 8) * 8)
