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
        help="Which logging tool to use.",
        standing=maps("Logging directory: TensorBoard logs are written if one is set"),
        not_yet={"wandb": WANDB.why, "all": WANDB.why},
        also=("Use wandb", "WandB", "Tensorboard"),
    )
    wandb_api_key: str = option(
        "",
        label="WANDB API Key",
        section=SECTION,
        help="Your Weights & Biases key. It is never written to a file.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
        widget="secret",
    )
    wandb_run_name: str = option(
        "",
        label="WANDB run name",
        section=SECTION,
        help="Name of the run there; if empty, the output name.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
    )
    log_tracker_name: str = option(
        "",
        label="Log tracker name",
        section=SECTION,
        help="Name of the project there.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
    )
    log_tracker_config: str = option(
        "",
        widget="path",
        label="Log tracker config",
        section=SECTION,
        help="A .toml file with further logging settings.",
        applies_when={"log_with": ("wandb", "all")},
        standing=WANDB,
    )
    log_config: bool = option(
        False,
        label="Log config",
        section=SECTION,
        help="Also write these settings to the log.",
        standing=WANDB,
    )
