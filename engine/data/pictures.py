"""A picture file → pixels of the training size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.failure import Failure


def read_picture(file: Path, width: int, height: int) -> Tensor:
    """Turn upright by EXIF, scale to cover width × height, crop around the centre.

    Returns (3, height, width) in [-1, 1].  Raises Failure naming the file where it cannot be decoded.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            fitted = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)
    except Exception as error:  # pillow's decoders raise many kinds
        raise Failure(
            f"The picture {file} cannot be read: {error}.", "Remove or replace it.", "train_data_dir"
        ) from error
    array = np.asarray(fitted, dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
