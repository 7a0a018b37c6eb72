"""SD 1's arithmetic, against diffusers and transformers."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import StableDiffusionPipeline

from engine.demo.demo import MODEL_FOLDER
from engine.models.family import Parts, Reading
from engine.models.sd1 import StableDiffusion1
from engine.settings.samples import SamplePrompt
from engine.settings.source_model import SourceModel
from engine.training.samplers import make_sampler

family = StableDiffusion1()


@pytest.fixture(scope="module")
def parts() -> Parts:
    return family.load(SourceModel(pretrained_model_name_or_path=str(MODEL_FOLDER)), torch.float32)


def test_captions_are_encoded_as_diffusers_encodes_prompts(parts: Parts):
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    theirs, _ = pipeline.encode_prompt("a red star, on a blue background", "cpu", 1, False)
    with torch.no_grad():
        torch.testing.assert_close(family.encode_text(parts, ["a red star, on a blue background"], Reading(1)), theirs)


@pytest.mark.shows("clip_skip")
def test_clip_skip_2_reads_a_text_encoder_without_its_last_layer(parts: Parts):
    shorter = copy.deepcopy(parts)
    shorter.text_encoder.encoder.layers = shorter.text_encoder.encoder.layers[:-1]
    with torch.no_grad():
        skipped = family.encode_text(parts, ["a red star"], Reading(2))
        torch.testing.assert_close(skipped, family.encode_text(shorter, ["a red star"], Reading(1)))
        assert not torch.allclose(skipped, family.encode_text(parts, ["a red star"], Reading(1)))
        assert torch.equal(family.encode_text(parts, ["a"], Reading(0)), family.encode_text(parts, ["a"], Reading(1)))


def test_a_caption_is_cut_after_75_tokens(parts: Parts):
    with torch.no_grad():
        long = family.encode_text(parts, ["red " * 75 + "star"], Reading(1))
        assert long.shape == (1, 77, 64)
        torch.testing.assert_close(long, family.encode_text(parts, ["red " * 75 + "circle " * 50], Reading(1)))
        assert not torch.allclose(long, family.encode_text(parts, ["red " * 74 + "star"], Reading(1)))


@pytest.mark.shows("max_token_length")
@pytest.mark.parametrize("tokens", [150, 225])
def test_longer_captions_are_read_75_tokens_at_a_time_and_joined(parts: Parts, tokens: int):
    caption = " ".join(["red circle"] * 50 + ["blue star"] * 50)
    encoder, (begin, *words, end) = parts.text_encoder, parts.tokenizer(caption).input_ids
    words = (words + [end] * tokens)[:tokens]
    with torch.no_grad():
        chunks = [
            encoder(torch.tensor([[begin, *words[i : i + 75], end]])).last_hidden_state for i in range(0, tokens, 75)
        ]
        joined = torch.cat([chunks[0][:, :1], *(chunk[:, 1:-1] for chunk in chunks), chunks[-1][:, -1:]], dim=1)
        read = family.encode_text(parts, [caption], Reading(1, tokens))
    assert read.shape == (1, tokens + 2, 64)
    torch.testing.assert_close(read, joined)


def test_any_word_in_any_script_can_be_spelled(parts: Parts):
    ids = parts.tokenizer("Ünïcødé 猫 🐈 sks", add_special_tokens=False).input_ids
    assert parts.tokenizer.unk_token_id is None or parts.tokenizer.vocab_size > 256
    assert parts.tokenizer.decode(ids).replace(" ", "") == "ünïcødé猫🐈sks"


def test_latents_have_about_unit_variance(parts: Parts):
    import random

    from engine.demo.make_model import pixels
    from engine.demo.shapes import draw, random_scene

    rng = random.Random(5)
    pictures = pixels([draw(random_scene(rng)) for _ in range(64)])
    with torch.no_grad():
        latents = family.encode_images(parts, pictures, torch.Generator().manual_seed(0))
    assert latents.shape == (64, 4, 8, 8)
    assert 0.8 < latents.std().item() < 1.25


def test_a_sample_is_the_same_for_the_same_seed_and_of_the_size_asked_for(parts: Parts):
    def draw(seed: int):
        prompt = SamplePrompt.parse("a red circle --s 2 --n blurry")
        scheduler = make_sampler("euler_a", parts.alphas_cumprod)
        with torch.no_grad():
            return family.draw(parts, prompt, scheduler, width=72, height=64, seed=seed, reading=Reading())

    assert draw(1).size == (72, 64)
    assert draw(1).tobytes() == draw(1).tobytes()
    assert draw(1).tobytes() != draw(2).tobytes()
