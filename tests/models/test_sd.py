"""SD 1's arithmetic, against diffusers and transformers."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import StableDiffusionPipeline

from engine.demo.demo import MODEL_FOLDER
from engine.models.conditioning import Reading
from engine.models.drawing import Drawing
from engine.models.parts import Parts
from engine.models.sd import StableDiffusion
from engine.models.vae import to_latents
from engine.settings.samples import SamplePrompt
from engine.training.samplers import make_sampler
from tests.models.loading import drawn_by, loaded

family = StableDiffusion()
READ_LAST = Reading(1)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return loaded()[1]


def told(parts: Parts, caption: str, reading: Reading = READ_LAST) -> torch.Tensor:
    """What Stable Diffusion is told of a caption: (1, tokens, channels)."""
    return family.encode_text(parts, [caption], reading)["states"]


def test_captions_are_encoded_as_diffusers_encodes_prompts(parts: Parts):
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    theirs, _ = pipeline.encode_prompt("a red star, on a blue background", "cpu", 1, False)
    with torch.no_grad():
        torch.testing.assert_close(told(parts, "a red star, on a blue background"), theirs)


@pytest.mark.shows("clip_skip")
def test_clip_skip_2_reads_a_text_encoder_without_its_last_layer(parts: Parts):
    shorter = copy.deepcopy(parts)
    shorter.text_encoders[0].encoder.layers = shorter.text_encoders[0].encoder.layers[:-1]
    with torch.no_grad():
        skipped = told(parts, "a red star", Reading(2))
        torch.testing.assert_close(skipped, told(shorter, "a red star"))
        assert not torch.allclose(skipped, told(parts, "a red star"))
        assert torch.equal(
            told(parts, "a", Reading(0)),
            told(parts, "a"),
        )


def test_a_caption_is_cut_after_75_tokens(parts: Parts):
    with torch.no_grad():
        long = told(parts, "red " * 75 + "star")
        assert long.shape == (1, 77, 64)
        torch.testing.assert_close(long, told(parts, "red " * 75 + "circle " * 50))
        assert not torch.allclose(long, told(parts, "red " * 74 + "star"))


@pytest.mark.shows("max_token_length")
@pytest.mark.parametrize("tokens", [150, 225])
def test_longer_captions_are_read_75_tokens_at_a_time_and_joined(parts: Parts, tokens: int):
    caption = " ".join(["red circle"] * 50 + ["blue star"] * 50)
    encoder, (begin, *words, end) = parts.text_encoders[0], parts.tokenizers[0](caption).input_ids
    words = (words + [end] * tokens)[:tokens]
    with torch.no_grad():
        chunks = [
            encoder(torch.tensor([[begin, *words[i : i + 75], end]])).last_hidden_state for i in range(0, tokens, 75)
        ]
        joined = torch.cat([chunks[0][:, :1], *(chunk[:, 1:-1] for chunk in chunks), chunks[-1][:, -1:]], dim=1)
        read = told(parts, caption, Reading(1, tokens))
    assert read.shape == (1, tokens + 2, 64)
    torch.testing.assert_close(read, joined)


def test_any_word_in_any_script_can_be_spelled(parts: Parts):
    ids = parts.tokenizers[0]("Ünïcødé 猫 🐈 sks", add_special_tokens=False).input_ids
    assert parts.tokenizers[0].unk_token_id is None or parts.tokenizers[0].vocab_size > 256
    assert parts.tokenizers[0].decode(ids).replace(" ", "") == "ünïcødé猫🐈sks"


def test_latents_have_about_unit_variance(parts: Parts):
    import random

    from engine.demo.make_model import pixels
    from engine.demo.shapes import draw, random_scene

    rng = random.Random(5)
    pictures = pixels([draw(random_scene(rng)) for _ in range(64)])
    with torch.no_grad():
        latents = to_latents(parts.vae, pictures, torch.Generator().manual_seed(0))
    assert latents.shape == (64, 4, 8, 8)
    assert 0.8 < latents.std().item() < 1.25


def test_a_sample_is_the_same_for_the_same_seed_and_of_the_size_asked_for(parts: Parts):
    def draw(seed: int):
        prompt = SamplePrompt.parse("a red circle --s 2 --n blurry")
        scheduler = make_sampler("euler_a", parts.alphas_cumprod)
        with torch.no_grad():
            return drawn_by(family, parts, Drawing(prompt, 72, 64, seed), scheduler)

    assert draw(1).size == (72, 64)
    assert draw(1).tobytes() == draw(1).tobytes()
    assert draw(1).tobytes() != draw(2).tobytes()
