"""Which pictures are held out to measure what the model makes of those that it does not learn from, and how often."""

from __future__ import annotations

from engine.settings.option import Group, option

SECTION = "Parameters/Advanced/Validation"


class Validation(Group):
    validation_split: float = option(
        0.0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Validation split",
        section=SECTION,
        help="Share of each folder's pictures that is not learned from. Their loss is measured during the run, with "
        "the same noise at the same timesteps each time: while it falls, the model learns what the pictures have in "
        "common; once it rises, it learns them by heart. 0.1 is usual; 0 holds out none. 1 holds out all of a folder: "
        "a dataset config says it of those that are for validation alone.",
        also=("Validation loss", "Held-out pictures"),
        ours=True,
    )
    validation_seed: int = option(
        0,
        ge=0,
        label="Validation seed",
        section=SECTION,
        help="Decides which pictures are held out, and their noise. Runs with the same one can be compared, whatever "
        "their own seed.",
        ours=True,
    )
    validate_every_n_epochs: int = option(
        1,
        ge=1,
        label="Validate every N epochs",
        section=SECTION,
        help="Measure after every N epochs; it is done before the first step and after the last one too.",
        ours=True,
    )
    validate_every_n_steps: int = option(
        0,
        ge=0,
        label="Validate every N steps",
        section=SECTION,
        help="Measure after every N steps as well; 0 for epochs alone.",
        ours=True,
    )
    max_validation_steps: int = option(
        0,
        ge=0,
        label="Max validation steps",
        section=SECTION,
        help="Measure on so many batches of the pictures held out at most, to take less time; 0 for all. Each is shown "
        "at four timesteps.",
        ours=True,
    )
