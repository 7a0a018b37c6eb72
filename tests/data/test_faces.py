"""Crops around a face whose place the picture's name tells; numbers are worked out by hand from sd-scripts' rule."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data.batches import MicroBatch
from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.faces import Face, Window, face_of, window
from engine.data.pictures import read_masked
from engine.data.source import Source
from engine.data.views import view_of
from engine.settings.dataset import Dataset


@pytest.mark.parametrize(
    ("name", "face"),
    [
        ("cat_120_80_64_72.png", Face((120, 80), 72, 2, 4)),
        ("a_b_0120_0080_0064_0032.png", Face((120, 80), 64, 2, 4)),
        ("cat_120_80_64_72 (copy).png", None),
        ("120_80_64_72.png", None),  # sd-scripts wants something before it
        ("cat_80_64_72.png", None),
        ("cat_0_80_64_72.png", None),  # what sd-scripts takes for none
        ("cat_120_80_0_0.png", None),
        ("photo_2024_11_21_20.png", None),  # no place within the picture
    ],
)
def test_a_face_is_told_by_the_pictures_name(name: str, face: Face | None):
    assert face_of(Path("x") / name, (640, 480), (2, 4)) == face


@pytest.mark.parametrize(
    ("centre", "side", "factor", "expected"),
    [
        # 256 / (64 · 2) = 2 would enlarge it: own size; the middle 500 − 128, 300 − 128
        ((500, 300), 64, 2, Window((1000, 800), (372, 172))),
        # 256 / (160 · 3.2) = 0.5; the middle is 250 and 150
        ((500, 300), 160, 3.2, Window((500, 400), (122, 22))),
        # 256 / (400 · 4) = 0.16 would not cover it: 256 / 800 = 0.32 does; 160 − 128 across, nothing to spare below
        ((500, 300), 400, 4, Window((320, 256), (32, 0))),
        # at the edge, 500 · 0.5 is all there is
        ((990, 10), 160, 3.2, Window((500, 400), (244, 0))),
    ],
)
def test_a_crop_is_so_many_times_as_large_as_the_face(centre, side, factor, expected):
    face = Face(centre, side, factor, factor)
    assert window(face, (1000, 800), (256, 256), anywhere=False, rng=random.Random(0)) == expected


def test_between_the_bounds_every_size_and_some_places_occur():
    """A face of 100 and crops of 256: scales of 256/(100·4) = 0.64 to 256/(100·2.56) = 1; nudged by 100 // 20 = 5."""
    face = Face((500, 400), 100, 2.56, 4)
    found = [window(face, (1000, 800), (256, 256), False, random.Random(seed)) for seed in range(500)]
    assert (min(one.resized[0] for one in found), max(one.resized[0] for one in found)) == (
        pytest.approx(640, abs=4), pytest.approx(1000, abs=4),
    )  # fmt: skip
    off = {one.corner[0] - (int(500 * one.resized[0] / 1000 + 0.5) - 128) for one in found}
    assert {-5, 5} <= off <= set(range(-6, 7))  # and a pixel of rounding
    still = Face((500, 400), 39, 2.56, 4)  # too small to be moved
    corners = {window(still, (1000, 800), (256, 256), False, random.Random(seed)).corner for seed in range(50)}
    assert corners == {(372, 272)}


def test_with_random_crop_the_face_lies_anywhere_but_more_often_in_the_middle():
    """Two draws of 0 … 500 less 500: a triangle around the middle; what would be outside is moved in."""
    face = Face((500, 400), 200, 1.28, 1.28)
    lefts = [window(face, (1000, 800), (256, 256), True, random.Random(seed)).corner[0] for seed in range(2000)]
    assert (min(lefts), max(lefts)) == (0, 1000 - 256)
    near = sum(abs(left - 372) <= 100 for left in lefts) / 2000
    # Of a triangle of half width 500 there lies within ±100: 1 − (400/500)² = 0.36; deviation 0.011
    assert near == pytest.approx(0.36, abs=0.04)


@pytest.mark.parametrize("size", [(100, 60), (256, 256), (3000, 257), (257, 3000), (1, 1)])
@pytest.mark.parametrize("bucket", [(256, 256), (320, 192)])
def test_every_picture_covers_its_crop(size: tuple[int, int], bucket: tuple[int, int]):
    rng = random.Random(0)
    for side in (1, 50, 5000):
        for anywhere in (False, True):
            made = window(Face((size[0] // 2, 0), side, 0.5, 9), size, bucket, anywhere, rng)
            for start, wanted, scaled in zip(made.corner, bucket, made.resized, strict=True):
                assert 0 <= start <= scaled - wanted


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    """A red face of 40 × 40 around (150, 60) in 200 × 100 pixels of blue, transparent left of 100."""
    picture = tmp_path / "cat_150_60_40_40.png"
    pixels = np.zeros((100, 200, 4), np.uint8)
    pixels[:, :, 2] = 255
    pixels[:, 100:, 3] = 255
    pixels[40:80, 130:170] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(picture)
    return picture


PLACE = Placed((64, 64), (128, 64), original=(200, 100))


@pytest.mark.shows("face_crop_aug_range")
def test_a_picture_is_shown_around_its_face(portrait: Path):
    """2 times a face of 40 is 80: scaled by 64/80 to 160 × 80, the face is 32 wide and lies around (120, 48)."""
    settings = Dataset(face_crop_aug_range="2,2", enable_bucket=False, masked_loss=True)
    source = Source.of(portrait, PLACE, settings)
    view = view_of(source, random.Random(5))
    assert view.window == Window((160, 80), (88, 16))
    pixels, mask = read_masked(portrait, PLACE, view)
    assert pixels.shape == (3, 64, 64)
    red = pixels[0] > 0
    assert red.nonzero().min(0).values.tolist() == [16, 16]
    assert red.nonzero().max(0).values.tolist() == [47, 47]
    assert mask.min() == 1  # left of 80 it would be transparent
    flipped = Source.of(portrait, PLACE, settings.model_copy(update={"flip_aug": True}))
    views = [view_of(flipped, random.Random(seed)) for seed in range(20)]
    assert {one.window for one in views} == {view.window}
    assert {one.flipped for one in views} == {True, False}


def test_around_a_face_sdxl_is_told_of_a_picture_that_is_whole(portrait: Path):
    """sd-scripts: its size is the training size, and nothing is cut off."""
    batch = MicroBatch((0,), 1.0, 3, 1, 0)

    def told(settings: Dataset) -> list[int]:
        return Latents([Source.of(portrait, PLACE, settings)], lambda p, _: p).read(batch).sizes[0].tolist()

    assert told(Dataset(face_crop_aug_range="2,4", enable_bucket=False)) == [64, 64, 0, 0, 64, 64]
    assert told(Dataset(enable_bucket=False))[:2] == [100, 200]
    assert told(Dataset(face_crop_aug_range="2,4"))[:2] == [100, 200]  # with buckets it does nothing, as there


@pytest.mark.parametrize("text", ["2", "4,2", "0,2", "a,b", "1,2,3", "nan,2", "1,inf", ","])
def test_a_range_is_two_numbers(text: str):
    with pytest.raises(ValueError, match="enter min,max"):
        Dataset(face_crop_aug_range=text).face_range()
    assert Dataset(face_crop_aug_range=" 1, 2.5 ").face_range() == (1, 2.5)
    assert Dataset().face_range() is None
