"""Folders: where pictures come from and results go."""

from __future__ import annotations

from engine.settings.option import Group, option


class Folders(Group):
    train_data_dir: str = option(
        "",
        label="Image folder (containing training images subfolders)",
        section="Folders",
        widget="folder",
        help='The folder that contains sub-folders of pictures, named REPEATS_WORDS, such as "10_sks cat": how often '
        "each picture is seen per epoch, and what it shows. For Finetuning the pictures may also be directly in "
        "this folder.",
        also=("Image folder", "Training images"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    output_dir: str = option(
        "",
        label="Output directory for trained model",
        section="Folders",
        widget="folder",
        help='Where the trained files are saved. Sample pictures go into its "sample" sub-folder.',
        also=("Output folder",),
    )
    output_name: str = option(
        "last",
        label="Trained Model output name",
        section="Folders",
        help="Name of the trained file, without the extension.",
        also=("Model output name",),
    )
    overwrite: bool = option(
        False,
        label="Overwrite files of the same name",
        section="Folders",
        help="When off, a run that would replace an existing file does not start.",
        ours=True,
    )
    logging_dir: str = option(
        "",
        label="Logging directory (Optional. to enable logging and output Tensorboard log)",
        section="Folders",
        widget="folder",
        help="Loss and learning rates are also logged here for TensorBoard. This page shows them anyway.",
        also=("Logging folder", "Tensorboard"),
    )
    training_comment: str = option(
        "",
        label="Training comment",
        section="Folders",
        help="Any text you like; it is stored in the trained file's metadata.",
        methods=("lora",),
    )
    reg_data_dir: str = option(
        "",
        widget="folder",
        label="Regularisation directory (Optional. containing regularisation images)",
        section="Folders",
        help="Sub-folders named REPEATS_WORDS with pictures of the same class but not of your subject, such as other "
        "people. They keep the model from forgetting what the class looks like in general.",
        source="Ruiz et al. 2022, arXiv:2208.12242",
        also=("Regularisation folder", "Regularization folder", "Class images"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    opposite_data_dir: str = option(
        "",
        widget="folder",
        label="Opposite image folder (Optional. makes the LoRA a slider)",
        section="Folders",
        help="Sub-folders named REPEATS_WORDS with pictures of the opposite, such as the same people young where those "
        "of the image folder are old, under the same captions. They are learned at strength -1 of the LoRA, and the "
        "others at 1; so its strength moves between the two.",
        source="Gandikota et al. 2023, arXiv:2311.12092, section 4.2",
        also=("Image slider", "Concept slider", "Slider"),
        methods=("lora",),
        ours=True,
    )
    dataset_config: str = option(
        "",
        widget="path",
        label="Dataset config file (Optional. Select the toml configuration file to use for the dataset)",
        section="Folders",
        help="A .toml file that lists datasets and their folders, each with its own settings. It replaces Image "
        "folder and Regularisation directory. Anything it leaves out is taken from this form; relative paths in "
        "it start from the file's own folder.",
    )
