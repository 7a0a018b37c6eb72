"""What a network file is, by its tensors alone: in words, and as the settings of a run that makes such a one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.models.family import Family
from engine.models.header import read_metadata, read_numbers
from engine.models.parts import Parts
from engine.networks.described import described
from engine.settings.from_metadata import from_metadata
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.networks.test_kinds import VARIANTS, attached

Loaded = tuple[Family, Parts]


@pytest.fixture(scope="module")
def pocket() -> Loaded:
    return loaded()


def saved(variant: str, model: Loaded, file: Path, form: torch.dtype = torch.float32) -> dict[str, Tensor]:
    family, parts = model[0], copy.deepcopy(model[1])
    weights = attached(variant, family, parts)[0].file_weights()
    weights = {name: tensor.to(form) for name, tensor in weights.items()}
    save_file(weights, file)
    return weights


def made(model: Loaded, settings: TrainingSettings) -> dict[str, Tensor]:
    family, parts = model[0], copy.deepcopy(model[1])
    return LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32).network.file_weights()


@pytest.mark.parametrize("form", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", VARIANTS)
def test_train_like_this_one_makes_a_network_of_the_same_layers_sizes_and_alphas(
    variant: str, form: torch.dtype, pocket: Loaded, tmp_path: Path
):
    """Of a file without a word about itself."""
    weights = saved(variant, pocket, tmp_path / "old.safetensors", form)
    base = TrainingSettings().for_method("lora").with_values({"network_dim": 77, "lora_type": "Lumina"})
    shown = described(tmp_path / "old.safetensors").values()
    read, notes = from_metadata(read_metadata(tmp_path / "old.safetensors"), base, shown)
    settings = read.settings.for_method("lora").with_values({"unet_lr": 1e-4, "text_encoder_lr": 1e-4})
    again = made(pocket, settings)
    assert {name: tensor.shape for name, tensor in again.items()} == {name: one.shape for name, one in weights.items()}
    told = [name for name in weights if name.endswith((".alpha", ".on_input"))]
    whole = "whole" in variant or "full" in variant  # whose alpha has no meaning
    assert whole or all(float(again[name]) == pytest.approx(float(weights[name]), rel=0.01) for name in told)
    assert notes[0].startswith("The file does not say what kind of network it is")


def test_what_the_metadata_say_goes_before(pocket: Loaded, tmp_path: Path):
    saved("LoKr, factor 4, both", pocket, tmp_path / "old.safetensors")
    shown = described(tmp_path / "old.safetensors").values()
    said = {"ss_network_module": "networks.lora", "ss_network_dim": "32", "ss_network_alpha": "16"}
    read, _ = from_metadata(said, TrainingSettings().for_method("lora"), shown)
    network = read.settings.network
    assert (network.lora_type, network.network_dim, network.network_alpha) == ("Standard", 32, 16)


@pytest.mark.parametrize("dim", ["None", "Dynamic"])
def test_a_rank_that_the_metadata_do_not_say_is_the_tensors(dim: str, pocket: Loaded, tmp_path: Path):
    """As after a resize, which leaves a word there."""
    saved("LoHa", pocket, tmp_path / "old.safetensors")
    shown = described(tmp_path / "old.safetensors").values()
    said = {"ss_network_module": "lycoris.kohya", "ss_network_dim": dim, "ss_network_args": '{"algo": "loha"}'}
    read, notes = from_metadata(said, TrainingSettings().for_method("lora"), shown)
    network = read.settings.network
    assert (network.lora_type, network.network_dim, network.network_alpha) == ("LyCORIS/LoHa", 4, 2)
    assert any("those of most layers in the file" in note for note in notes)


@pytest.mark.parametrize(
    ("variant", "sentences"),
    [
        ("LoCon", ["is a LoCon, with", "Rank: 4.", "Rank of 3×3 convolutions: 2.", "Alpha: 2 in"]),
        ("LoHa, DoRA", ["is a LoHa with DoRA for", "named as kohya names layers", "Rank: 4."]),
        ("LoKr, factor 4, both", ["is a LoKr for", "The first matrix is 4 × 4 in most layers"]),
        ("LoKr, whole", ["of the second matrices are whole"]),
        ("(IA)3", ["is an (IA)³ network for"]),
        ("Diag-OFT, constrained", ["is a Diag-OFT network for", "Blocks: 4", "Limit: 0.01."]),
        ("Native", ["is the result of native fine-tuning for"]),
    ],
)
def test_it_is_told_in_words(variant: str, sentences: list[str], pocket: Loaded, tmp_path: Path):
    saved(variant, pocket, tmp_path / "old.safetensors")
    told = " ".join(described(tmp_path / "old.safetensors").sentences())
    assert [sentence for sentence in sentences if sentence not in told] == [], told
    assert "layers, " in told


def test_what_is_no_network_or_of_a_foreign_kind(tmp_path: Path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    none = described(tmp_path / "a.safetensors")
    assert (none.sentences(), none.values()) == ([], {})
    save_file({"base_model.model.x.vera_lambda_b": torch.zeros(2)}, tmp_path / "b.safetensors")
    foreign = described(tmp_path / "b.safetensors")
    assert foreign.sentences() == ["This file is of type VeRA, which is not trained here."]
    assert foreign.values() == {}


@pytest.mark.parametrize(
    "form", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool]
)
def test_single_numbers_are_read_in_every_format(form: torch.dtype, tmp_path: Path):
    tensors: dict[str, Any] = {"a": torch.tensor(1).to(form), "b": torch.ones(1).to(form), "c": torch.ones(3).to(form)}
    save_file({"before": torch.zeros(5), **tensors}, tmp_path / "a.safetensors")
    assert read_numbers(tmp_path / "a.safetensors", ["a", "b", "c"]) == {"a": 1.0, "b": 1.0}
