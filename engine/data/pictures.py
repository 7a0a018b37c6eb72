"""A picture file → pixels of the training size, and its mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.data.buckets import Placed
from engine.data.examining import reason
from engine.data.opening import read_upright
from engine.data.views import View, coloured
from engine.failure import Failure

CENTRED = View()


class UnreadablePicture(Failure):
    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"The picture {file} cannot be read: {why}.", "Remove or replace it.", "train_data_dir")
        self.file, self.why = file, why


def read_picture(file: Path, place: Placed, view: View = CENTRED) -> Tensor:
    """Rotate upright by EXIF, scale, crop to the bucket, flip and vary the colour according to the view.

    Returns (3, height, width) in [-1, 1].  Raises UnreadablePicture.
    """
    return _pixels(_cropped(file, place, view), view)


def read_masked(
    file: Path, place: Placed, view: View = CENTRED, mask_file: Path | None = None
) -> tuple[Tensor, Tensor]:
    """read_picture() and its mask, (height, width) in [0, 1]: the red of the mask's picture, or without one the
    transparency of the picture itself. The mask is scaled, cropped and flipped like the picture.
    """
    image = _cropped(file, place, view, alpha=True)
    mask = image.getchannel("A") if mask_file is None else _cropped(mask_file, place, view).getchannel("R")
    return _pixels(image.convert("RGB"), view), torch.from_numpy(np.asarray(mask, dtype=np.float32)) / 255


def _cropped(file: Path, place: Placed, view: View, alpha: bool = False) -> Image.Image:
    place = view.placed(place)
    try:
        resized = read_upright(file, place.resized, alpha)
    except Exception as error:  # pillow's decoders raise many kinds of errors
        raise UnreadablePicture(file, reason(error)) from error
    width, height = place.bucket
    spare = resized.width - width, resized.height - height
    left, top = (
        room // 2 if view.crop is None else int(view.crop[axis] * (room + 1)) for axis, room in enumerate(spare)
    )
    if view.window:
        left, top = view.window.corner
    cropped = resized.crop((left, top, left + width, top + height))
    return cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flipped else cropped


def _pixels(image: Image.Image, view: View) -> Tensor:
    array = np.asarray(coloured(image, view), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
