"""A file says in its metadata what made its network, so that a run like its own can be set up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from engine.networks.kohya_format import as_text
from engine.settings.from_metadata import from_metadata
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.test_kinds import USUAL, VARIANTS

OF_NETWORKS = ("network", "lycoris", "blocks", "flux_ranks")

TOLD: dict[str, dict[str, Any]] = {
    **VARIANTS,
    "Standard": {},
    "Standard, blocks": {"block_dims": ",".join("4" * 25), "down_lr_weight": "cosine"},
    "Standard, GGPO": {"train_lora_ggpo": True, "ggpo_sigma": 0.05},
    "Kohya LoCon, GGPO": {"lora_type": "Kohya LoCon", "train_lora_ggpo": True},
    "Kohya LoCon": {"lora_type": "Kohya LoCon"},
    "LoRA-FA": {"lora_type": "LoRA-FA"},
    "T-LoRA, usual": {"lora_type": "T-LoRA"},
    "T-LoRA, exponent": {"lora_type": "T-LoRA", "tlora_least_rank": 2, "tlora_exponent": 1.5},
    "T-LoRA, patterns": {"lora_type": "T-LoRA", "network_reg_dims": "attn1=2"},
    "LoKr, stabilised": {"lora_type": "LyCORIS/LoKr", "rs_lora": True},
}


def said(settings: TrainingSettings) -> dict[str, Any]:
    values = settings.values() | {"method": "lora"}
    items = [item for item in settings.options() if item.path[0] in OF_NETWORKS and item.applies(values)]
    return {item.name: item.value_in(settings) for item in items}


@pytest.mark.parametrize("told", TOLD)
def test_a_network_s_options_come_back_from_its_file(told: str):
    settings = TrainingSettings().for_method("lora").with_values(USUAL | TOLD[told])
    family, parts = loaded()
    method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    entries = {name: as_text(value) for name, value in method.metadata().items()}
    assert said(from_metadata(entries, TrainingSettings())[0].settings) == said(settings)


FLUX = {"Flux1": {}, "LyCORIS/LoKr": {}, "T-LoRA": {"tlora_least_rank": 2}, "LoRA-FA": {"split_qkv": True}}


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("flux")
    small("flux").save_pretrained(folder)
    return loaded(folder, **SETTINGS["flux"])


@pytest.mark.parametrize("kind", FLUX)
@pytest.mark.parametrize(
    "blocks", [{}, {"train_blocks": "double"}, {"split_mode": True}, {"train_single_block_indices": "0-5"}]
)
def test_so_does_where_on_flux_it_is(kind: str, blocks: dict[str, Any], flux: Any):
    given = SETTINGS["flux"] | {"lora_type": kind, "img_mlp_dim": "3"} | FLUX[kind] | blocks
    settings = TrainingSettings().for_method("lora").with_values(USUAL | given)
    family, parts = type(flux[0])(settings), copy.deepcopy(flux[1])
    method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    entries = method.metadata() | family.facts(settings, parts)
    again = from_metadata({name: as_text(value) for name, value in entries.items()}, TrainingSettings())[0].settings
    assert said(again) == said(settings)
    assert again.applied("split_qkv") == settings.applied("split_qkv")
    assert again.applied("train_blocks") == ("single" if "split_mode" in blocks else settings.applied("train_blocks"))
