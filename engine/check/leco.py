"""Can the prompts that LECO learns from be read, and is anything to be learned from them?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import CHOOSE, Problem
from engine.settings.families import TITLES, FamilyName
from engine.settings.leco_prompts import prompt_sets
from engine.settings.training import TrainingSettings

FAMILIES: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl")


def check_leco(settings: TrainingSettings) -> Iterator[Problem]:
    if settings.method != "leco":
        return
    s, family = settings.leco, settings.family()
    if family not in FAMILIES:
        yield Problem(
            "pretrained_model_name_or_path",
            f"LECO draws with Stable Diffusion 1, 2 or SDXL, and this is {TITLES[family]}.",
            "Choose another base model.",
        )
    if not settings.optimizer.max_train_steps:
        yield Problem(
            "max_train_steps",
            "Max train steps is 0, and LECO has no pictures that would say how long it learns.",
            "500 is usual.",
            fix=f"{CHOOSE}500",
        )
    option = "prompts_file" if s.prompts_file else "leco_positive"
    try:
        sets = prompt_sets(settings)
    except ValueError as error:
        mend = "Correct the file, or clear the field and use those below it."
        yield Problem(option, str(error), mend if s.prompts_file else "Enter a positive prompt and its opposite.")
        return
    if idle := [why for set_ in sets if (why := set_.why_idle())]:
        which = f" in {len(idle)} of {len(sets)} sets" if s.prompts_file else ""
        yield Problem(option, f"Nothing would be learned{which}: {idle[0][0].lower()}{idle[0][1:]}", "Change it.")
