"""A picture becomes pixels of the training size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from engine.data.dataset import Item, Latents
from engine.data.pictures import read_picture
from engine.failure import Failure

LEFT, RIGHT = (255, 0, 0), (0, 0, 255)


def two_halves(width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), LEFT)
    picture.paste(RIGHT, (width // 2, 0, width, height))
    return picture


def test_a_wide_picture_is_cropped_around_its_centre(tmp_path: Path):
    two_halves(128, 32).save(tmp_path / "a.png")
    pixels = read_picture(tmp_path / "a.png", 32, 32)
    assert pixels.shape == (3, 32, 32)
    assert torch.allclose(pixels[:, :, :14], torch.tensor([1.0, -1, -1]).view(3, 1, 1).expand(3, 32, 14))
    assert torch.allclose(pixels[:, :, 18:], torch.tensor([-1.0, -1, 1]).view(3, 1, 1).expand(3, 32, 14))


def test_a_small_picture_is_enlarged_and_a_grey_one_coloured(tmp_path: Path):
    Image.new("L", (10, 10), 255).save(tmp_path / "a.png")
    assert torch.equal(read_picture(tmp_path / "a.png", 64, 48), torch.ones(3, 48, 64))


def test_a_turned_photo_is_turned_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    two_halves(32, 32).save(tmp_path / "a.png", exif=exif)
    pixels = read_picture(tmp_path / "a.png", 32, 32)
    assert pixels[2, 16, 2] == 1  # blue, on the left now


def test_a_broken_picture_is_named(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(Failure, match=r"broken\.png cannot be read"):
        read_picture(tmp_path / "broken.png", 32, 32)


def encode(pixels: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """A VAE's stand-in: the mean colour, with a draw of noise."""
    return pixels.mean(dim=(2, 3)) + torch.randn(len(pixels), 3, generator=generator)


@pytest.mark.shows("vae_batch_size")
def test_cached_latents_depend_on_seed_and_place_alone(tmp_path: Path):
    items = []
    for number in range(7):
        Image.new("RGB", (8, 8), (number * 30, 0, 0)).save(tmp_path / f"{number}.png")
        items.append(Item(tmp_path / f"{number}.png", "", 1))

    def cached(seed: int) -> torch.Tensor:
        latents, seen = Latents(items, (8, 8), encode), []
        latents.cache(2, seed, lambda done, total: seen.append((done, total)))
        assert seen == [(2, 7), (4, 7), (6, 7), (7, 7)]
        return latents.batch(tuple(range(7)))

    assert torch.equal(cached(1), cached(1))
    assert not torch.equal(cached(1), cached(2))
