"""How pictures and captions are read."""

from __future__ import annotations

import math

from engine.settings.option import Group, maps, option

BASIC = "Parameters/Basic"

ADVANCED = "Parameters/Advanced"


class Dataset(Group):
    max_resolution: str = option(
        "512,512",
        label="Max resolution",
        section=BASIC,
        help="Width,height in pixels. With buckets it says how large pictures are, whatever their shape; without, they "
        "are scaled to cover it and cropped around the centre. 512,512 suits SD 1 models.",
        also=("Resolution", "Training resolution"),
    )
    caption_extension: str = option(
        ".txt",
        label="Caption file extension",
        section=BASIC,
        help="Ending of the caption files beside the pictures; empty means .caption. A picture without "
        "one is described by its folder's words.",
        suggestions=(".txt", ".caption", ".cap"),
        also=("Caption Extension",),
    )
    cache_latents: bool = option(
        True,
        label="Cache latents",
        section=BASIC,
        help="Encode every picture once before training and keep the result in memory: faster, and the VAE "
        "then leaves the GPU.",
    )
    vae_batch_size: int = option(
        0,
        ge=0,
        le=32,
        step=1,
        widget="slider",
        label="VAE batch size",
        section="Parameters/Advanced",
        help="Pictures encoded at a time while caching; 0 means as many as the train batch size.",
    )
    cache_latents_to_disk: bool = option(
        False,
        label="Cache latents to disk",
        section=BASIC,
        help="Keep the encoded pictures in files beside them instead of in memory, so that the next run starts at "
        "once. The files are those of sd-scripts.",
    )
    enable_bucket: bool = option(
        True,
        label="Enable buckets",
        section=BASIC,
        help="Sort pictures by shape into buckets, so that tall and wide ones are trained in their own shape instead "
        "of being cropped to one.",
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
        help="No side of a bucket is shorter than this, in pixels.",
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
        help="No side of a bucket is longer than this, in pixels.",
        applies_when={"enable_bucket": (True,)},
        also=("Maximum Bucket Resolution",),
    )
    bucket_no_upscale: bool = option(
        True,
        label="Don't upscale bucket resolution",
        section=ADVANCED,
        help="Leave pictures that are smaller than the training size at their own size instead of enlarging them.",
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
        help="Sides of buckets are multiples of this, in pixels. 64 is usual; smaller ones crop less and spread the "
        "pictures over more buckets.",
        applies_when={"enable_bucket": (True,)},
    )
    random_crop: bool = option(
        False,
        label="Random crop instead of center crop",
        section=ADVANCED,
        help="Crop at a random place each time instead of around the centre. Latents cannot be cached then.",
    )
    face_crop_aug_range: str = option(
        "",
        label="Face crop range",
        section=ADVANCED,
        help="Crop around the face that a picture's name tells (NAME_X_Y_WIDTH_HEIGHT: middle and size, in pixels), so "
        "that the crop is least,most times as large as the face, such as 2.0,4.0. Latents cannot be cached then.",
        applies_when={"enable_bucket": (False,)},
        also=("Face centred crop", "face_crop"),
        ours=True,
    )
    color_aug: bool = option(
        False,
        label="Color augmentation",
        section=ADVANCED,
        help="Vary hue or brightness a little in a third of the times a picture is seen. Latents cannot be cached "
        "then.",
        also=("Color aug",),
    )
    flip_aug: bool = option(
        False,
        label="Flip augmentation",
        section=ADVANCED,
        help="Show each picture mirrored half of the time. Not for what has a left and a right, such as a face with a "
        "parting.",
        also=("Flip aug", "Flip horizontally"),
    )
    masked_loss: bool = option(
        False,
        label="Masked loss",
        section=ADVANCED,
        help="Learn only what a picture's mask in the Mask folder, or without one its transparency, leaves visible.",
        methods=("dreambooth", "lora", "finetune"),
    )
    mask_dir: str = option(
        "",
        widget="folder",
        label="Mask folder",
        section=ADVANCED,
        help="Pictures named as the training pictures, in sub-folders named as theirs or all in one: white is learned, "
        "black is not, grey a little. Empty for transparency.",
        applies_when={"masked_loss": (True,)},
        also=("Masks", "conditioning_data_dir"),
        ours=True,
    )
    skip_cache_check: bool = option(
        False,
        label="Skip cache check",
        section=ADVANCED,
        help="Trust cache files that are there without comparing them with their pictures and the VAE.",
        applies_when={"cache_latents_to_disk": (True,)},
    )
    max_data_loader_n_workers: int = option(
        0,
        ge=0,
        label="Max num workers for DataLoader",
        section=ADVANCED,
        help="Threads that read pictures or their cache files before their step comes; 0 for as many as suit the "
        "machine.",
    )
    persistent_data_loader_workers: bool = option(
        False,
        label="Persistent data loader",
        section=ADVANCED,
        help="Keep the processes that read pictures from one epoch to the next.",
        standing=maps("threads that read pictures ahead for the whole of the run"),
        also=("Persistent data loading",),
    )

    def size(self) -> tuple[int, int]:
        """max_resolution as (width, height) in pixels; one number means a square.

        Raises ValueError with a sentence for people where it is not one or two whole numbers.
        """
        parts = [part.strip() for part in self.max_resolution.replace("x", ",").split(",")]
        if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(
                f"Max resolution is {self.max_resolution!r}; write width,height in pixels, such as 512,512."
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
            raise ValueError(f"Face crop range is {said!r}; write least,most, such as 2.0,4.0, or nothing.")
        return least, most

    def keeps_latents(self) -> bool:
        """Pictures are encoded once, and their latents kept in memory or in files."""
        return self.cache_latents or self.cache_latents_to_disk

    def caption_ending(self) -> str:
        """caption_extension with its dot; empty means .caption, as in kohya_ss."""
        ending = self.caption_extension.strip()
        return f".{ending.removeprefix('.')}" if ending else ".caption"
