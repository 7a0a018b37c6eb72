"""What the prediction is of, and what a wrong one costs."""

from __future__ import annotations

from engine.settings.option import Group, option


class Objective(Group):
    clip_skip: int = option(
        1,
        ge=0,
        le=11,
        step=1,
        widget="slider",
        label="Clip skip",
        section="Parameters/Advanced",
        help="Which of the text encoder's layers to read, counted from the last: 1 for the last, 2 for the "
        "one before it, as many anime models want. 0 means 1.",
    )
