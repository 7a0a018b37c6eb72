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


SD1 = Buckets(SQUARE, 64, 256, 1024)
SDXL = Buckets(1024 * 1024, 64, 256, 2048, upscale=False)
WIDE = Buckets(768 * 512, 32, 256, 1536)
"""Training sizes of 512², of 1024² with small pictures at their own size, and of 768×512 in steps of 32."""


@pytest.mark.parametrize(
    ("buckets", "picture", "bucket", "resized"),
    [
        (SD1, (512, 512), (512, 512), (512, 512)),
        (SD1, (1024, 1024), (512, 512), (512, 512)),
        (SD1, (768, 512), (640, 384), (640, 427)),
        (SD1, (512, 768), (384, 640), (427, 640)),
        (SD1, (1920, 1080), (640, 384), (683, 384)),
        (SD1, (1080, 1920), (384, 640), (384, 683)),
        (SD1, (640, 480), (576, 448), (597, 448)),
        (SD1, (480, 640), (448, 576), (448, 597)),
        (SD1, (300, 300), (512, 512), (512, 512)),
        (SD1, (257, 255), (512, 512), (516, 512)),
        (SD1, (850, 1200), (448, 576), (448, 632)),
        (SD1, (1333, 2000), (384, 640), (427, 640)),
        (SD1, (4000, 3000), (576, 448), (597, 448)),
        (SD1, (3000, 1000), (832, 256), (832, 277)),
        (SDXL, (512, 512), (512, 512), (512, 512)),
        (SDXL, (1024, 1024), (1024, 1024), (1024, 1024)),
        (SDXL, (768, 512), (768, 512), (768, 512)),
        (SDXL, (512, 768), (512, 768), (512, 768)),
        (SDXL, (1920, 1080), (1344, 768), (1365, 768)),
        (SDXL, (1080, 1920), (768, 1344), (768, 1365)),
        (SDXL, (640, 480), (640, 448), (640, 480)),
        (SDXL, (480, 640), (448, 640), (480, 640)),
        (SDXL, (300, 300), (256, 256), (300, 300)),
        (SDXL, (257, 255), (256, 192), (257, 255)),
        (SDXL, (850, 1200), (832, 1152), (850, 1200)),
        (SDXL, (1333, 2000), (832, 1216), (832, 1248)),
        (SDXL, (4000, 3000), (1088, 832), (1109, 832)),
        (SDXL, (3000, 1000), (1728, 576), (1728, 576)),
        (WIDE, (512, 512), (608, 608), (608, 608)),
        (WIDE, (1024, 1024), (608, 608), (608, 608)),
        (WIDE, (768, 512), (768, 512), (768, 512)),
        (WIDE, (512, 768), (512, 768), (512, 768)),
        (WIDE, (1920, 1080), (832, 448), (832, 468)),
        (WIDE, (1080, 1920), (448, 832), (468, 832)),
        (WIDE, (640, 480), (704, 544), (725, 544)),
        (WIDE, (480, 640), (544, 704), (544, 725)),
        (WIDE, (300, 300), (608, 608), (608, 608)),
        (WIDE, (257, 255), (608, 608), (613, 608)),
        (WIDE, (850, 1200), (512, 736), (521, 736)),
        (WIDE, (1333, 2000), (512, 768), (512, 768)),
        (WIDE, (4000, 3000), (704, 544), (725, 544)),
        (WIDE, (3000, 1000), (1056, 352), (1056, 352)),
    ],
)  # fmt: skip
def test_sizes_of_every_kind_are_placed_as_sd_scripts_places_them(
    buckets: Buckets, picture: tuple, bucket: tuple, resized: tuple
):
    """What its BucketManager answers.  By hand, of each setting one:

    SD1, 1920×1080: aspect 1.778; the buckets 640×384 (1.667) and 704×320 (2.2) err by 0.111 and 0.422. The picture is
    wider than its bucket, so the height decides: 1920 · 384/1080 = 682.7.
    SDXL, 4000×3000: √(2²⁰ · 4/3) = 1182.4 and √(2²⁰ · 3/4) = 886.8. Down to steps of 64 the width is 1152, whose height
    864 becomes 832: 1.3846, an error of 0.051; the height is 832, whose width 1109.3 becomes 1088: 1.3077, an error of
    0.026, and so 1109×832 is cut to 1088×832.
    WIDE, 3000×1000: of 1056×352 (exactly 3) nothing is cut.
    """
    assert buckets.place(picture) == Placed(bucket, resized)


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
