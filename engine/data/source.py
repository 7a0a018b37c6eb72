"""A picture to encode, with everything that determines its latent.  Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.data.buckets import Placed
from engine.data.faces import Face, face_of
from engine.data.masks import Masks
from engine.settings.dataset import Dataset


@dataclass(frozen=True)
class Source:
    """mask: its mask picture, if there is one.  masked: whether that counts, or without one the picture's transparency.
    flips, random_crop, color_aug: how it varies each time.
    face: what it is cropped around, if requested and known.
    """

    picture: Path
    place: Placed
    mask: Path | None = None
    masked: bool = False
    flips: bool = False
    random_crop: bool = False
    color_aug: bool = False
    face: Face | None = None

    @classmethod
    def of(cls, picture: Path, place: Placed, settings: Dataset, masks: Masks | None = None) -> Source:
        """From the settings."""
        masked, bounds = settings.masked_loss, settings.face_range()
        return cls(
            picture,
            place,
            masks.of(picture) if masks and masked else None,
            masked,
            settings.flip_aug,
            settings.random_crop,
            settings.color_aug,
            face_of(picture, place.original, bounds) if bounds and not settings.enable_bucket else None,
        )
