"""What Lumina Image 2.0 has of its own: the direction of time, and how captions are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.models.conditioning import Reading
from engine.models.family import Family
from engine.models.parts import Parts
from tests.models.files import write_files
from tests.models.loading import NO_SIZES, loaded
from tests.models.small import pipeline as small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lumina")
    small("lumina").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lumina(folder: Path) -> tuple[Family, Parts]:
    return loaded(folder)


def test_it_is_asked_with_time_running_towards_the_picture(lumina: tuple[Family, Parts]):
    """Noise alone, timestep 1000 here, is 0 there; what it answers leads to the picture, what is learned from it."""
    family, parts = lumina
    noisy = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        encoded = family.encode_text(parts, ["star"], Reading())
        for ours, theirs in ((1000, 0.0), (250, 0.75)):
            answer = family.predict(parts, noisy, torch.tensor([ours]), encoded, NO_SIZES)
            direct = parts.denoiser(noisy, torch.tensor([theirs]), encoded["states"], encoded["mask"]).sample
            torch.testing.assert_close(answer, -direct)


def test_a_caption_is_told_the_same_beside_a_longer_one(lumina: tuple[Family, Parts]):
    family, parts = lumina
    noisy = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        both = family.encode_text(parts, ["star", "a red circle, on blue"], Reading())
        alone = {name: tensor[:1] for name, tensor in both.items()}
        together = family.predict(parts, noisy, torch.tensor([500, 500]), both, NO_SIZES)[:1]
        apart = family.predict(parts, noisy[:1], torch.tensor([500]), alone, NO_SIZES)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@pytest.mark.shows("lumina_gemma2_max_token_length")
def test_so_many_tokens_of_a_caption_are_read(folder: Path):
    family, parts = loaded(folder, lumina_gemma2_max_token_length=11)
    with torch.no_grad():
        encoded = family.encode_text(parts, ["a red circle, on blue"], Reading())
    assert encoded["mask"].sum() == 11
    assert encoded["states"].shape[1] == 11


def test_in_half_precision_gemma_keeps_its_range(folder: Path):
    _, parts = loaded(folder, torch.float16)
    assert parts.text_encoders[0].dtype == torch.bfloat16
    assert parts.denoiser.dtype == torch.float16


def test_a_saved_model_has_the_norm_that_other_programs_want(lumina: tuple[Family, Parts], tmp_path: Path):
    family, parts = lumina
    published = load_file(write_files("lumina", small("lumina"), tmp_path)["pretrained_model_name_or_path"])
    saved = family.to_original(parts)
    assert saved.keys() == published.keys()
    assert torch.equal(saved["norm_final.weight"], torch.ones(96))
