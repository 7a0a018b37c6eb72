"""Sizes as sd-scripts chooses them; the numbers in tables are its own answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.buckets import Buckets, Placed

SQUARE = 512 * 512


@pytest.mark.shows("min_bucket_reso", "max_bucket_reso")
@pytest.mark.parametrize(
    ("picture", "bucket", "resized"),
    [
        ((512, 512), (512, 512), (512, 512)),
        ((1024, 1024), (512, 512), (512, 512)),
        ((768, 512), (640, 384), (640, 427)),
        ((1920, 1080), (640, 384), (683, 384)),
        ((480, 640), (448, 576), (448, 597)),
        ((300, 300), (512, 512), (512, 512)),
        ((257, 255), (512, 512), (516, 512)),
        ((100, 900), (256, 1024), (256, 2304)),
        ((6000, 1000), (1024, 256), (1536, 256)),
        ((850, 1200), (448, 576), (448, 632)),
    ],
)
def test_pictures_are_scaled_to_the_nearest_aspect(picture: tuple, bucket: tuple, resized: tuple):
    assert Buckets(SQUARE, 64, 256, 1024).place(picture) == Placed(bucket, resized)


@pytest.mark.shows("bucket_no_upscale", "bucket_reso_steps")
@pytest.mark.parametrize(
    ("picture", "steps", "bucket", "resized"),
    [
        # Worked out by hand: small ones keep their size and are cut to steps; 1536 × 1024 shrinks to about
        # 627 × 418, of which 640 × 427 (1.667 against 1.5) errs more than 576 × 384 (1.5 exactly).
        ((300, 300), 64, (256, 256), (300, 300)),
        ((500, 333), 64, (448, 320), (500, 333)),
        ((500, 333), 8, (496, 328), (500, 333)),
        ((1536, 1024), 64, (576, 384), (576, 384)),
        ((40, 30), 64, (64, 64), (85, 64)),
    ],
)
def test_pictures_that_are_not_scaled_up(picture: tuple, steps: int, bucket: tuple, resized: tuple):
    assert Buckets(SQUARE, steps, upscale=False).place(picture) == Placed(bucket, resized)


@given(
    st.integers(1, 10_000), st.integers(1, 10_000), st.sampled_from([8, 32, 64]), st.sampled_from([512, 768, 1024]),
    st.booleans(),
)  # fmt: skip
def test_every_picture_covers_its_bucket_and_every_bucket_is_of_steps(width, height, steps, side, upscale):
    place = Buckets(side * side, steps, upscale=upscale).place((width, height))
    assert all(size % steps == 0 and size > 0 for size in place.bucket)
    assert place.resized[0] >= place.bucket[0]
    assert place.resized[1] >= place.bucket[1]
    assert 0 <= place.cropped_away() < 1


@pytest.mark.parametrize(("side", "picture"), [(64, (96, 64)), (256, (100, 3000)), (128, (3100, 100))])
def test_a_picture_too_narrow_for_a_step_gets_a_bucket_of_one_step(side: int, picture: tuple[int, int]):
    place = Buckets(side * side, upscale=False).place(picture)
    assert min(place.bucket) == 64
    assert all(bucket <= scaled for bucket, scaled in zip(place.bucket, place.resized, strict=True))
