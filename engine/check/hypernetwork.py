"""Can a hypernetwork be built and attached as the settings ask?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.check.problem import Problem
from engine.settings.families import TITLES
from engine.settings.hypernetwork import WIDTHS
from engine.settings.training import TrainingSettings


def check_hypernetwork(settings: TrainingSettings) -> Iterator[Problem]:
    if settings.method != "hypernetwork":
        return
    s, family = settings.hypernetwork, settings.family()
    if family not in WIDTHS:
        yield Problem(
            "pretrained_model_name_or_path",
            f"Hypernetworks change cross-attention, which {TITLES[family]} models do not have.",
            "Choose a Stable Diffusion 1, 2 or SDXL model, or train a LoRA.",
        )
    if s.hypernetwork_weights:
        if not Path(s.hypernetwork_weights).is_file():
            yield Problem(
                "hypernetwork_weights",
                f'There is no file "{s.hypernetwork_weights}".',
                "Correct the path, or clear the field.",
            )
        return
    for option, reads, mend in (
        ("hypernetwork_sizes", s.sizes, "Correct it, or clear the field for all of the model's."),
        ("hypernetwork_structure", s.structure, "Correct it; 1, 2, 1 is usual."),
        ("hypernetwork_dropout", s.dropouts, "Correct it; 0 is none."),
    ):
        try:
            reads()
        except ValueError as error:
            yield Problem(option, str(error), mend)
            return
