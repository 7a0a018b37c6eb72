"""A picture becomes pixels of the training size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from engine.data.batches import MicroBatch
from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.kept import InMemory
from engine.data.pictures import read_picture
from engine.data.placing import covering, placed, upright_size
from engine.data.source import Source
from engine.failure import Failure
from engine.settings.dataset import Dataset

LEFT, RIGHT = (255, 0, 0), (0, 0, 255)


def two_halves(width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), LEFT)
    picture.paste(RIGHT, (width // 2, 0, width, height))
    return picture


def test_a_wide_picture_is_cropped_around_its_centre(tmp_path: Path):
    two_halves(128, 32).save(tmp_path / "a.png")
    pixels = read_picture(tmp_path / "a.png", covering(upright_size(tmp_path / "a.png"), (32, 32)))
    assert pixels.shape == (3, 32, 32)
    assert torch.allclose(pixels[:, :, :14], torch.tensor([1.0, -1, -1]).view(3, 1, 1).expand(3, 32, 14))
    assert torch.allclose(pixels[:, :, 18:], torch.tensor([-1.0, -1, 1]).view(3, 1, 1).expand(3, 32, 14))


def test_a_small_picture_is_enlarged_and_a_grey_one_coloured(tmp_path: Path):
    Image.new("L", (10, 10), 255).save(tmp_path / "a.png")
    assert torch.equal(read_picture(tmp_path / "a.png", covering((10, 10), (64, 48))), torch.ones(3, 48, 64))


def test_a_turned_photo_is_turned_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    two_halves(32, 32).save(tmp_path / "a.png", exif=exif)
    pixels = read_picture(tmp_path / "a.png", covering(upright_size(tmp_path / "a.png"), (32, 32)))
    assert pixels[2, 16, 2] == 1  # blue, on the left now


def test_a_broken_picture_is_named(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(Failure, match=r"broken\.png cannot be read"):
        read_picture(tmp_path / "broken.png", Placed((32, 32), (32, 32)))


def batch_of(*pictures: int) -> MicroBatch:
    return MicroBatch(pictures, weight=1.0, seed=7, epoch=1, step=0)


def encode(pixels: torch.Tensor, generators: list[torch.Generator] | None) -> torch.Tensor:
    """A VAE's stand-in: the mean colour, with a draw of noise."""
    assert generators is not None
    return pixels.mean(dim=(2, 3)) + torch.stack([torch.randn(3, generator=generator) for generator in generators])


@pytest.mark.shows("vae_batch_size")
def test_cached_latents_depend_on_seed_and_place_alone(tmp_path: Path):
    items = []
    for number in range(7):
        Image.new("RGB", (8, 8), (number * 30, 0, 0)).save(tmp_path / f"{number}.png")
        items.append(tmp_path / f"{number}.png")

    def cached(seed: int, batch_size: int = 2) -> torch.Tensor:
        sources = [Source(item, Placed((8, 8), (8, 8))) for item in items]
        latents, seen = Latents(sources, encode, InMemory()), []
        latents.cache(latents.lacking(), batch_size, seed, lambda done, total: seen.append((done, total)))
        assert seen == ([(0, 7), (2, 7), (4, 7), (6, 7), (7, 7)] if batch_size == 2 else [(0, 7), (7, 7)])
        return latents.shown(latents.read(batch_of(*range(7)))).latents

    assert torch.equal(cached(1), cached(1))
    assert torch.equal(cached(1), cached(1, batch_size=7))
    assert not torch.equal(cached(1), cached(2))


def test_the_size_of_a_photo_is_that_after_turning(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    two_halves(64, 32).save(tmp_path / "a.jpg", exif=exif)
    assert upright_size(tmp_path / "a.jpg") == (32, 64)
    with pytest.raises(Failure, match="cannot be read"):
        upright_size(tmp_path / "gone.png")


@pytest.mark.shows("enable_bucket")
def test_pictures_keep_their_shape_in_buckets_and_are_cropped_to_one_without(tmp_path: Path):
    two_halves(768, 512).save(tmp_path / "a.png")
    told = {"max_resolution": "512,512", "bucket_no_upscale": False}
    assert placed([tmp_path / "a.png"], Dataset(**told)) == [Placed((640, 384), (640, 427))]
    assert placed([tmp_path / "a.png"], Dataset(**told, enable_bucket=False)) == [Placed((512, 512), (768, 512))]
    assert read_picture(tmp_path / "a.png", Placed((640, 384), (640, 427))).shape == (3, 384, 640)


@pytest.mark.shows("flip_aug")
def test_half_of_the_pictures_are_shown_mirrored(tmp_path: Path):
    two_halves(8, 8).save(tmp_path / "a.png")

    def left_colours(pixels: torch.Tensor, _: list[torch.Generator] | None) -> torch.Tensor:
        return pixels[:, :, 0, 0]

    def red(settings: Dataset, kept: InMemory | None, count: int) -> torch.Tensor:
        source = Source.of(tmp_path / "a.png", Placed((8, 8), (8, 8)), settings)
        latents = Latents([source], left_colours, kept)
        latents.cache(latents.lacking(), 1, 7, lambda done, total: None) if kept else None
        return latents.shown(latents.read(batch_of(*(0,) * count))).latents[:, 0]

    for kept in (InMemory(), None):
        shown = red(Dataset(flip_aug=True), kept, 400)
        assert shown.unique().tolist() == [-1, 1]
        assert 160 < (shown == 1).sum() < 240  # 200 expected, deviation 10
        assert red(Dataset(), InMemory() if kept else None, 50).unique().tolist() == [1]
