"""What a run has saved, a run with the very same settings begins from: the check says nothing, and the run takes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.check.network import check_network
from engine.check.network_weights import check_network_weights
from engine.models.family import Family
from engine.models.parts import Parts
from engine.models.published import published
from engine.models.trained import TRAINED
from engine.networks.dialects import place_named
from engine.networks.made import reach_of
from engine.networks.trained_names import may_train, name_in_file
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.test_kinds import FLUXS, USUAL, VARIANTS

RATES = {"unet_lr": 1e-4, "text_encoder_lr": 1e-4}
WHOLE = {"lora_type": "LyCORIS/LoKr", "lycoris_preset": "preset.toml"}
"""With a preset file that puts a network on every layer."""

OF_SDXL = ",".join("12" * 11 + "3")
BY_BLOCK = ",".join(str(1 + number % 2) for number in range(25))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Family, Parts]]:
    """Filled as they are asked for."""
    return {}


def made_and_taken_back(
    name: str, given: Mapping[str, Any], models: dict[str, tuple[Path, Family, Parts]], folder: Path
) -> list[str]:
    """What the check says of the file that a run of these settings makes; the run itself raises if it refuses it."""
    if name not in models:
        model = folder / name
        if name != "sd1":
            small(name).save_pretrained(model)
        models[name] = (model, *(loaded() if name == "sd1" else loaded(model, **SETTINGS[name])))
    model, loaded_family, parts = models[name]
    (folder / "preset.toml").write_text('unet_target_name = [".*"]\ntext_encoder_target_name = [".*"]')
    values = USUAL | RATES | SETTINGS.get(name, {}) | given
    if values.get("lycoris_preset") == "preset.toml":
        values["lycoris_preset"] = str(folder / "preset.toml")
    if name != "sd1":
        values["pretrained_model_name_or_path"] = str(model)
    file = folder / "own.safetensors"

    def run(**more: Any) -> tuple[LoraMethod, TrainingSettings]:
        settings = TrainingSettings().for_method("lora").with_values(values | more)
        family = type(loaded_family)(settings)
        return LoraMethod(family, copy.deepcopy(parts), settings, total_steps=1, dtype=torch.float32), settings

    run()[0].save(file, {})
    _, settings = run(network_weights=str(file))
    problems = (*check_network(settings), *check_network_weights(settings))
    return [problem.what for problem in problems if problem.blocking]


OWN: dict[str, tuple[str, dict[str, Any]]] = {
    **{variant: ("sd1", given) for variant, given in VARIANTS.items()},
    **{variant: ("flux", given) for variant, given in FLUXS.items()},
    "Standard": ("sd1", {}),
    "Kohya LoCon": ("sd1", {"lora_type": "Kohya LoCon"}),
    "LoRA-FA": ("sd1", {"lora_type": "LoRA-FA"}),
    "Standard, Conv dims": ("sd1", {"conv_block_dims": BY_BLOCK}),
    "T-LoRA, Conv dims": ("sd1", {"lora_type": "T-LoRA", "conv_block_dims": BY_BLOCK}),
    "Standard, SDXL, Conv dims": ("sdxl", {"conv_block_dims": OF_SDXL}),
    "blocks": ("sd1", {"block_dims": BY_BLOCK}),
    "ranks of text encoders by layer": ("sd1", {"network_reg_dims": "lora_te_=2, attn1=3"}),
    "ranks of text encoders by layer, SD 2": ("sd2", {"network_reg_dims": "lora_te_=2, attn1=3"}),
    "only text encoders": ("sd1", {"exclude_patterns": ".*", "include_patterns": "^lora_te_"}),
    "only text encoders, SDXL": ("sdxl", {"exclude_patterns": ".*", "include_patterns": "^lora_te[12]_"}),
    "only text encoders, refiner": ("sdxl-refiner", {"exclude_patterns": ".*", "include_patterns": "^lora_te_"}),
    "only text encoders, FLUX.1": ("flux", {"exclude_patterns": ".*", "include_patterns": "^lora_te1_"}),
    "only text encoders, Lumina": ("lumina", {"exclude_patterns": ".*", "include_patterns": "^lora_te_"}),
    **{f"everywhere, {name}": (name, WHOLE) for name in ("sd1", *SETTINGS) if "-in" not in name and "-de" not in name},
    "edges alone, SDXL": ("sdxl", WHOLE | {"exclude_patterns": ".*", "include_patterns": "time_embed|out_2"}),
    "inputs, FLUX.1": ("flux", {"in_dims": "1,2,3,4,5"}),
    "ranks of parts, FLUX.1": ("flux", {"img_attn_dim": "2", "single_dim": "3"}),
    "one kind of blocks, FLUX.1": ("flux", {"train_blocks": "single"}),
    "a kind of layers": ("sd1", {"lora_type": "LyCORIS/LoHa", "lycoris_preset": "attn-only"}),
    "no convolutions": ("sd1", {"lora_type": "LyCORIS/LoCon", "conv_dim": 0}),
    "ComfyUI's names, ranks by layer": ("sd1", {"lora_file_dialect": "ComfyUI", "network_reg_dims": "down_blocks=2"}),
    "ComfyUI's names, blocks, SDXL": ("sdxl", {"lora_file_dialect": "ComfyUI", "block_dims": OF_SDXL}),
    "diffusers' names, blocks, SDXL": ("sdxl", {"lora_file_dialect": "diffusers", "block_dims": OF_SDXL}),
    "diffusers' names, FLUX.1": ("flux", {"lora_file_dialect": "diffusers", "network_reg_dims": "img_attn=2"}),
    "diffusers' names, parts apart, FLUX.1": (
        "flux", {"lora_file_dialect": "diffusers", "lora_type": "Flux1", "train_blocks": "single", "split_qkv": True},
    ),
    "ComfyUI's names, SD 3": ("sd3", {"lora_file_dialect": "ComfyUI"}),
    "diffusers' names, SD 3": ("sd3", {"lora_file_dialect": "diffusers"}),
}  # fmt: skip


@pytest.mark.parametrize("own", OWN)
def test_a_file_is_taken_by_the_settings_that_made_it(
    own: str, models: dict[str, tuple[Path, Family, Parts]], tmp_path: Path
):
    name, given = OWN[own]
    assert made_and_taken_back(name, given, models, tmp_path) == []


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("sd1", {}), ("sd2", {"v2": True}), ("sdxl", {"sdxl": True}), ("sd3", {"sd3_checkbox": True}),
        ("flux", {"flux1_checkbox": True}), ("chroma", {"flux1_checkbox": True, "flux_model_type": "chroma"}),
        ("lumina", {"lumina_checkbox": True}),
    ],
)  # fmt: skip
def test_places_are_called_as_the_families_call_them(name: Any, switches: dict[str, Any], tmp_path: Path):
    """At the published sizes, of all that a preset file can name."""
    (tmp_path / "preset.toml").write_text('unet_target_name = [".*"]\ntext_encoder_target_name = [".*"]')
    module, _, kind = TRAINED[name].partition(":")
    values = WHOLE | switches | {"lycoris_preset": str(tmp_path / "preset.toml")}
    settings = TrainingSettings().with_values(values)
    parts = published(name)
    assert parts
    names = {
        attachment.name
        for target in getattr(import_module(module), kind)(settings).lora_targets(parts, reach_of(settings))
        for attachment in target.attachments
    }
    assert {name_in_file(name, place_named(one)) for one in names} == names
    assert {one for one in names if not may_train(name, place_named(one))} == set()
