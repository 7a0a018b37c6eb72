"""A cache file that holds NaN is not learned from, and its picture is named: one such batch would ruin all weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data.batches import MicroBatch
from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.kept import OnDisk
from engine.data.latent_files import LatentFormat, Wanted
from engine.data.source import Source
from engine.failure import Failure
from engine.settings.dataset import Dataset
from tests.pictures import draw_pictures

SD = LatentFormat("_sd.npz", by_size=False)
FLUX = LatentFormat("_flux.npz", by_size=True)
PLACE = Placed((64, 64), (64, 64), original=(64, 64))


def mean_colours(pixels: torch.Tensor, _: object) -> torch.Tensor:
    """A VAE's stand-in: (B, 3, h, w), the mean colour of 8×8 pixels."""
    return torch.nn.functional.avg_pool2d(pixels, 8)


def kept_of(folder: Path, form: LatentFormat, **changes: bool) -> tuple[Latents, OnDisk]:
    settings = Dataset(**changes)
    kept = OnDisk(form, Wanted("vae", settings.skip_cache_check))
    sources = [Source.of(picture, PLACE, settings) for picture in sorted(folder.glob("*.png"))]
    return Latents(sources, mean_colours, kept), kept


def encode(latents: Latents) -> int:
    lacking = latents.lacking()
    latents.cache(lacking, 2, 7, lambda done, total: None)
    return len(lacking)


def by_another_program(folder: Path, form: LatentFormat, number: float, key: str) -> Path:
    """The second picture's file as sd-scripts writes it, without our stamp, and with this number in one place."""
    file = folder / f"01_0064x0064{form.suffix}"
    with np.load(file) as opened:
        arrays = {name: opened[name] for name in opened.files if not name.startswith("darkroom")}
    name = next(name for name in arrays if name.removesuffix("_8x8") == key)
    arrays[name][0, 3, 5] = number
    np.savez(file, **arrays)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "1_a", 3)


@pytest.mark.parametrize("form", [SD, FLUX], ids=["sd", "flux"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["latents", "latents_flipped"])
def test_another_programs_is_encoded_anew_and_its_picture_named(
    folder: Path, form: LatentFormat, number: float, key: str
):
    encode(kept_of(folder, form, flip_aug=True)[0])
    file = by_another_program(folder, form, number, key)
    latents, kept = kept_of(folder, form, flip_aug=True)
    assert encode(latents) == 1
    assert kept.files.without_numbers == {folder / "01.png"}
    with np.load(file) as opened:
        assert all(np.isfinite(opened[name]).all() for name in opened.files if name.startswith("latents"))
    again, kept = kept_of(folder, form, flip_aug=True)
    assert (encode(again), kept.files.without_numbers) == (0, set())


def test_one_that_holds_numbers_is_taken(folder: Path):
    encode(kept_of(folder, SD)[0])
    by_another_program(folder, SD, 3.5, "latents")
    latents, kept = kept_of(folder, SD)
    assert encode(latents) == 0
    assert (len(kept.files.foreign), kept.files.without_numbers) == (1, set())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_one_that_is_not_to_be_compared_is_not_shown(folder: Path, number: float):
    encode(kept_of(folder, SD)[0])
    file = by_another_program(folder, SD, number, "latents")
    latents, _ = kept_of(folder, SD, skip_cache_check=True)
    assert encode(latents) == 0
    loaded = latents.read(MicroBatch((0, 1, 2), 1.0, 7, 1, 0))
    assert loaded.missed == {folder / "01.png": f"its cache file {file.name} contains NaN values; delete it"}
    assert loaded.pictures == (0, 2, 2)
    assert latents.shown(loaded).latents.isfinite().all()


def test_one_that_is_spoilt_during_the_run_is_not_shown(folder: Path):
    latents, _ = kept_of(folder, SD, skip_cache_check=True)
    encode(latents)
    by_another_program(folder, SD, float("nan"), "latents")
    assert latents.read(MicroBatch((1,), 1.0, 7, 1, 0)).pictures == (2,)


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_the_vae_itself_makes_no_numbers_of_is_named(folder: Path, on_disk: bool):
    def overflows(pixels: torch.Tensor, _: object) -> torch.Tensor:
        made = mean_colours(pixels, _)
        made[1 % len(made)] /= 0
        return made

    sources = [Source.of(picture, PLACE, Dataset()) for picture in sorted(folder.glob("*.png"))]
    latents = Latents(sources, overflows, OnDisk(SD, Wanted("vae")) if on_disk else None)

    def show() -> object:
        return encode(latents) if on_disk else latents.shown(latents.read(MicroBatch((0, 1), 1.0, 7, 1, 0)))

    with pytest.raises(Failure, match=r"The VAE returns NaN for .*01\.png") as failed:
        show()
    assert failed.value.option == "mixed_precision"
    assert not list(folder.glob("*.npz"))
