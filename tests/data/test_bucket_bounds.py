"""Bounds of buckets that are no multiple of their steps are rounded as sd-scripts rounds them, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.check.check import check
from engine.data.placing import bucket_bounds, buckets_of
from engine.settings.dataset import Dataset
from engine.settings.training import TrainingSettings


def dataset(least: int, most: int, steps: int = 64, size: str = "512,512") -> Dataset:
    return Dataset(
        max_resolution=size,
        min_bucket_reso=least,
        max_bucket_reso=most,
        bucket_reso_steps=steps,
        bucket_no_upscale=False,
    )


@pytest.mark.parametrize(
    ("least", "most", "steps", "rounded"),
    [
        (300, 1000, 64, (256, 1024)),
        (256, 1024, 64, (256, 1024)),
        (257, 1025, 64, (256, 1088)),
        (100, 900, 32, (96, 928)),
        (319, 961, 64, (256, 1024)),
        (64, 512, 128, (128, 512)),  # sd-scripts would divide by 0
    ],
)
def test_the_shortest_side_goes_down_and_the_longest_up(least: int, most: int, steps: int, rounded: tuple[int, int]):
    assert bucket_bounds(dataset(least, most, steps)) == rounded


def test_a_bound_of_300_gives_no_size_of_its_own():
    """What sd-scripts' make_bucket_resolutions gives for 512², 256 to 1024 in steps of 64: not 300×832 nor 384×620."""
    assert set(buckets_of(dataset(300, 1000)).sizes) == {
        (256, 1024), (256, 960), (256, 896), (256, 832), (320, 768), (320, 704), (384, 640), (448, 576), (512, 512),
        (576, 448), (640, 384), (704, 320), (768, 320), (832, 256), (896, 256), (960, 256), (1024, 256),
    }  # fmt: skip


@given(st.integers(64, 512), st.integers(512, 4096), st.integers(1, 128))
def test_every_side_of_every_bucket_is_of_steps(least: int, most: int, steps: int):
    found = buckets_of(dataset(least, most, steps))
    assert all(side % steps == 0 and side > 0 for size in found.sizes for side in size)


def test_the_check_says_so(settings: TrainingSettings):
    told = check(settings.with_values({"min_bucket_reso": 100, "max_bucket_reso": 1000, "bucket_no_upscale": False}))
    assert told.can_start
    assert [(problem.option, problem.what) for problem in told.problems] == [
        (
            "min_bucket_reso",
            "Minimum bucket resolution 100 is not a multiple of 64, the Bucket resolution steps: 64 is used, as in "
            "sd-scripts.",
        ),
        (
            "max_bucket_reso",
            "Maximum bucket resolution 1000 is not a multiple of 64, the Bucket resolution steps: 1024 is used, as in "
            "sd-scripts.",
        ),
    ]


@pytest.mark.parametrize("more", [{"bucket_no_upscale": True}, {"enable_bucket": False, "bucket_no_upscale": False}])
def test_where_they_do_not_count_there_is_nothing_to_say(settings: TrainingSettings, more: dict[str, bool]):
    assert check(settings.with_values({"min_bucket_reso": 100, **more})).problems == []


def test_of_a_dataset_config_it_is_said_beside_its_field(settings: TrainingSettings, tmp_path: Path):
    (tmp_path / "d.toml").write_text(
        "[[datasets]]\nresolution = 64\nenable_bucket = true\nbucket_no_upscale = false\nmin_bucket_reso = 100\n"
        "[[datasets.subsets]]\nimage_dir = 'img/2_shapes'\n"
    )
    (problem,) = check(settings.with_values({"dataset_config": str(tmp_path / "d.toml")})).problems
    assert problem.option == "dataset_config"
    assert "100 is not a multiple of 64" in problem.what
