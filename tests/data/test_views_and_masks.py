"""How a picture is shown each time, and what of it is learned."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data.ahead import Ahead
from engine.data.batches import MicroBatch
from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.kept import InMemory, Kept, OnDisk
from engine.data.latent_files import LatentFormat, Wanted
from engine.data.masks import Masks
from engine.data.pictures import read_masked, read_picture
from engine.data.source import Source
from engine.data.views import View, view_of
from engine.objective.loss import mean_by_sample
from engine.settings.dataset import Dataset

SQUARE = Placed((32, 32), (32, 32), original=(32, 32))


def batch_of(*pictures: int, seed: int = 7) -> MicroBatch:
    return MicroBatch(pictures, weight=1.0, seed=seed, epoch=1, step=0)


@pytest.mark.shows("random_crop")
def test_a_random_crop_shows_every_part_of_the_picture(tmp_path: Path):
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (32, 1, 3))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    place = Placed((32, 32), (64, 32))
    source = Source(tmp_path / "a.png", place, random_crop=True)

    def left(view: View) -> int:
        return round((read_picture(tmp_path / "a.png", place, view)[0, 0, 0].item() + 1) * 127.5 / 4)

    lefts = {left(view_of(source, random.Random(i))) for i in range(400)}
    assert lefts == set(range(33))  # 64 − 32 pixels to spare, both ends included
    assert left(view_of(Source(tmp_path / "a.png", place), random.Random(0))) == 16


@pytest.mark.shows("color_aug")
def test_colours_vary_in_a_third_of_the_times(tmp_path: Path):
    views = [view_of(Source(tmp_path / "a.png", SQUARE, color_aug=True), random.Random(i)) for i in range(2000)]
    hues, gammas = [v.hue for v in views if v.hue], [v.gamma for v in views if v.gamma != 1]
    # sd-scripts: in 33 of 100, half of these the hue by up to 8 of 180, half the brightness by up to 5 %
    assert 0.28 < (len(hues) + len(gammas)) / 2000 < 0.38
    assert max(map(abs, hues)) <= 8 / 180
    assert 0.95 <= min(gammas) < 0.955
    assert 1.045 < max(gammas) <= 1.05

    Image.new("RGB", (32, 32), (200, 40, 40)).save(tmp_path / "a.png")
    red, green, blue = read_picture(tmp_path / "a.png", SQUARE, View(hue=8 / 180))[:, 0, 0] * 127.5 + 127.5
    assert (red.item(), blue.item()) == pytest.approx((200, 40), abs=1)
    assert green == pytest.approx(40 + 160 * 16 / 60, abs=4)  # 60° take green from least to most
    darker = read_picture(tmp_path / "a.png", SQUARE, View(gamma=1.05))[0, 0, 0] * 127.5 + 127.5
    assert darker == pytest.approx(255 * (200 / 255) ** 1.05, abs=1)
    assert all(view_of(Source(tmp_path / "a.png", SQUARE), random.Random(i)) == View() for i in range(20))


def test_how_a_batch_is_shown_follows_from_its_seed(tmp_path: Path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 64, 3), np.uint8)).save(tmp_path / "a.png")
    settings = Dataset(random_crop=True, color_aug=True, flip_aug=True)
    source = Source.of(tmp_path / "a.png", Placed((32, 32), (64, 32)), settings)
    latents = Latents([source], lambda p, _: p)
    again = [latents.read(batch_of(0, 0, 0, seed=5)).pixels for _ in range(2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], latents.read(batch_of(0, 0, 0, seed=6)).pixels)


@pytest.fixture
def half_seen(tmp_path: Path) -> Source:
    """Transparent on the left half."""
    picture = Image.new("RGBA", (32, 32), (255, 0, 0, 255))
    picture.paste((0, 0, 255, 0), (0, 0, 16, 32))
    (tmp_path / "img" / "1_a").mkdir(parents=True)
    picture.save(tmp_path / "img" / "1_a" / "a.png")
    return Source(tmp_path / "img" / "1_a" / "a.png", SQUARE)


def test_the_mask_is_scaled_cropped_and_mirrored_as_the_picture_is(half_seen: Source):
    pixels, mask = read_masked(half_seen.picture, Placed((32, 32), (64, 32)), View(crop=(0, 0)))
    assert mask[:, :24].max() == 0  # the left half alone
    assert pixels[2, :, :24].min() == 1  # and below the transparency it keeps its colour
    pixels, mask = read_masked(half_seen.picture, SQUARE, View(flipped=True))
    assert mask[:, :16].min() == 1
    assert mask[:, 16:].max() == 0
    assert pixels[0, 0, 0] == 1  # red is where the mask is


@pytest.mark.shows("masked_loss")
@pytest.mark.parametrize("kind", ["each time", "in memory", "on disk"])
def test_what_is_transparent_costs_nothing(half_seen: Source, kind: str):
    settings = Dataset(masked_loss=True, flip_aug=True)
    on_disk = OnDisk(LatentFormat("_sd.npz", by_size=False), Wanted("a"))
    kept: Kept | None = {"in memory": InMemory(), "on disk": on_disk}.get(kind)
    source = Source.of(half_seen.picture, half_seen.place, settings)
    latents = Latents([source], lambda p, _: torch.nn.functional.avg_pool2d(p, 8), kept)
    latents.cache(latents.lacking(), 1, 7, lambda done, total: None) if kept else None
    shown = latents.shown(latents.read(batch_of(*(0,) * 20)))
    assert shown.mask.shape == (20, 4, 4)
    # Whichever way round a picture is shown: what counts is red, and it is half of it.
    assert torch.equal(shown.mask == 1, shown.latents[:, 0] == 1)
    assert {tuple(one[0].tolist()) for one in shown.mask} == {(0, 0, 1, 1), (1, 1, 0, 0)}
    error = torch.ones(20, 3, 4, 4)
    assert mean_by_sample(error, shown.mask).tolist() == [0.5] * 20
    assert mean_by_sample(error).tolist() == [1.0] * 20


@pytest.mark.shows("mask_dir")
def test_masks_lie_in_a_folder_under_the_names_of_the_pictures(half_seen: Source, tmp_path: Path):
    picture = half_seen.picture
    (tmp_path / "masks" / "1_a").mkdir(parents=True)
    assert Masks(tmp_path / "masks").of(picture) is None
    Image.new("L", (32, 32), 51).save(tmp_path / "masks" / "a.jpg")
    assert Masks(tmp_path / "masks").of(picture) == tmp_path / "masks" / "a.jpg"
    Image.new("L", (64, 64), 51).save(tmp_path / "masks" / "1_a" / "a.webp", lossless=True)
    mask_file = Masks(tmp_path / "masks").of(picture)
    assert mask_file == tmp_path / "masks" / "1_a" / "a.webp"
    _, mask = read_masked(picture, SQUARE, View(), mask_file)
    assert mask.unique().tolist() == pytest.approx([0.2])  # 51 of 255

    files = OnDisk(LatentFormat("_sd.npz", by_size=False), Wanted("a"))
    source = Source(picture, SQUARE, mask_file, masked=True)
    assert files.lacking([source]) == [source]
    files.keep(source, torch.zeros(4, 4, 4), None, mask)
    assert files.lacking([source]) == []
    assert files.get(source, False)[1].unique().tolist() == pytest.approx([0.2])
    Image.new("L", (32, 32), 99).save(mask_file, lossless=True)
    assert OnDisk(LatentFormat("_sd.npz", by_size=False), Wanted("a")).lacking([source]) == [source]


@pytest.mark.shows("max_data_loader_n_workers")
def test_batches_are_read_ahead_by_as_many_threads_as_asked_and_come_in_order():
    import threading

    threads, begun = set(), threading.Barrier(3, timeout=5)

    def read(batch: MicroBatch) -> int:
        threads.add(threading.get_ident())
        if batch.seed < 3:
            begun.wait()  # only three at once go on
        return batch.seed

    ahead = Ahead(read, (batch_of(0, seed=i) for i in range(20)), threads=3)
    assert [ahead.take() for _ in range(20)] == list(range(20))
    assert len(threads) == 3
    ahead.close()


def test_waiting_for_pictures_is_measured():
    import time

    def read(batch: MicroBatch) -> int:
        time.sleep(0.05)
        return batch.seed

    ahead = Ahead(read, (batch_of(0, seed=i) for i in range(4)), threads=1)
    for _ in range(4):
        ahead.take()
    assert 0.15 < ahead.waited < 2
    ahead.close()


def test_a_picture_that_is_gone_in_the_middle_is_replaced_and_named(tmp_path: Path):
    for name in "abc":
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    sources = [Source(tmp_path / f"{name}.png", SQUARE) for name in "abc"]
    latents = Latents(sources, lambda p, _: p)
    (tmp_path / "a.png").unlink()
    loaded = latents.read(batch_of(0, 1, 2))
    assert loaded.pictures == (1, 1, 2)
    assert loaded.missed == {tmp_path / "a.png": "No such file or directory"}
    assert latents.read(batch_of(0, 1, 2)).missed == {}
