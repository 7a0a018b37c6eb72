"""Can the samples be drawn that are asked for?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from engine.check.model import DEPTH, INPAINTING
from engine.check.numbers import multiple_of, step_of
from engine.check.problem import Problem, as_problem
from engine.data.examining import examine
from engine.models.recognise import NoModel, recognise
from engine.settings.samples import SamplePrompt
from engine.settings.training import TrainingSettings


def check_samples(settings: TrainingSettings) -> Iterator[Problem]:
    wrong = list(as_problem("sample_prompts", settings.samples.prompts))
    yield from wrong
    if wrong:
        return
    prompts, step, takes = settings.samples.prompts(), step_of(settings), _pictures_taken(settings)
    for prompt in prompts:
        if prompt.ignored:
            yield Problem(
                "sample_prompts",
                f'"{prompt.text[:40]}": {" ".join(prompt.ignored)} is not supported here.',
                "It is ignored.",
                blocking=False,
            )
        for flag, value in (("ctr", prompt.cfg_trunc_ratio), ("rcfg", prompt.renorm_cfg)):
            if value is not None and settings.family() != "lumina":
                yield Problem(
                    "sample_prompts",
                    f'"{prompt.text[:40]}": --{flag} is for Lumina, so it has no effect here.',
                    "Remove it.",
                    blocking=False,
                )
        for note in prompt.notes:
            yield Problem("sample_prompts", f'"{prompt.text[:40]}": {note}', blocking=False)
        yield from _pictures(prompt, takes)
        for flag, side in (("w", prompt.width), ("h", prompt.height)):
            if side is not None and side % step:
                yield Problem(
                    "sample_prompts",
                    f'"{prompt.text[:40]}": --{flag} {side} is not divisible by {step}.',
                    f"Use --{flag} {multiple_of(side, step)}.",
                )
    samples = settings.samples
    asked = samples.sample_every_n_steps or samples.sample_every_n_epochs or samples.sample_at_first
    if asked and not prompts:
        yield Problem("sample_prompts", "Samples are turned on, but there is no prompt.", "Enter one.", blocking=False)
    if prompts and not asked:
        yield Problem(
            "sample_every_n_steps",
            "There are sample prompts, but no samples are generated.",
            "Set Sample every n steps or epochs.",
            blocking=False,
        )


def _pictures(prompt: SamplePrompt, taken: Collection[str]) -> Iterator[Problem]:
    """taken: the flags by which the model is given pictures."""
    words = f'"{prompt.text[:40]}"'
    for flag, file in (("img", prompt.picture), ("mask", prompt.mask)):
        if file and flag not in taken:
            yield Problem(
                "sample_prompts",
                f"{words}: this model starts from pure noise, so --{flag} has no effect."
                if flag == "img" or not taken
                else f"{words}: this is not an inpainting model, so --mask has no effect.",
                "Remove it.",
                blocking=False,
            )
        elif file and (why := examine(Path(file).expanduser()).left_out):
            yield Problem(
                "sample_prompts",
                f'{words}: cannot read the picture "{file}" given by --{flag}: {why}.',
                "Correct the path, or remove it.",
            )
    if prompt.mask and not prompt.picture and "mask" in taken:
        yield Problem(
            "sample_prompts",
            f"{words}: --mask has no effect without --img: the whole picture is filled in.",
            "Give the picture with --img.",
            blocking=False,
        )


def _pictures_taken(settings: TrainingSettings) -> Collection[str]:
    try:
        found = recognise(settings.source_model.pretrained_model_name_or_path)
    except NoModel:
        found = None
    if found is None or found.channels == INPAINTING:
        return ("img", "mask")
    return ("img",) if found.channels == DEPTH or found.family == "sdxl-refiner" else ()
