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
        help="Share of each folder's pictures to hold out from training. Their loss is measured during the run, "
        "always with the same noise at the same timesteps: while it falls, the model is learning what the "
        "pictures have in common; once it rises, it is memorizing them. 0.1 is usual; 0 holds out none. 1 holds "
        "out a whole folder: use it in a dataset config for folders meant only for validation.",
        also=("Validation loss", "Held-out pictures"),
        ours=True,
    )
    validation_seed: int = option(
        0,
        ge=0,
        label="Validation seed",
        section=SECTION,
        help="Decides which pictures are held out, and their noise. Runs with the same validation seed can be "
        "compared, whatever their Seed.",
        ours=True,
    )
    validate_every_n_epochs: int = option(
        1,
        ge=1,
        label="Validate every N epochs",
        section=SECTION,
        help="Measure the validation loss every N epochs, and also before the first step and after the last one.",
        ours=True,
    )
    validate_every_n_steps: int = option(
        0,
        ge=0,
        label="Validate every N steps",
        section=SECTION,
        help="Also measure every N steps; 0 measures only by epochs.",
        ours=True,
    )
    max_validation_steps: int = option(
        0,
        ge=0,
        label="Max validation steps",
        section=SECTION,
        help="Measure on at most this many batches of the held-out pictures, to save time; 0 uses them all. Each is "
        "measured at four timesteps.",
        ours=True,
    )
