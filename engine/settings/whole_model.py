"""What only training the whole model asks for: DreamBooth and fine-tuning."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, idle, maps, option
from engine.settings.waiting import BY_BLOCK

BASIC = "Parameters/Basic"
FOLDERS = "Folders"
DATASET_PREPARATION = "Dataset Preparation"
ADVANCED_PARAMETERS = "Dataset Preparation/Advanced parameters"


class WholeModel(Group):
    learning_rate_te: float = option(
        1e-05,
        ge=0,
        le=1,
        label="Learning rate TE",
        section=BASIC,
        help="Learning rate of the text encoder where the whole model is trained; 0 leaves it as it is.",
        applies_when={"sdxl": (False,), "flux1_checkbox": (False,), "sd3_checkbox": (False,)},
        methods=("dreambooth", "finetune"),
    )
    learning_rate_te1: float = option(
        1e-05,
        ge=0,
        le=1,
        label="Learning rate TE1",
        section=BASIC,
        help="Learning rate of SDXL's first text encoder, CLIP-L where the whole model is trained; 0 leaves it as it "
        "is.",
        applies_when={"sdxl": (True,)},
        methods=("dreambooth", "finetune"),
    )
    learning_rate_te2: float = option(
        1e-05,
        ge=0,
        le=1,
        label="Learning rate TE2",
        section=BASIC,
        help="Learning rate of SDXL's second text encoder, CLIP-G where the whole model is trained; 0 leaves it as it "
        "is.",
        applies_when={"sdxl": (True,)},
        methods=("dreambooth", "finetune"),
    )
    train_text_encoder: bool = option(
        True,
        label="Train text encoder",
        section=BASIC,
        help="Fine-tune the text encoder beside the UNet.",
        methods=("finetune",),
    )
    dataset_repeats: int = option(
        40,
        ge=1,
        label="Dataset repeats",
        section=BASIC,
        help="How often each picture is seen in an epoch of fine-tuning, where no folder name says it: in a "
        "folder without sub-folders, and in Metadata file.",
        methods=("finetune",),
        kohya_text=True,
    )
    block_lr: str = option(
        "",
        label="Block LR (SDXL)",
        section="Parameters/Advanced",
        help="Learning rates for the 23 blocks of SDXL's UNet in fine-tuning, with commas.",
        standing=BY_BLOCK,
        methods=("finetune",),
    )
    image_folder: str = option(
        "",
        widget="folder",
        label="Image folder (containing training images)",
        section=FOLDERS,
        help="The same as the other Image folder, as the fine-tuning tab of kohya_ss saves it.",
        standing=maps("Image folder, which the other tabs save"),
        methods=("finetune",),
    )
    in_json: str = option(
        "",
        widget="path",
        label="Metadata file",
        section=FOLDERS,
        help="A .json or .jsonl file that lists the pictures with their captions and tags, such as meta_cap.json or "
        "meta_lat.json; short names in it are looked for in the image folder.",
        also=("in_json", "meta_cap.json", "meta_lat.json"),
        methods=("lora", "finetune"),
        ours=True,
    )
    train_dir: str = option(
        "",
        widget="folder",
        label="Train config directory (Optional. where config files will be saved)",
        section=FOLDERS,
        help="Where kohya_ss puts the lists that its fine-tuning prepares.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        methods=("finetune",),
    )
    preparation_batch_size: int = option(
        1,
        ge=1,
        label="Batch size",
        section=DATASET_PREPARATION,
        kohya="batch_size",
        help="Pictures encoded at a time by kohya_ss's preparation.",
        standing=idle(
            "It is the batch size of kohya_ss's separate encoding of the pictures; VAE batch size says it here."
        ),
        methods=("finetune",),
        kohya_text=True,
    )
    generate_caption_database: bool = option(
        True,
        label="Generate caption metadata",
        section=DATASET_PREPARATION,
        help="Write the list of captions before fine-tuning.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        also=("Create caption",),
        methods=("finetune",),
    )
    generate_image_buckets: bool = option(
        True,
        label="Generate image buckets metadata",
        section=DATASET_PREPARATION,
        help="Write the list of buckets before fine-tuning.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        also=("Create buckets",),
        methods=("finetune",),
    )
    use_latent_files: Literal["No", "Yes"] = option(
        "Yes",
        label="Use latent files",
        section=DATASET_PREPARATION,
        help="Fine-tune from the list with latents rather than from the one with captions alone.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        methods=("finetune",),
    )
    caption_metadata_filename: str = option(
        "meta_cap.json",
        label="Caption metadata filename",
        section=ADVANCED_PARAMETERS,
        help="Name of the list of captions.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        methods=("finetune",),
    )
    latent_metadata_filename: str = option(
        "meta_lat.json",
        label="Latent metadata filename",
        section=ADVANCED_PARAMETERS,
        help="Name of the list of captions and latents.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        methods=("finetune",),
    )
    metadata_full_path: bool = option(
        True,
        label="Use full path",
        section=ADVANCED_PARAMETERS,
        kohya="full_path",
        help="Write whole paths into the lists.",
        standing=idle(
            "kohya_ss prepares lists of the pictures in files before fine-tuning; here pictures and captions are "
            "read where they are."
        ),
        methods=("finetune",),
    )
