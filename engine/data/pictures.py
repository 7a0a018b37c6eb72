"""A picture file → pixels of the training size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.data.buckets import Placed
from engine.failure import Failure


def read_picture(file: Path, place: Placed) -> Tensor:
    """Turn upright by EXIF, scale, and crop around the centre to the bucket.

    Returns (3, height, width) in [-1, 1].  Raises Failure naming the file where it cannot be decoded.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            resized = upright.resize(place.resized, Image.Resampling.LANCZOS)
    except Exception as error:  # pillow's decoders raise many kinds
        raise Failure(
            f"The picture {file} cannot be read: {error}.", "Remove or replace it.", "train_data_dir"
        ) from error
    width, height = place.bucket
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    array = np.asarray(resized.crop((left, top, left + width, top + height)), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
