"""Captioners of transformers, with small models of the same classes and random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.failure import Failure
from engine.tools.blip import Blip2Decoding
from engine.tools.describing import Decoding, load_describer, narrowing
from engine.tools.prompted import asked, refuse_other_kinds
from tests.tools import small_describers
from tests.tools.running import run_job, settings_of
from tests.tools.small_describers import WORDS

KINDS = {
    "blip": "BlipForConditionalGeneration",
    "git": "GitForCausalLM",
    "blip2": "Blip2ForConditionalGeneration",
    "florence2": "Florence2ForConditionalGeneration",
    "qwen": "Qwen2_5_VLForConditionalGeneration",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("describers")
    return {kind: getattr(small_describers, f"save_{kind}")(root / kind) for kind in KINDS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "img" / f"{seed}.png")
    return tmp_path / "img"


def captions(kind: str, folder: Path, model: Path, **values) -> list[str]:
    given = {"train_data_dir": str(folder), "model_id": str(model), "overwrite": True, "max_length": 9, **values}
    outcome, _ = run_job(f"caption-{kind}", **given)
    assert outcome == ("done", 3)
    return [file.read_text().strip() for file in sorted(folder.glob("*.txt"))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.shows("caption-[bgfq]*.batch_size", "caption-*.model_id")
def test_a_folder_is_described_and_batches_say_what_single_pictures_do(kind: str, folder: Path, models: dict):
    alone = captions(kind, folder, models[kind])
    assert all(set(text.split()) <= set(WORDS) and text for text in alone)
    assert captions(kind, folder, models[kind], batch_size=2) == alone


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.shows("caption-*.beam_search", "caption-*.seed", "caption-*.min_length", "caption-*.max_length")
def test_words_are_searched_or_drawn_and_counted(kind: str, folder: Path, models: dict):
    chance = {"beam_search": False, "top_p": 1.0, "min_length": 9, "max_length": 9}
    drawn = captions(kind, folder, models[kind], **chance)
    assert drawn == captions(kind, folder, models[kind], **chance)
    assert drawn != captions(kind, folder, models[kind], **chance, seed=7)
    assert drawn != captions(kind, folder, models[kind])
    assert all(len(text.split()) <= 4 for text in captions(kind, folder, models[kind], min_length=0, max_length=4))


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        ({"num_beams": 4}, {"do_sample": False, "num_beams": 4}),
        ({"beam_search": False, "top_p": 0.5}, {"do_sample": True, "top_p": 0.5, "top_k": 0, "num_beams": 1}),
    ],
)
@pytest.mark.shows("caption-*.num_beams", "caption-*.top_p")
def test_generation_is_told_what_the_options_say(values: dict, arguments: dict):
    lengths = {"max_new_tokens": 75, "min_new_tokens": 5}
    assert Decoding(**values).arguments() == {**arguments, **lengths}


@pytest.mark.shows("caption-blip2.repetition_penalty", "caption-blip2.length_penalty", "caption-blip2.temperature")
def test_blip2_has_penalties_and_a_temperature(folder: Path, models: dict):
    searched, drawn = Blip2Decoding(length_penalty=-0.5), Blip2Decoding(beam_search=False, temperature=0.7)
    assert searched.arguments().items() >= {"length_penalty": -0.5, "repetition_penalty": 1.5}.items()
    assert drawn.arguments().items() >= {"temperature": 0.7, "repetition_penalty": 1.5, "top_p": 0.9}.items()
    assert "temperature" not in searched.arguments()
    plain = captions("blip2", folder, models["blip2"], repetition_penalty=1)
    assert captions("blip2", folder, models["blip2"], repetition_penalty=5) != plain


@pytest.mark.parametrize("kind", ["qwen", "florence2", "blip2"])
@pytest.mark.shows("caption-[bgfq]*.weights")
def test_weights_of_few_bits_need_an_nvidia_gpu(kind: str, folder: Path, models: dict):
    if torch.cuda.is_available():
        for weights in ("8 bits", "4 bits"):
            assert all(captions(kind, folder, models[kind], weights=weights))
        return
    for weights in ("8 bits", "4 bits"):
        with pytest.raises(Failure, match=f"Weights in {weights} need an NVIDIA GPU") as refused:
            captions(kind, folder, models[kind], weights=weights)
        assert refused.value.option == "weights"


def test_weights_of_few_bits_are_asked_of_bitsandbytes():
    gpu = torch.device("cuda", 0)
    eight, four = (narrowing(weights, gpu, torch.bfloat16) for weights in ("8 bits", "4 bits"))
    assert eight["quantization_config"].load_in_8bit
    assert not eight["quantization_config"].load_in_4bit
    assert four["quantization_config"].load_in_4bit
    assert four["quantization_config"].bnb_4bit_compute_dtype == torch.bfloat16
    assert eight["device_map"] == four["device_map"] == {"": gpu}
    assert narrowing("16 bits", gpu, torch.bfloat16) == {}


def test_the_model_sees_the_picture_as_it_was_trained_to(models: dict):
    describer = load_describer(str(models["blip"]), KINDS["blip"])
    seen = describer.pixels([Image.new("RGB", (64, 32), (255, 128, 0))])["pixel_values"]
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])  # of CLIP, whose processor BLIP has
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    expected = (torch.tensor([255, 128, 0]) / 255 - mean) / deviation
    assert seen.shape == (1, 3, 32, 32)
    assert torch.allclose(seen[0, :, 16, 16], expected, atol=1e-4)


def test_a_picture_takes_as_many_tokens_of_the_question_as_it_has_merged_patches(models: dict):
    describer = load_describer(str(models["qwen"]), "AutoModelForImageTextToText")
    small, wide = Image.new("RGB", (28, 28)), Image.new("RGB", (56, 28))
    inputs = asked(describer, [small, wide], "a red house")
    # patches of 14 pixels, merged by two each way: 28 pixels a token
    assert describer.tokenizer.batch_decode(inputs["input_ids"]) == [
        "[PAD] [CLS] <image> a red house [SEP]",
        "[CLS] <image> <image> a red house [SEP]",
    ]
    assert inputs["image_grid_thw"].tolist() == [[1, 2, 2], [1, 2, 4]]
    assert inputs["attention_mask"].tolist()[0][0] == 0


@pytest.mark.parametrize(
    ("kind", "prompts"), [("florence2", ["<CAPTION>", "a red house"]), ("qwen", ["cat", "a house"])]
)
@pytest.mark.shows("caption-*.prompt")
def test_what_is_asked_changes_what_is_said(kind: str, prompts: list[str], folder: Path, models: dict):
    first, second = (captions(kind, folder, models[kind], prompt=prompt) for prompt in prompts)
    assert first != second


def test_a_model_of_another_kind_is_refused_in_words(models: dict):
    describer = load_describer(str(models["blip"]), KINDS["blip"])
    with pytest.raises(Failure, match="some/model is not a Qwen-VL chat model"):
        refuse_other_kinds(describer, "some/model")


def test_a_model_that_is_not_here_or_of_another_kind_is_named(folder: Path, models: dict, tmp_path: Path):
    given = {"train_data_dir": str(folder)}
    with pytest.raises(Failure, match="is not on this machine yet") as refused:
        run_job("caption-blip", **given, model_id="nobody/blip")
    assert "config.json and model.safetensors" in refused.value.mend
    with pytest.raises(Failure, match="There is no folder 'not there at all'"):
        run_job("caption-blip", **given, model_id="not there at all")
    shutil.copytree(models["blip"], tmp_path / "half", ignore=shutil.ignore_patterns("model.safetensors"))
    with pytest.raises(Failure, match="does not contain a model of this kind"):
        run_job("caption-blip", **given, model_id=str(tmp_path / "half"))
    assert not list(folder.glob("*.txt"))


def test_lengths_that_no_caption_can_have_are_refused_before_the_start(folder: Path):
    settings = settings_of("caption-git", train_data_dir=str(folder), min_length=9, max_length=8)
    assert [failure.option for failure in settings.failures()] == ["min_length"]
