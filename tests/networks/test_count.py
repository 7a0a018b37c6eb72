"""What a network will be is known before it is there."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.demo.demo import MODEL_FOLDER
from engine.networks.count import count
from engine.networks.kohya_format import save_lora
from engine.networks.made import reach_of
from engine.settings.training import TrainingSettings
from engine.training.counting import Counter, count_each
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.networks.test_kinds import USUAL, VARIANTS

MODEL = {"pretrained_model_name_or_path": str(MODEL_FOLDER)}


@pytest.mark.parametrize("variant", ["Standard", "LoRA-FA", *VARIANTS])
def test_the_count_is_that_of_the_network_and_its_file(variant: str, tmp_path: Path):
    given = VARIANTS.get(variant, {"lora_type": variant, "block_dims": ",".join(map(str, range(25)))})
    settings = TrainingSettings().with_values(USUAL | given | MODEL)
    family, parts = loaded()
    said = count(settings, family.lora_targets(parts, reach_of(settings)))
    method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    parameters = [parameter for group in method.parameter_groups() for parameter in group["params"]]
    assert said.parameters == sum(parameter.numel() for parameter in parameters)
    save_lora(method.network.file_weights(), {"ss_words": "w" * 2500}, tmp_path / "file.safetensors", torch.float16)
    assert said.layers == len({name.split(".")[0] for name in load_file(tmp_path / "file.safetensors")})
    assert said.file == pytest.approx((tmp_path / "file.safetensors").stat().st_size, rel=0.1)


def test_parts_that_are_not_trained_do_not_count_and_layers_too_narrow_are_told():
    def counted(**changes: object) -> dict[str, int]:
        return Counter().answer(TrainingSettings().with_values(MODEL | changes))

    whole, unet = counted(), counted(text_encoder_lr=0)
    assert whole["layers"] == whole["of"] > unet["layers"] == unet["of"]
    few = counted(exclude_patterns="attn1")
    assert few["of"] == whole["of"] > few["layers"]
    assert whole["too_narrow"] == 0
    assert counted(network_dim=10_000)["too_narrow"] == whole["layers"]


def test_a_line_of_settings_is_answered_by_a_line_whatever_is_wrong_with_it():
    good = TrainingSettings().with_values(MODEL)
    bad = good.with_values({"block_dims": "1,2"})
    nowhere = good.with_values({"pretrained_model_name_or_path": "/nowhere/model.safetensors"})
    answers = StringIO()
    count_each(
        [one.model_dump_json() + "\n" for one in (bad, nowhere)] + ["{no JSON\n", good.model_dump_json()], answers
    )
    first, second, third, last = (json.loads(line) for line in answers.getvalue().splitlines())
    assert first["option"] == "block_dims"
    assert first["failure"].startswith("Block dims has 2 numbers")
    assert "/nowhere/model.safetensors" in second["failure"]
    assert third["failure"]
    assert last["layers"] > 0


@pytest.mark.parametrize(
    ("model", "switches", "layers"),
    [
        ("runwayml/stable-diffusion-v1-5", {}, 264),
        ("stabilityai/stable-diffusion-2-1", {"v2": True}, 192 + 138),
        ("stabilityai/stable-diffusion-xl-base-1.0", {"sdxl": True}, 986),
        ("stabilityai/stable-diffusion-3-medium-diffusers", {"sd3_checkbox": True}, 72 + 192 + 24 * 10 - 3),
        ("black-forest-labs/FLUX.1-dev", {"flux1_checkbox": True}, 376),
        ("lodestones/Chroma1-HD", {"flux1_checkbox": True, "flux_model_type": "chroma"}, 228),
        ("Alpha-VLLM/Lumina-Image-2.0", {"lumina_checkbox": True}, 362),
    ],
)
def test_a_model_that_is_not_here_counts_as_the_published_one(
    model: str, switches: dict[str, object], layers: int, monkeypatch: pytest.MonkeyPatch
):
    """The counts are those of tests/networks/test_lora_families.py, which are sd-scripts'; of SD 3's blocks the last
    one's text is not worked on: 3 layers less.
    """
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": model} | switches)
    answer = Counter().answer(settings)
    assert (answer["layers"], answer["usual"]) == (layers, True)


def test_oft_of_flux_counts_the_blocks_of_each_part(monkeypatch: pytest.MonkeyPatch):
    """Four layers of each of 19 double blocks: queries, keys, values and projection, of 3072 outputs, in 4 blocks."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    flux = {"pretrained_model_name_or_path": "black-forest-labs/FLUX.1-dev", "flux1_checkbox": True}
    settings = TrainingSettings().with_values(flux | {"lora_type": "Flux1 OFT", "network_dim": 4})
    answer = Counter().answer(settings)
    assert answer["layers"] == 19 * 4
    assert answer["parameters"] == 19 * 2 * (3 + 1) * 4 * 768**2
