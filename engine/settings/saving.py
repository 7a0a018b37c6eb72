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
        help="A numbered file after every N epochs, beside the final one; 0 saves only the final one.",
    )
    save_every_n_steps: int = option(
        0,
        ge=0,
        label="Save every N steps",
        section=ADVANCED,
        help="A numbered file after every N steps, also where the run ends with one; 0 for none.",
    )
    save_state: bool = option(
        False,
        label="Save training state",
        section=ADVANCED,
        help="Beside each numbered file also a folder from which another run can go on (Resume). A run keeps "
        "its own latest state in any case, so a stopped or killed run can always be resumed.",
        also=("Save state",),
    )
    save_state_on_train_end: bool = option(
        False,
        label="Save training state at end of training",
        section=ADVANCED,
        help="Such a folder after the last step.",
    )
    resume: str = option(
        "",
        label='Resume from saved training state (path to "last-state" state folder)',
        section=ADVANCED,
        widget="folder",
        help="Go on from a folder that Save training state wrote.",
    )
    save_last_n_epochs: int = option(
        0,
        ge=0,
        label="Save last N epochs",
        section=ADVANCED,
        help="Keep only the numbered files of the last N epochs and delete older ones; 0 keeps all.",
    )
    save_last_n_epochs_state: int = option(
        0,
        ge=0,
        label="Save last N epochs state",
        section=ADVANCED,
        help="The same for the training states; 0 for as many as files.",
    )
    save_last_n_steps: int = option(
        0,
        ge=0,
        label="Save last N steps",
        section=ADVANCED,
        help="Keep only the numbered files of the last N steps and delete older ones; 0 keeps all.",
    )
    save_last_n_steps_state: int = option(
        0,
        ge=0,
        label="Save last N steps state",
        section=ADVANCED,
        help="The same for the training states; 0 for as many as files.",
    )
