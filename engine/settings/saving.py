"""When the trained file and the training state are written."""

from __future__ import annotations

from engine.settings.option import Group, option

ADVANCED = "Parameters/Advanced"


class Saving(Group):
    save_every_n_epochs: int = option(
        1,
        ge=0,
        label="Save every N epochs",
        section="Parameters/Basic",
        help="Save a numbered file every N epochs, in addition to the final one; 0 saves only the final one.",
    )
    save_every_n_steps: int = option(
        0,
        ge=0,
        label="Save every N steps",
        section=ADVANCED,
        help="Save a numbered file every N steps, even if the run ends on one; 0 turns it off.",
    )
    save_state: bool = option(
        False,
        label="Save training state",
        section=ADVANCED,
        help="With each numbered file, also save a folder that another run can resume from. A run always keeps its "
        "own latest state, so a stopped or killed run can be resumed in any case.",
        also=("Save state",),
    )
    save_state_on_train_end: bool = option(
        False,
        label="Save training state at end of training",
        section=ADVANCED,
        help="Also save such a folder after the last step.",
    )
    resume: str = option(
        "",
        label='Resume from saved training state (path to "last-state" state folder)',
        section=ADVANCED,
        widget="folder",
        help="A folder written by Save training state to resume from.",
    )
    save_last_n_epochs: int = option(
        0,
        ge=0,
        label="Save last N epochs",
        section=ADVANCED,
        help="Keep only the numbered files of the last N epochs and delete older ones; 0 keeps them all.",
    )
    save_last_n_epochs_state: int = option(
        0,
        ge=0,
        label="Save last N epochs state",
        section=ADVANCED,
        help="The same for training states; 0 keeps as many as files.",
    )
    save_last_n_steps: int = option(
        0,
        ge=0,
        label="Save last N steps",
        section=ADVANCED,
        help="Keep only the numbered files of the last N steps and delete older ones; 0 keeps them all.",
    )
    save_last_n_steps_state: int = option(
        0,
        ge=0,
        label="Save last N steps state",
        section=ADVANCED,
        help="The same for training states; 0 keeps as many as files.",
    )
