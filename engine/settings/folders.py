"""Folders: where pictures come from and results go."""

from __future__ import annotations

from engine.settings.option import Group, option


class Folders(Group):
    train_data_dir: str = option(
        "",
        label="Image folder (containing training images subfolders)",
        section="Folders",
        widget="folder",
        help='The folder that holds sub-folders named REPEATS_WORDS, such as "10_sks cat", '
        "which in turn hold the pictures.",
    )
    output_dir: str = option(
        "",
        label="Output directory for trained model",
        section="Folders",
        widget="folder",
        help="The trained files are written here, sample pictures in its sub-folder sample.",
    )
    output_name: str = option(
        "last",
        label="Trained Model output name",
        section="Folders",
        help="Name of the trained file, without its extension.",
    )
    overwrite: bool = option(
        False,
        label="Overwrite files of the same name",
        section="Folders",
        help="Off: a run that would replace an earlier file does not start.",
    )
    logging_dir: str = option(
        "",
        label="Logging directory (Optional. to enable logging and output Tensorboard log)",
        section="Folders",
        widget="folder",
        help="Loss and learning rates are also written here for TensorBoard. This page shows them anyway.",
    )
    training_comment: str = option(
        "",
        label="Training comment",
        section="Folders",
        help="Free text, stored in the trained file's metadata.",
    )
