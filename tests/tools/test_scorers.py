"""Aesthetic predictors: which number a picture gets, worked out by hand, and which files are none."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionModelWithProjection

from engine.failure import Failure
from engine.tools.scorers import DEVIATION, MEAN, ClipScorer, OnnxScorer, read_head
from tests.tools.small_describers import save_blip
from tests.tools.small_scorers import SIDE, WIDTH, layers, linear, save_clip, save_head, save_onnx

DROPOUT, RELU = (0, 2, 4, 6, 7), (0, 3, 6, 9, 11)
"""Places of the linear layers in LAION's published networks: between them are dropouts alone, or ReLUs too."""
SIZES = (WIDTH, 16, 12, 10, 8, 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "model")


def picture(color: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), color)


def embedding(clip: Path, color: tuple[int, int, int]) -> torch.Tensor:
    """(WIDTH,), of a picture of one colour, brought to length 1."""
    values = (torch.tensor(color) / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    pixels = values.view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        found = CLIPVisionModelWithProjection.from_pretrained(clip)(pixel_values=pixels).image_embeds[0]
    return found / found.square().sum().sqrt()


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", ["linear", "dropout", "relu"])
def test_a_score_is_the_heads_answer_to_the_embedding_of_length_one(clip: Path, tmp_path: Path, kind: str, ending: str):
    tensors = linear() if kind == "linear" else layers(DROPOUT if kind == "dropout" else RELU, SIZES)
    scorer = ClipScorer(str(clip), save_head(tmp_path / f"head{ending}", tensors))
    colors = [(255, 0, 0), (20, 200, 90)]
    expected = []
    for color in colors:
        x = embedding(clip, color)
        if kind == "linear":
            expected.append(float(tensors["weight"][0] @ x + tensors["bias"][0]))
            continue
        for place in DROPOUT if kind == "dropout" else RELU:
            x = tensors[f"layers.{place}.weight"] @ x + tensors[f"layers.{place}.bias"]
            x = x.relu() if kind == "relu" and place != RELU[-1] else x
        expected.append(float(x))
    assert scorer.scores([picture(color) for color in colors]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-3


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"weight": torch.ones(1, WIDTH)}, "it has the tensor weight"),
        ({"layers.0.weight": torch.ones(1, WIDTH)}, "layer 0 has no bias"),
        ({"layers.0.bias": torch.ones(1)}, "layer 0 has no weight"),
        ({**layers((0,), (WIDTH, 1)), "norm.weight": torch.ones(1)}, "it has the tensor norm.weight"),
        (layers((0, 2), (WIDTH, 5, 2)), "it gives 2 numbers and not one"),
        ({**layers((0,), (WIDTH, 5)), **layers((2,), (4, 1))}, "a layer gives 5 numbers and the next takes 4"),
        ({"weight": torch.ones(WIDTH), "bias": torch.ones(1)}, r"layer 0 has the shape \(6,\)"),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_head_is_refused_in_one_sentence(tmp_path: Path, tensors: dict, words: str):
    with pytest.raises(Failure, match=words) as refused:
        read_head(save_head(tmp_path / "head.safetensors", tensors), "head")
    assert (refused.value.option, refused.value.what.count("\n")) == ("head", 0)


def test_a_head_that_would_run_code_is_not_run(tmp_path: Path):
    file, trace = tmp_path / "head.pth", tmp_path / "ran"

    class Harmful:
        def __reduce__(self):
            return open, (str(trace), "w")

    for content in (pickle.dumps(Harmful()), b"no head at all"):
        file.write_bytes(content)
        with pytest.raises(Failure) as refused:
            read_head(file, "head")
        assert refused.value.option == "head"
    torch.save({**linear(), "further": Harmful()}, file)
    with pytest.raises(Failure):
        read_head(file, "head")
    assert not trace.exists()


def test_a_model_that_does_not_belong_to_the_head_is_named(clip: Path, tmp_path: Path):
    head = save_head(tmp_path / "head.pth", linear())
    other = save_clip(tmp_path / "other", WIDTH + 2)
    with pytest.raises(Failure, match=rf"takes embeddings of {WIDTH} numbers, but .* gives {WIDTH + 2}") as refused:
        ClipScorer(str(other), head)
    assert refused.value.option == "model_id"
    with pytest.raises(Failure, match="is a blip model, not CLIP"):
        ClipScorer(str(save_blip(tmp_path / "blip")), head)
    with pytest.raises(Failure, match="is not on this machine yet"):
        ClipScorer("nobody/clip", head)
    with pytest.raises(Failure, match="There is no folder 'not there'"):
        ClipScorer("not there", head)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_an_onnx_file_is_shown_the_middle_of_the_picture_as_clip_sees_it(tmp_path: Path, batch: int | str):
    scorer = OnnxScorer(save_onnx(tmp_path / "a.onnx", batch), "onnx_file")
    wide = Image.new("RGB", (48, 16), (255, 0, 0))
    wide.paste((51, 0, 0), (16, 0, 32, 16))  # the square in the middle
    shown = [scorer.prepared(image) for image in (wide, picture((0, 9, 9)))]
    assert shown[0].shape == (3, 8, 8)
    expected = [(level / 255 - MEAN[0]) / DEVIATION[0] for level in (51, 0)]
    # Bicubic scaling takes a little of the neighbours at both edges.
    assert np.allclose(scorer.scores(shown), expected, atol=0.1)
    assert scorer.scores(shown)[1] == pytest.approx(expected[1], abs=1e-5)


def test_an_onnx_file_that_answers_otherwise_is_named(tmp_path: Path):
    with pytest.raises(Failure, match=r"b.onnx is not an aesthetic predictor: it answers with the shape \['N', 2\]"):
        OnnxScorer(save_onnx(tmp_path / "b.onnx", answers=2), "onnx_file")
    with pytest.raises(Failure, match="it takes pictures of shape"):
        OnnxScorer(save_onnx(tmp_path / "c.onnx", channels=1), "onnx_file")
    (tmp_path / "d.onnx").write_bytes(b"no model")
    with pytest.raises(Failure, match=r"d.onnx cannot be loaded") as refused:
        OnnxScorer(tmp_path / "d.onnx", "onnx_file")
    assert refused.value.option == "onnx_file"
