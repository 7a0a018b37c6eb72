"""The pictures that sample prompts name, as a starting point for samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.data.examining import reason
from engine.data.opening import in_eight_bits, opened
from engine.failure import Failure
from engine.models.extra_channels import InitImage
from engine.settings.samples import SamplePrompt


def init_image_of(prompt: SamplePrompt, width: int, height: int) -> InitImage:
    """Scaled until they cover width × height pixels, and cropped around the middle.  Raises Failure."""
    picture = _read(prompt.picture, width, height) if prompt.picture else None
    mask = _read(prompt.mask, width, height) if prompt.mask else None
    return InitImage(
        None if picture is None else picture / 127.5 - 1,
        None if mask is None else (mask[:, :1] > 127).float(),
    )


def _read(file: str, width: int, height: int) -> Tensor:
    """(1, 3, height, width) in [0, 255]."""
    try:
        with opened(Path(file).expanduser()) as image:
            upright = in_eight_bits(ImageOps.exif_transpose(image))
        fitted = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)
    except Exception as error:  # pillow's decoders raise many kinds of errors
        raise Failure(
            f"The picture {file} of a sample prompt cannot be read: {reason(error)}.",
            "Correct its path, or remove it from the prompt.",
            "sample_prompts",
        ) from error
    return torch.from_numpy(np.asarray(fitted, dtype=np.float32)).permute(2, 0, 1)[None]
