"""Folders: where pictures come from and results go."""

from __future__ import annotations

from engine.settings.option import Group, option


class Folders(Group):
    train_data_dir: str = option(
        "",
        label="Image folder (containing training images subfolders)",
        section="Folders",
        widget="folder",
        help="The folder that holds the sub-folders with your pictures. Their names say how often an epoch shows each "
        'picture, and of what: REPEATS_WORDS, such as "10_sks cat". Finetuning also takes a folder with the pictures '
        "directly in it.",
        also=("Image folder", "Training images"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    output_dir: str = option(
        "",
        label="Output directory for trained model",
        section="Folders",
        widget="folder",
        help="The trained files are written here, sample pictures in its sub-folder sample.",
        also=("Output folder",),
    )
    output_name: str = option(
        "last",
        label="Trained Model output name",
        section="Folders",
        help="Name of the trained file, without its extension.",
        also=("Model output name",),
    )
    overwrite: bool = option(
        False,
        label="Overwrite files of the same name",
        section="Folders",
        help="Off: a run that would replace an earlier file does not start.",
        ours=True,
    )
    logging_dir: str = option(
        "",
        label="Logging directory (Optional. to enable logging and output Tensorboard log)",
        section="Folders",
        widget="folder",
        help="Loss and learning rates are also written here for TensorBoard. This page shows them anyway.",
        also=("Logging folder", "Tensorboard"),
    )
    training_comment: str = option(
        "",
        label="Training comment",
        section="Folders",
        help="Free text, stored in the trained file's metadata.",
        methods=("lora",),
    )
    reg_data_dir: str = option(
        "",
        widget="folder",
        label="Regularisation directory (Optional. containing regularisation images)",
        section="Folders",
        help="Sub-folders named REPEATS_WORDS with pictures of the same class that are not the subject, such as other "
        "people. They keep the model from forgetting the class.",
        source="Ruiz et al. 2022, arXiv:2208.12242",
        also=("Regularisation folder", "Regularization folder", "Class images"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    dataset_config: str = option(
        "",
        widget="path",
        label="Dataset config file (Optional. Select the toml configuration file to use for the dataset)",
        section="Folders",
        help="A .toml file that lists datasets and their folders with settings of their own, in place of Image folder "
        "and Regularisation directory. What it does not say is as set here; paths "
        "in it begin where the file lies.",
    )
