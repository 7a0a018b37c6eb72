"""Latents on disk: files of sd-scripts and ours are each other's, only what is stale is made anew, nothing is half."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data import npz
from engine.data.batches import MicroBatch
from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.kept import OnDisk
from engine.data.latent_files import LatentFiles, LatentFormat, Wanted
from engine.data.source import Source
from engine.settings.dataset import Dataset
from tests.pictures import draw_pictures

SD = LatentFormat("_sd.npz", by_size=False, scale=0.5)
FLUX = LatentFormat("_flux.npz", by_size=True)
PLACE = Placed((64, 64), (64, 64), original=(64, 64))


def mean_colours(pixels: torch.Tensor, _: object) -> torch.Tensor:
    """A VAE's stand-in: (B, 3, h, w), the mean colour of 8×8 pixels."""
    return torch.nn.functional.avg_pool2d(pixels, 8)


def sources_in(folder: Path) -> list[Source]:
    return [Source(picture, PLACE) for picture in sorted(folder.glob("*.png"))]


def latents_of(sources: list[Source], form: LatentFormat = SD, vae: str = "a", **changes: bool) -> Latents:
    settings = Dataset(**changes)
    shown = [Source.of(source.picture, source.place, settings) for source in sources]
    return Latents(shown, mean_colours, OnDisk(form, Wanted(vae, settings.skip_cache_check)))


def encoded(latents: Latents) -> int:
    """Encode what is lacking; how many that were."""
    lacking = latents.lacking()
    latents.cache(lacking, 2, 7, lambda done, total: None)
    return len(lacking)


def shown(latents: Latents, *indices: int) -> torch.Tensor:
    return latents.shown(latents.read(MicroBatch(indices, 1.0, 7, 1, 0))).latents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "1_a", 3)


@pytest.mark.shows("cache_latents_to_disk")
def test_the_next_run_reads_what_the_first_encoded(folder: Path):
    first = latents_of(sources_in(folder))
    assert encoded(first) == 3
    names = {file.name for file in folder.iterdir() if file.suffix == ".npz"}
    assert names == {"00_0064x0064_sd.npz", "01_0064x0064_sd.npz", "02_0064x0064_sd.npz"}
    second = latents_of(sources_in(folder))
    assert encoded(second) == 0
    direct = Latents(sources_in(folder), mean_colours)
    torch.testing.assert_close(shown(second, 0, 1, 2), shown(direct, 0, 1, 2))


def test_the_file_is_what_sd_scripts_would_have_written(folder: Path):
    """Its keys, shapes and meanings, as read off its strategy_base.py: before the scaling factor, float32."""
    place = Placed((64, 32), (64, 48), original=(128, 96))
    source = Source(folder / "00.png", place)
    encoded(latents_of([source], flip_aug=True, masked_loss=True))
    with np.load(folder / "00_0128x0096_sd.npz") as file:
        assert {*file.files} == {"latents", "latents_flipped", "original_size", "crop_ltrb", "alpha_mask", "darkroom"}
        assert (file["latents"].dtype, file["latents"].shape) == (np.float32, (3, 4, 8))
        assert file["alpha_mask"].shape == (32, 64)
        assert file["original_size"].tolist() == [128, 96]
        # 4:3 within 64×32: a height of 32 has a width of 42.67; (64 − 42.67) // 2 = 10
        assert file["crop_ltrb"].tolist() == pytest.approx([10, 0, 10 + 128 / 3, 32])
        direct = Latents([source], mean_colours)
        np.testing.assert_allclose(file["latents"] * SD.scale, shown(direct, 0)[0], atol=1e-6)
        mirrored = mean_colours(direct.read(MicroBatch((0,), 1, 7, 1, 0)).pixels.flip(-1), None)[0]
        np.testing.assert_allclose(file["latents_flipped"] * SD.scale, mirrored, atol=1e-6)


def of_sd_scripts(file: Path, value: float = 0.25, end: str = "", **more: np.ndarray) -> None:
    """As np.savez writes it there."""
    arrays = {"latents": np.full((3, 8, 8), value, np.float32), "original_size": np.array([64, 64]),
              "crop_ltrb": np.array([0, 0, 64, 64])}  # fmt: skip
    np.savez(file, **{f"{name}{end}": array for name, array in arrays.items()}, **more)


@pytest.mark.parametrize(("form", "name", "end"), [
    (SD, "00_0064x0064_sd.npz", ""), (SD, "00.npz", ""), (FLUX, "00_0064x0064_flux.npz", "_8x8"),
])  # fmt: skip
def test_files_of_sd_scripts_are_used_and_told(folder: Path, form: LatentFormat, name: str, end: str):
    of_sd_scripts(folder / name, end=end)
    latents = latents_of(sources_in(folder)[:1], form)
    assert encoded(latents) == 0
    assert shown(latents, 0).unique().tolist() == [0.25 * form.scale]
    assert latents._kept.files.foreign == {folder / name}


def test_files_of_sd_scripts_that_cannot_be_right_are_not_used(folder: Path):
    sources = sources_in(folder)
    for source in sources:
        of_sd_scripts(folder / f"{source.picture.stem}_0064x0064_sd.npz")
    os.utime(sources[0].picture, (time.time() + 60,) * 2)  # changed since
    exif = Image.Exif()
    exif[0x0112] = 3  # sd-scripts leaves it on its head
    Image.open(sources[1].picture).save(sources[1].picture, exif=exif)
    os.utime(sources[1].picture, (0, 0))
    assert encoded(latents_of(sources)) == 2
    smaller = [Source(source.picture, Placed((32, 32), (32, 32), original=(64, 64))) for source in sources]
    assert encoded(latents_of(smaller)) == 3


def test_only_what_is_stale_is_encoded_again(folder: Path):
    sources = sources_in(folder)
    encoded(latents_of(sources))
    assert encoded(latents_of(sources, vae="another")) == 3
    assert encoded(latents_of(sources, vae="another", flip_aug=True)) == 3
    assert encoded(latents_of(sources, vae="another")) == 0
    Image.new("RGB", (64, 64)).save(sources[1].picture)
    assert encoded(latents_of(sources, vae="another", flip_aug=True)) == 1
    sources[2].picture.with_name("02_0064x0064_sd.npz").unlink()
    assert encoded(latents_of(sources, vae="another", flip_aug=True)) == 1
    cropped_elsewhere = [Source(source.picture, Placed((64, 64), (80, 64), original=(64, 64))) for source in sources]
    assert encoded(latents_of(cropped_elsewhere, vae="another")) == 3


def test_what_sd_scripts_writes_over_ours_no_longer_counts_as_ours(folder: Path):
    """It keeps the keys that it does not know, so our stamp stays in a file whose latents are others."""
    sources = sources_in(folder)[:1]
    encoded(latents_of(sources))
    file = folder / "00_0064x0064_sd.npz"
    with np.load(file) as old:
        of_sd_scripts(file, darkroom=old["darkroom"])
    latents = latents_of(sources)
    assert encoded(latents) == 0
    assert latents._kept.files.foreign == {file}


@pytest.mark.shows("skip_cache_check")
def test_without_the_check_files_are_taken_as_they_are(folder: Path):
    sources = sources_in(folder)
    encoded(latents_of(sources))
    assert encoded(latents_of(sources, vae="another", skip_cache_check=True)) == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "garbled", "no zip"])
def test_a_damaged_file_is_made_anew(folder: Path, damage: str):
    sources = sources_in(folder)[:1]
    encoded(latents_of(sources))
    file = folder / "00_0064x0064_sd.npz"
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:200], "empty": b"", "no zip": b"<html>" * 99}.get(damage, whole))
    if damage == "garbled":  # within the latents: found out when they are read
        file.write_bytes(whole[:300] + b"?" * 40 + whole[340:])
        with pytest.raises(ValueError, match="damaged"), npz.Npz(file) as opened:
            opened.read("latents")
    else:
        assert encoded(latents_of(sources)) == 1


def test_a_kill_while_writing_leaves_the_old_file_and_nothing_is_done_twice(folder: Path, monkeypatch):
    sources = sources_in(folder)
    latents = latents_of(sources)
    written = []
    original = zipfile.ZipFile.writestr

    def killed(self: zipfile.ZipFile, *arguments: object) -> None:
        written.append(arguments)
        if len(written) == 10:  # within the third file
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", killed)
    with pytest.raises(KeyboardInterrupt):
        encoded(latents)
    monkeypatch.undo()
    assert len(list(folder.glob("*.npz"))) == 2
    assert encoded(latents_of(sources)) == 1


def test_a_file_of_several_sizes_keeps_the_others(folder: Path):
    source = sources_in(folder)[0]
    small = Source(source.picture, Placed((32, 32), (32, 32), original=(64, 64)))
    of_sd_scripts(folder / "00_0064x0064_flux.npz", end="_16x16")
    assert encoded(latents_of([source], FLUX)) == 1
    assert encoded(latents_of([small], FLUX)) == 1
    assert encoded(latents_of([source], FLUX)) == 0
    with np.load(folder / "00_0064x0064_flux.npz") as file:
        assert {"latents_8x8", "latents_4x4", "latents_16x16", "crop_ltrb_16x16"} <= set(file.files)


def test_pictures_that_differ_in_their_ending_alone_have_files_of_their_own(folder: Path):
    Image.new("RGB", (64, 64), (255, 255, 255)).save(folder / "00.webp", lossless=True)
    sources = [Source(folder / name, PLACE) for name in ("00.png", "00.webp")]
    assert encoded(latents_of(sources)) == 2
    again = latents_of(sources)
    assert encoded(again) == 0
    assert shown(again, 1).min() == pytest.approx(1)
    assert shown(again, 0).min() < 1


def test_two_runs_with_different_vaes_do_not_show_each_others_latents(folder: Path):
    sources = sources_in(folder)
    mine, other = latents_of(sources), latents_of(sources, vae="another")
    encoded(mine)
    encoded(latents_of(sources[:1], vae="another"))
    loaded = mine.read(MicroBatch((0, 1), 1.0, 7, 1, 0))
    assert loaded.pictures == (1, 1)
    assert loaded.missed == {sources[0].picture: "its cached latents were replaced by different ones"}
    assert len(other.lacking()) == 2


def test_the_draw_does_not_depend_on_the_runs_seed(folder: Path):
    kept = OnDisk(SD, Wanted("a"))
    source = sources_in(folder)[0]
    assert kept.draw_seed(1, 0, source, False) == kept.draw_seed(2, 5, source, False)
    assert kept.draw_seed(1, 0, source, False) != kept.draw_seed(1, 0, source, True)


def test_the_stamp_says_what_the_latents_are_of(folder: Path):
    source = sources_in(folder)[0]
    LatentFiles(SD, Wanted("a")).write(source, np.zeros((3, 8, 8)))
    with np.load(folder / "00_0064x0064_sd.npz") as file:
        stamp = json.loads(str(file["darkroom"]))
    stat = source.picture.stat()
    assert stamp["picture"] == [stat.st_size, stat.st_mtime_ns]
    assert (stamp["bucket"], stamp["vae"], set(stamp["sums"])) == (
        [64, 64], "a", {"latents", "original_size", "crop_ltrb"},
    )  # fmt: skip


@pytest.mark.parametrize("form", [SD, FLUX])
def test_one_picture_in_several_datasets_has_latents_for_each(folder: Path, form: LatentFormat):
    """Of two sizes, where a file may hold one, and of one size mirrored and not."""
    picture, small = sorted(folder.glob("*.png"))[0], Placed((32, 32), (32, 32), original=(64, 64))
    ways = [Source(picture, small), Source(picture, PLACE), Source(picture, PLACE, flips=True)]
    for lacking in (3, 0):  # the next run finds all of them
        latents = Latents(ways, mean_colours, OnDisk(form, Wanted("a")))
        assert encoded(latents) == lacking
        assert [shown(latents, index).shape[-1] for index in range(3)] == [4, 8, 8]
