"""How pictures and captions are read."""

from __future__ import annotations

import math

from engine.settings.kin import EVERY_METHOD
from engine.settings.option import Group, maps, option

BASIC = "Parameters/Basic"

ADVANCED = "Parameters/Advanced"


class Dataset(Group):
    max_resolution: str = option(
        "512,512",
        label="Max resolution",
        section=BASIC,
        help="Width,height in pixels. With buckets this sets the number of pixels, whatever the aspect ratio; without "
        "buckets pictures are scaled to fill it and center-cropped. Use 512,512 for SD 1 models and 1024,1024 "
        "for SDXL and newer ones.",
        also=("Resolution", "Training resolution"),
    )
    caption_extension: str = option(
        ".txt",
        label="Caption file extension",
        section=BASIC,
        help="Extension of the caption files next to the pictures; if empty, .caption. A picture without a caption "
        "file gets the words from its folder's name.",
        suggestions=(".txt", ".caption", ".cap"),
        also=("Caption Extension",),
    )
    cache_latents: bool = option(
        True,
        label="Cache latents",
        section=BASIC,
        help="Encode every picture once before training and keep the latents in memory. Faster, and it frees the GPU "
        "memory used by the VAE.",
    )
    vae_batch_size: int = option(
        0,
        ge=0,
        le=32,
        step=1,
        widget="slider",
        label="VAE batch size",
        section="Parameters/Advanced",
        help="How many pictures to encode at once when caching latents; 0 uses the train batch size.",
    )
    cache_latents_to_disk: bool = option(
        False,
        label="Cache latents to disk",
        section=BASIC,
        help="Save the latents to files next to the pictures instead of keeping them in memory, so the next run "
        "starts right away. The files are compatible with sd-scripts.",
    )
    enable_bucket: bool = option(
        True,
        label="Enable buckets",
        section=BASIC,
        help="Group pictures by aspect ratio, so that portrait and landscape pictures are trained at their own shape "
        "instead of being cropped to a single one.",
        also=("Buckets", "Aspect ratio bucketing"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    min_bucket_reso: int = option(
        256,
        ge=64,
        le=4096,
        step=64,
        widget="slider",
        label="Minimum bucket resolution",
        section=BASIC,
        help="The shortest side a bucket may have, in pixels.",
        applies_when={"enable_bucket": (True,)},
        also=("Minimum Bucket Resolution",),
    )
    max_bucket_reso: int = option(
        2048,
        ge=64,
        le=4096,
        step=64,
        widget="slider",
        label="Maximum bucket resolution",
        section=BASIC,
        help="The longest side a bucket may have, in pixels.",
        applies_when={"enable_bucket": (True,)},
        also=("Maximum Bucket Resolution",),
    )
    bucket_no_upscale: bool = option(
        True,
        label="Don't upscale bucket resolution",
        section=ADVANCED,
        help="Keep pictures that are smaller than the training resolution at their own size instead of enlarging them.",
        applies_when={"enable_bucket": (True,)},
    )
    bucket_reso_steps: int = option(
        64,
        ge=1,
        le=128,
        step=1,
        widget="slider",
        label="Bucket resolution steps",
        section=ADVANCED,
        help="Bucket sides are multiples of this, in pixels. 64 is usual; smaller steps crop less but spread the "
        "pictures over more buckets.",
        applies_when={"enable_bucket": (True,)},
    )
    random_crop: bool = option(
        False,
        label="Random crop instead of center crop",
        section=ADVANCED,
        help="Crop at a random position each time instead of around the center. Rules out caching latents.",
    )
    face_crop_aug_range: str = option(
        "",
        label="Face crop range",
        section=ADVANCED,
        help="Crop around the face given in a picture's file name (NAME_X_Y_WIDTH_HEIGHT: center and size, in "
        "pixels). Enter min,max, such as 2.0,4.0: how many times larger than the face the crop is. Rules out "
        "caching latents.",
        applies_when={"enable_bucket": (False,)},
        also=("Face centred crop", "face_crop"),
        ours=True,
    )
    color_aug: bool = option(
        False,
        label="Color augmentation",
        section=ADVANCED,
        help="Slightly vary the hue or brightness a third of the time a picture is seen. Rules out caching latents.",
        also=("Color aug",),
    )
    flip_aug: bool = option(
        False,
        label="Flip augmentation",
        section=ADVANCED,
        help="Mirror each picture half of the time. Do not use it for subjects that are not symmetrical, such as a "
        "face with a parting or anything with text.",
        also=("Flip aug", "Flip horizontally"),
    )
    masked_loss: bool = option(
        False,
        label="Masked loss",
        section=ADVANCED,
        help="Learn only the visible part of each picture: what its mask in the Mask folder leaves visible, or its "
        "own transparency if there is no mask.",
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    mask_dir: str = option(
        "",
        widget="folder",
        label="Mask folder",
        section=ADVANCED,
        help="Masks with the same file names as the training pictures, in sub-folders of the same names or all in one "
        "folder. White is learned, black is ignored, gray counts partly. Leave empty to use transparency.",
        applies_when={"masked_loss": (True,)},
        also=("Masks", "conditioning_data_dir"),
        ours=True,
    )
    skip_cache_check: bool = option(
        False,
        label="Skip cache check",
        section=ADVANCED,
        help="Trust existing cache files without checking them against their pictures and the VAE.",
        applies_when={"cache_latents_to_disk": (True,)},
    )
    max_data_loader_n_workers: int = option(
        0,
        ge=0,
        label="Max num workers for DataLoader",
        section=ADVANCED,
        help="Threads that load pictures or cache files ahead of time; 0 picks a number that suits this machine.",
    )
    persistent_data_loader_workers: bool = option(
        False,
        label="Persistent data loader",
        section=ADVANCED,
        help="Keep the data loading processes alive between epochs.",
        standing=maps("threads that load pictures ahead throughout the run"),
        also=("Persistent data loading",),
    )

    def size(self) -> tuple[int, int]:
        """max_resolution as (width, height) in pixels; one number means a square.

        Raises ValueError with a sentence for people where it is not one or two whole numbers.
        """
        parts = [part.strip() for part in self.max_resolution.replace("x", ",").split(",")]
        if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(
                f"Max resolution is {self.max_resolution!r}; enter width,height in pixels, such as 512,512."
            )
        return int(parts[0]), int(parts[-1])

    def face_range(self) -> tuple[float, float] | None:
        """face_crop_aug_range as (least, most), both above 0; None where it is empty.

        Raises ValueError with a sentence for people.
        """
        said = self.face_crop_aug_range.strip()
        if not said:
            return None
        try:
            least, most = (float(part) for part in said.split(","))
        except ValueError:
            least, most = 0.0, 0.0
        if not 0 < least <= most < math.inf:
            raise ValueError(f"Face crop range is {said!r}; enter min,max, such as 2.0,4.0, or leave it empty.")
        return least, most

    def keeps_latents(self) -> bool:
        """Pictures are encoded once, and their latents kept in memory or in files."""
        return self.cache_latents or self.cache_latents_to_disk

    def caption_ending(self) -> str:
        """caption_extension with its dot; empty means .caption, as in kohya_ss."""
        ending = self.caption_extension.strip()
        return f".{ending.removeprefix('.')}" if ending else ".caption"
