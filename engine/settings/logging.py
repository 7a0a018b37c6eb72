"""Logs for other programs, beyond the folder for TensorBoard."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, maps, option
from engine.settings.waiting import WANDB

SECTION = "Parameters/Advanced/Logging"


class Logging(Group):
    log_with: Literal["", "wandb", "tensorboard", "all"] = option(
        "",
        label="Logging",
        section=SECTION,
        help="Which program's logs are written.",
        standing=maps("Logging directory: TensorBoard logs are written wherever one is given"),
        not_yet={"wandb": WANDB.why, "all": WANDB.why},
        also=("Use wandb", "WandB", "Tensorboard"),
    )
    wandb_api_key: str = option(
        "",
        label="WANDB API Key",
        section=SECTION,
        help="Your key of Weights & Biases. It is never written into a file.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
        widget="secret",
    )
    wandb_run_name: str = option(
        "",
        label="WANDB run name",
        section=SECTION,
        help="The run's name there; empty for the output name.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
    )
    log_tracker_name: str = option(
        "",
        label="Log tracker name",
        section=SECTION,
        help="The project's name there.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
    )
    log_tracker_config: str = option(
        "",
        widget="path",
        label="Log tracker config",
        section=SECTION,
        help="A .toml file with further settings of the log.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
    )
    log_config: bool = option(
        False,
        label="Log config",
        section=SECTION,
        help="Write these settings into the log too.",
        standing=WANDB,
    )
