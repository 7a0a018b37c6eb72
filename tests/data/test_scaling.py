"""Pictures are scaled as sd-scripts scales them: by area where they shrink, by Lanczos' filter where they grow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.data.buckets import Placed
from engine.data.latent_files import LatentFiles, LatentFormat, Wanted
from engine.data.opening import read_for_a_look, read_upright
from engine.data.scaling import by_area, scaled, shrinks
from engine.data.source import Source


def pattern(width: int, height: int) -> np.ndarray:
    places = np.arange(width * height)
    return ((places * 37 + 11 * (places % 5)) % 256).astype(np.uint8).reshape(height, width, 1)


@pytest.mark.parametrize(
    ("before", "after", "by_opencv"),
    [
        ((7, 5), (3, 2), [[48, 137, 173], [61, 141, 186]]),
        ((5, 4), (4, 3), [[56, 88, 107, 165], [159, 166, 70, 76], [70, 128, 147, 179]]),
        ((9, 2), (2, 1), [[110, 104]]),
        ((4, 4), (2, 2), [[106, 125], [102, 92]]),
        (
            (6, 6),
            (6, 5),
            [
                [39, 44, 92, 140, 179, 181],
                [225, 17, 65, 95, 106, 154],
                [198, 118, 139, 32, 80, 128],
                [172, 183, 213, 175, 53, 101],
                [99, 138, 186, 234, 26, 28],
            ],
        ),
    ],
)
def test_shrinking_is_opencvs_by_area(before: tuple[int, int], after: tuple[int, int], by_opencv: list[list[int]]):
    """Beside cv2.resize(…, INTER_AREA) of opencv-python 5.0, which rounds halves up where sides divide."""
    assert np.abs(by_area(pattern(*before), after)[:, :, 0].astype(int) - by_opencv).max() <= (before == (4, 4))


def test_by_hand_a_pixel_is_the_mean_of_what_it_covers():
    """Three pixels to two: the first whole and half of the second; half of the second and the third whole."""
    row = np.array([[[0], [90], [210]]], np.uint8)
    assert by_area(row, (2, 1)).ravel().tolist() == [30, 170]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(0, 255))
def test_one_colour_stays_what_it_is_at_any_size(width: int, height: int, to_width: int, to_height: int, colour: int):
    image = Image.new("RGB", (width, height), (colour, 0, 255))
    assert np.unique(np.asarray(scaled(image, (to_width, to_height))).reshape(-1, 3), axis=0).tolist() == [
        [colour, 0, 255]
    ]


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_mean_of_all_stays(width: int, height: int, data: st.DataObject):
    size = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    assert abs(by_area(pattern(width, height), size).mean() - pattern(width, height).mean()) <= 0.5


def test_growing_is_pillows_lanczos_also_where_one_side_shrinks():
    image = Image.fromarray(pattern(40, 30)[:, :, 0]).convert("RGB")
    for size in ((80, 60), (41, 30), (20, 31)):
        assert not shrinks(image.size, size)
        assert scaled(image, size).tobytes() == image.resize(size, Image.Resampling.LANCZOS).tobytes()


def test_transparency_is_scaled_beside_the_colours_below_it():
    """As OpenCV does with four channels: colours of what is transparent neither vanish nor weigh less."""
    image = Image.new("RGBA", (4, 2), (200, 100, 0, 0))
    image.paste((0, 100, 200, 255), (2, 0, 4, 2))
    assert np.asarray(scaled(image, (2, 1))).tolist() == [[[200, 100, 0, 0], [0, 100, 200, 255]]]
    assert np.asarray(scaled(image, (1, 1))).tolist() == [[[100, 100, 100, 128]]]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_file_is_scaled_from_all_of_its_pixels(tmp_path: Path, kind: str):
    """No decoder's shortcut comes before it."""
    waves = np.indices((600, 800)).sum(axis=0)
    large = Image.fromarray((127.5 + 120 * np.sin(waves / 9)).astype(np.uint8)).convert("RGB")
    large.save(tmp_path / f"a.{kind}", quality=95)
    with Image.open(tmp_path / f"a.{kind}") as whole:
        exact = by_area(np.asarray(whole.convert("RGB")), (100, 75))
    assert np.array_equal(np.asarray(read_upright(tmp_path / f"a.{kind}", (100, 75))), exact)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_for_a_look_a_large_picture_is_scaled_soon_and_yet_well(tmp_path: Path, kind: str):
    """Beside pillow's plain Lanczos at full size; of the 255 steps of a colour."""
    waves = np.indices((1200, 1600)).sum(axis=0)
    large = Image.fromarray((127.5 + 120 * np.sin(waves / 9)).astype(np.uint8)).convert("RGB")
    large.save(tmp_path / f"a.{kind}", quality=95)
    with Image.open(tmp_path / f"a.{kind}") as whole:
        fair = np.asarray(whole.resize((256, 192), Image.Resampling.LANCZOS), np.float32)
    soon = np.asarray(read_for_a_look(tmp_path / f"a.{kind}", (256, 192)), np.float32)
    assert np.sqrt(((soon - fair) ** 2).mean()) < 2.5


class TestCachedLatents:
    """Those that were made of pictures shrunk by Lanczos' filter, of which the stamp says nothing, are made anew."""

    FORM = LatentFormat("_sd.npz", by_size=False)

    def kept(self, tmp_path: Path, place: Placed) -> tuple[Path, Source]:
        Image.new("RGB", place.original, "red").save(tmp_path / "a.png")
        source = Source(tmp_path / "a.png", place)
        files = LatentFiles(self.FORM, Wanted("vae"))
        assert files.lacking([source]) == [source]
        files.write(source, np.zeros((4, 8, 8), np.float32))
        assert LatentFiles(self.FORM, Wanted("vae")).lacking([source]) == []
        return next(tmp_path.glob("*.npz")), source

    def with_the_stamp_of_before(self, file: Path) -> bool:
        """Whether it said anything that it did not say before."""
        with np.load(file) as opened:
            arrays = dict(opened)
        stamp = json.loads(str(arrays["darkroom"]))
        had = stamp.pop("shrunk", None)
        arrays["darkroom"] = np.array(json.dumps(stamp))
        np.savez(file, **arrays)
        return had is not None

    def test_of_a_picture_that_shrinks_they_do_not_fit(self, tmp_path: Path):
        file, source = self.kept(tmp_path, Placed((64, 64), (64, 64), original=(200, 200)))
        assert self.with_the_stamp_of_before(file)
        assert LatentFiles(self.FORM, Wanted("vae")).lacking([source]) == [source]

    @pytest.mark.parametrize("original", [(64, 64), (40, 40)])
    def test_of_one_that_does_not_they_do(self, tmp_path: Path, original: tuple[int, int]):
        file, source = self.kept(tmp_path, Placed((64, 64), (64, 64), original=original))
        assert not self.with_the_stamp_of_before(file)
        assert LatentFiles(self.FORM, Wanted("vae")).lacking([source]) == []
