"""What Chroma has of its own: how far it looks behind a caption, and that it keeps to it while memory is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.models.conditioning import Conditioning, Reading
from engine.models.family import Family
from engine.models.parts import Parts
from tests.models.loading import NO_SIZES, loaded
from tests.models.small import pipeline as small

Loaded = tuple[Family, Parts]


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("chroma")
    small("chroma").save_pretrained(folder)
    return loaded(folder, t5xxl_max_token_length=64)


def encode(chroma: Loaded, *captions: str) -> Conditioning:
    with torch.no_grad():
        return chroma[0].encode_text(chroma[1], list(captions), Reading())


def answer(chroma: Loaded, encoded: Conditioning, noisy: torch.Tensor) -> torch.Tensor:
    timesteps = torch.full((len(noisy),), 500)
    return chroma[0].predict(chroma[1], noisy, timesteps, encoded, NO_SIZES)


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, 16, 8, 8, generator=torch.Generator().manual_seed(1))


def test_one_empty_place_behind_a_caption_is_looked_at_and_no_other(chroma: Loaded):
    encoded = encode(chroma, "star")
    count = len(chroma[1].tokenizers[0](["star"]).input_ids[0])
    assert encoded["seen"].sum() == count + 1
    with torch.no_grad():
        plain = answer(chroma, encoded, noise(1))
        for place, changes in ((count, True), (count + 1, False)):
            states = encoded["states"].clone()
            states[:, place] = 9
            other = answer(chroma, {**encoded, "states": states}, noise(1))
            assert (not torch.allclose(plain, other, atol=1e-5)) == changes


def test_a_caption_is_told_the_same_beside_a_longer_one(chroma: Loaded):
    """Alone it needs no mask, beside the longer one it does."""
    both, alone = encode(chroma, "star", "a red circle, on blue"), encode(chroma, "star")
    with torch.no_grad():
        together = answer(chroma, both, noise(2))[:1]
        torch.testing.assert_close(together, answer(chroma, alone, noise(2)[:1]), atol=1e-5, rtol=1e-5)


def test_saving_memory_changes_neither_answer_nor_gradient(chroma: Loaded):
    encoded, transformer = encode(chroma, "star", "a red circle, on blue"), chroma[1].denoiser
    learned = transformer.single_transformer_blocks[0].attn.to_q.weight.requires_grad_(True)

    def told() -> tuple[Any, ...]:
        learned.grad = None
        said = answer(chroma, encoded, noise(2))
        said.square().sum().backward()
        return said.detach(), learned.grad

    plain = told()
    transformer.enable_gradient_checkpointing()
    saved = told()
    transformer.disable_gradient_checkpointing()
    learned.requires_grad_(False)
    assert plain[1].abs().max() > 0
    torch.testing.assert_close(saved, plain, atol=1e-5, rtol=1e-5)


def test_its_files_say_what_it_is_told_whatever_fluxs_options_are(tmp_path: Path):
    from engine.models.chroma import Chroma
    from engine.settings.training import TrainingSettings

    settings = TrainingSettings().with_values({"flux_guidance_scale": 3.5, "apply_t5_attn_mask": False})
    transformer = torch.nn.Module()
    transformer.config = {}  # type: ignore[assignment]
    facts = Chroma(settings).facts(settings, Parts(transformer, torch.nn.Identity(), [], []))
    assert facts["ss_model_type"] == facts["ss_base_model_version"] == facts["modelspec.architecture"] == "chroma"
    assert (facts["ss_guidance_scale"], facts["ss_apply_t5_attn_mask"]) == (0.0, True)
