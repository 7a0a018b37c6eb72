"""What only training the whole model asks for: DreamBooth and fine-tuning."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, idle, maps, option

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
        help="Learning rate of the text encoder when training the whole model; 0 leaves it untrained.",
        applies_when={"sdxl": (False,), "flux1_checkbox": (False,), "sd3_checkbox": (False,)},
        methods=("dreambooth", "finetune"),
    )
    learning_rate_te1: float = option(
        1e-05,
        ge=0,
        le=1,
        label="Learning rate TE1",
        section=BASIC,
        help="Learning rate of SDXL's first text encoder (CLIP-L) when training the whole model; 0 leaves it "
        "untrained.",
        applies_when={"sdxl": (True,)},
        methods=("dreambooth", "finetune"),
    )
    learning_rate_te2: float = option(
        1e-05,
        ge=0,
        le=1,
        label="Learning rate TE2",
        section=BASIC,
        help="Learning rate of SDXL's second text encoder (CLIP-G) when training the whole model; 0 leaves it "
        "untrained.",
        applies_when={"sdxl": (True,)},
        methods=("dreambooth", "finetune"),
    )
    train_text_encoder: bool = option(
        True,
        label="Train text encoder",
        section=BASIC,
        help="Train the text encoder along with the UNet.",
        methods=("finetune",),
    )
    dataset_repeats: int = option(
        40,
        ge=1,
        label="Dataset repeats",
        section=BASIC,
        help="How many times each picture is seen per epoch when its folder's name does not say: for pictures "
        "directly in the image folder, and for those in a metadata file.",
        methods=("finetune",),
        kohya_text=True,
    )
    block_lr: str = option(
        "",
        label="Block LR (SDXL)",
        section="Parameters/Advanced",
        help="Learning rates for the 23 blocks of SDXL's UNet, separated by commas, in place of Learning rate; 0 "
        "leaves a block as it is. Leave empty to use Learning rate everywhere.",
        applies_when={"sdxl": (True,)},
        methods=("finetune",),
    )
    image_folder: str = option(
        "",
        widget="folder",
        label="Image folder (containing training images)",
        section=FOLDERS,
        help="The same as the other Image folder, under the key kohya_ss's Finetuning tab uses.",
        standing=maps("Image folder, which the other tabs save"),
        methods=("finetune",),
    )
    in_json: str = option(
        "",
        widget="path",
        label="Metadata file",
        section=FOLDERS,
        help="A .json or .jsonl file that lists the pictures with their captions and tags, such as meta_cap.json or "
        "meta_lat.json. File names without a path are looked up in the image folder.",
        also=("in_json", "meta_cap.json", "meta_lat.json"),
        methods=("lora", "finetune"),
        ours=True,
    )
    train_dir: str = option(
        "",
        widget="folder",
        label="Train config directory (Optional. where config files will be saved)",
        section=FOLDERS,
        help="Where kohya_ss saves the metadata files its fine-tuning prepares.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        methods=("finetune",),
    )
    preparation_batch_size: int = option(
        1,
        ge=1,
        label="Batch size",
        section=DATASET_PREPARATION,
        kohya="batch_size",
        help="How many pictures kohya_ss's preparation encodes at once.",
        standing=idle("It is the batch size of kohya_ss's separate encoding step; here VAE batch size sets it."),
        methods=("finetune",),
        kohya_text=True,
    )
    generate_caption_database: bool = option(
        True,
        label="Generate caption metadata",
        section=DATASET_PREPARATION,
        help="Write the caption metadata before fine-tuning.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        also=("Create caption",),
        methods=("finetune",),
    )
    generate_image_buckets: bool = option(
        True,
        label="Generate image buckets metadata",
        section=DATASET_PREPARATION,
        help="Write the bucket metadata before fine-tuning.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        also=("Create buckets",),
        methods=("finetune",),
    )
    use_latent_files: Literal["No", "Yes"] = option(
        "Yes",
        label="Use latent files",
        section=DATASET_PREPARATION,
        help="Fine-tune from the metadata with latents rather than from the one with captions only.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        methods=("finetune",),
    )
    caption_metadata_filename: str = option(
        "meta_cap.json",
        label="Caption metadata filename",
        section=ADVANCED_PARAMETERS,
        help="File name of the caption metadata.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        methods=("finetune",),
    )
    latent_metadata_filename: str = option(
        "meta_lat.json",
        label="Latent metadata filename",
        section=ADVANCED_PARAMETERS,
        help="File name of the caption and latent metadata.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        methods=("finetune",),
    )
    metadata_full_path: bool = option(
        True,
        label="Use full path",
        section=ADVANCED_PARAMETERS,
        kohya="full_path",
        help="Write full paths into the metadata.",
        standing=idle(
            "kohya_ss writes metadata files about the pictures before fine-tuning; here pictures and captions are "
            "read directly."
        ),
        methods=("finetune",),
    )
