"""Whole models as folders in the names and files that transformers 4 looks for.

The lists below are those of models on the hub, as transformers 4.54 and 4.57 name and read them; with these versions
themselves, python -m tests.reliability.older_libraries asks.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer, T5TokenizerFast

from engine.demo.demo import MODEL_FOLDER
from engine.models.classic import save_module, save_tokenizer
from engine.models.diffusers_folder import ONE_FILE, save_folder
from engine.models.parts import Parts
from tests.models.loading import loaded
from tests.models.small import FAMILIES
from tests.models.small import pipeline as small

BOTH = ("weight", "bias")
CLIP = [
    "text_model.embeddings.position_embedding.weight",
    "text_model.embeddings.token_embedding.weight",
    *(f"text_model.encoder.layers.#.{part}.{kind}"
      for part in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2", "self_attn.k_proj", "self_attn.out_proj",
                   "self_attn.q_proj", "self_attn.v_proj")
      for kind in BOTH),
    *(f"text_model.final_layer_norm.{kind}" for kind in BOTH),
]  # fmt: skip
T5 = [
    "shared.weight",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    "encoder.final_layer_norm.weight",
    *(f"encoder.block.#.layer.0.{part}.weight" for part in ("SelfAttention.k", "SelfAttention.o", "SelfAttention.q",
                                                            "SelfAttention.v", "layer_norm")),
    *(f"encoder.block.#.layer.1.{part}.weight" for part in ("DenseReluDense.wi_0", "DenseReluDense.wi_1",
                                                            "DenseReluDense.wo", "layer_norm")),
]  # fmt: skip
GEMMA = [
    "embed_tokens.weight",
    "norm.weight",
    *(f"layers.#.{part}.weight"
      for part in ("input_layernorm", "mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "post_attention_layernorm",
                   "post_feedforward_layernorm", "pre_feedforward_layernorm", "self_attn.k_proj", "self_attn.o_proj",
                   "self_attn.q_proj", "self_attn.v_proj")),
]  # fmt: skip
NAMES = {
    "CLIPTextModel": CLIP,
    "CLIPTextModelWithProjection": [*CLIP, "text_projection.weight"],
    "T5EncoderModel": T5,
    "Gemma2Model": GEMMA,
}
"""Transformers 4's names of the weights of each text encoder; # is a layer's number."""

OF_CLIP = {"merges.txt", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"}
OF_OTHERS = {"special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}

TOKENIZERS = {"CLIPTokenizer": OF_CLIP, "T5TokenizerFast": OF_OTHERS, "GemmaTokenizerFast": OF_OTHERS}
"""Classes by transformers 4's names, and their files; the slow kinds of T5 and Gemma ask for SentencePiece's."""

PROCESSORS = {"DPTImageProcessor"}

SCHEDULERS = {"DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler", "PNDMScheduler"}

CAPTIONS = ("a red circle", "A blue   Star, (zebra) 12!", "")


@pytest.fixture(scope="module", params=("sd1", *FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a family, as this program saves it."""
    work = tmp_path_factory.mktemp(request.param)
    source = MODEL_FOLDER if request.param == "sd1" else work / "source"
    if request.param != "sd1":
        small(request.param).save_pretrained(source)
    family, parts = loaded(source)
    (work / "model").mkdir()
    save_folder(work / "model", family.pipeline, parts, torch.float32, safe=True)
    return work / "model"


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def names_in(part: Path) -> set[str]:
    with safe_open(part / "model.safetensors", "pt") as file:
        return set(file.keys())


def classic(kind: str, config: dict[str, Any]) -> set[str]:
    layers = config.get("num_hidden_layers") or config["num_layers"]
    return {name.replace("#", str(layer)) for name in NAMES[kind] for layer in range(layers)}


def ids(tokenizer: Any) -> list[list[int]]:
    return [tokenizer(caption).input_ids for caption in CAPTIONS]


def test_text_encoders_have_the_names_that_transformers_4_reads(folder: Path):
    parts = sorted(folder.glob("text_encoder*"))
    assert parts
    for part in parts:
        config = read(part / "config.json")
        assert names_in(part) == classic(config["architectures"][0], config)


def test_configurations_say_the_number_format_and_turned_positions_as_transformers_4_does(folder: Path):
    for part in sorted(folder.glob("text_encoder*")):
        config = read(part / "config.json")
        assert config["torch_dtype"] == "float32"
        assert "dtype" not in config
        assert config["architectures"][0] in NAMES
        if config["model_type"] == "gemma2":
            assert config["rope_theta"] == 10000.0


def test_tokenizers_have_the_files_of_both_kinds(folder: Path):
    index = read(folder / "model_index.json")
    parts = sorted(folder.glob("tokenizer*"))
    assert parts
    for part in parts:
        kind = index[part.name][1]
        assert {file.name for file in part.iterdir()} == TOKENIZERS[kind]
        config = read(part / "tokenizer_config.json")
        assert config["tokenizer_class"] == kind
        special = read(part / "special_tokens_map.json")
        assert special
        assert {name: config[name] for name in special} == special
        # A list there is what transformers 4 falls over; it has additional_special_tokens.
        assert not {"extra_special_tokens", "backend", "is_local", "local_files_only"} & config.keys()


def test_the_list_of_parts_names_classes_that_transformers_4_has(folder: Path):
    index = read(folder / "model_index.json")
    named = {said[1] for said in index.values() if isinstance(said, list) and said[0] == "transformers"}
    assert named - {"DPTForDepthEstimation"} <= NAMES.keys() | TOKENIZERS.keys() | PROCESSORS
    assert index["scheduler"][1] in SCHEDULERS
    assert read(folder / "scheduler" / "scheduler_config.json")["_class_name"] == index["scheduler"][1]


def test_clips_files_of_old_alone_read_captions_alike(folder: Path, tmp_path: Path):
    """vocab.json and merges.txt, by which the slow tokenizer of transformers 4 reads."""
    for part in sorted(folder.glob("tokenizer*")):
        if not (part / "vocab.json").is_file():
            continue
        shutil.copytree(part, tmp_path / part.name)
        (tmp_path / part.name / "tokenizer.json").unlink()
        assert ids(CLIPTokenizer.from_pretrained(tmp_path / part.name)) == ids(CLIPTokenizer.from_pretrained(part))


def test_a_folder_in_the_names_of_transformers_5_is_still_read(tmp_path: Path):
    """As this program once saved them."""
    made = small("sdxl")
    made.save_pretrained(tmp_path / "model")
    assert "encoder.layers.0.mlp.fc1.weight" in names_in(tmp_path / "model" / "text_encoder")
    assert not (tmp_path / "model" / "tokenizer" / "vocab.json").exists()
    _, parts = loaded(tmp_path / "model")
    for read_again, own in zip(parts.text_encoders, (made.text_encoder, made.text_encoder_2), strict=True):
        assert read_again.state_dict().keys() == own.state_dict().keys()
        assert all(torch.equal(read_again.state_dict()[name], t) for name, t in own.state_dict().items())


def test_the_built_in_model_is_in_both_libraries_names():
    config = read(MODEL_FOLDER / "text_encoder" / "config.json")
    assert names_in(MODEL_FOLDER / "text_encoder") == classic("CLIPTextModel", config)
    assert config["torch_dtype"] == "float16"
    assert {file.name for file in (MODEL_FOLDER / "tokenizer").iterdir()} == OF_CLIP


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_text_encoder_is_read_again_in_the_number_format_that_it_was_saved_in(dtype: torch.dtype, tmp_path: Path):
    encoder = small("flux").text_encoder.to(dtype)
    save_module(encoder, tmp_path, ONE_FILE)
    again = CLIPTextModel.from_pretrained(tmp_path)
    assert again.dtype == dtype
    assert all(torch.equal(again.state_dict()[name], t) for name, t in encoder.state_dict().items())


@pytest.fixture(scope="module")
def spiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """T5's tokenizer as it lies on the hub: SentencePiece's file, and no tokenizer.json."""
    folder = tmp_path_factory.mktemp("spiece")
    (folder / "words.txt").write_text("a red circle on a blue ground, 12 zebras\n" * 20, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"), model_prefix=str(folder / "spiece"), vocab_size=32, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )  # fmt: skip
    config = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
              "extra_ids": 100, "model_max_length": 512}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_the_sentencepiece_file_of_a_t5_comes_along(spiece: Path, tmp_path: Path):
    tokenizer = T5TokenizerFast.from_pretrained(spiece)
    save_tokenizer(tokenizer, tmp_path / "one")
    assert (tmp_path / "one" / "spiece.model").read_bytes() == (spiece / "spiece.model").read_bytes()
    # And on from there, where tokenizer.json is what is read.
    save_tokenizer(AutoTokenizer.from_pretrained(tmp_path / "one"), tmp_path / "two")
    assert (tmp_path / "two" / "spiece.model").read_bytes() == (spiece / "spiece.model").read_bytes()
    assert ids(T5TokenizerFast.from_pretrained(tmp_path / "two")) == ids(tokenizer)


def test_t5s_hundred_places_to_fill_in_are_told_by_the_name_of_old(spiece: Path, tmp_path: Path):
    save_tokenizer(T5TokenizerFast.from_pretrained(spiece), tmp_path / "saved")
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        told = read(tmp_path / "saved" / file)["additional_special_tokens"]
        assert set(told) == {f"<extra_id_{number}>" for number in range(100)}
    assert len(T5TokenizerFast.from_pretrained(tmp_path / "saved")) == len(T5TokenizerFast.from_pretrained(spiece))


def test_a_token_that_was_added_to_clips_stays_one(tmp_path: Path):
    tokenizer = CLIPTokenizer.from_pretrained(MODEL_FOLDER / "tokenizer")
    tokenizer.add_tokens(["<mine>"])
    save_tokenizer(tokenizer, tmp_path / "saved")
    added = read(tmp_path / "saved" / "tokenizer_config.json")["added_tokens_decoder"]
    assert added[str(len(tokenizer) - 1)]["content"] == "<mine>"
    again = CLIPTokenizer.from_pretrained(tmp_path / "saved")
    assert again("a <mine>").input_ids == tokenizer("a <mine>").input_ids


def test_a_sentencepiece_file_is_copied_into_the_whole_models_folder(spiece: Path, tmp_path: Path):
    """A model whose T5 reads by such a file, loaded and saved as a folder."""
    small("flux").save_pretrained(tmp_path / "source")
    shutil.rmtree(tmp_path / "source" / "tokenizer_2")
    shutil.copytree(spiece, tmp_path / "source" / "tokenizer_2")
    family, parts = loaded(tmp_path / "source")
    assert isinstance(parts, Parts)
    (tmp_path / "model").mkdir()
    save_folder(tmp_path / "model", family.pipeline, parts, torch.float32, safe=True)
    assert {file.name for file in (tmp_path / "model" / "tokenizer_2").iterdir()} == {*OF_OTHERS, "spiece.model"}
