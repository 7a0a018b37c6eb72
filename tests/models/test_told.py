"""What a file says of itself: read where it tells what shapes do not, and by what programs it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.check.mend import mended
from engine.check.model import SET_FAMILY, check_model, switches_of
from engine.models.recognise import Found, by_shapes, recognise
from engine.models.told import family_told, name_told, predicted
from engine.settings.training import TrainingSettings
from tests.models.test_recognise import HEADERS, SD1, SD2, SDXL
from ui.model_switches import switches_for

MODEL = "pretrained_model_name_or_path"


@pytest.mark.parametrize(
    ("metadata", "prediction"),
    [
        ({"modelspec.prediction_type": "v"}, "v_prediction"),
        ({"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ({"modelspec.prediction_type": "V-Prediction"}, "v_prediction"),
        ({"ss_v_parameterization": "True"}, "v_prediction"),
        ({"ss_v_parameterization": "False"}, "epsilon"),
        ({"ss_base_model_version": "sd_v2_v"}, "v_prediction"),
        ({"ss_base_model_version": "sd_v1"}, "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base"}, None),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, None),
        ({"modelspec.prediction_type": "rf"}, None),
        ({"modelspec.prediction_type": "v", "ss_base_model_version": "sd_v1"}, "v_prediction"),
        ({"modelspec.prediction_type": "epsilon", "ss_v_parameterization": "True"}, "epsilon"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("shapes", [SD1, SD2, SDXL], ids=["sd1", "sd2", "sdxl"])
def test_the_prediction_is_what_the_file_says(
    metadata: dict[str, str], prediction: str | None, shapes: dict[str, Any]
) -> None:
    assert predicted(metadata) == by_shapes(shapes, metadata).prediction == prediction
    assert by_shapes(shapes | {"v_pred": (0,)}, metadata).prediction == "v_prediction"  # what programs go by


@pytest.mark.parametrize("kind", ["flux", "sd3-alone", "lumina", "vae", "clip"])
def test_of_families_that_follow_a_flow_it_is_not_asked(kind: str) -> None:
    shapes, found = HEADERS[kind]
    assert by_shapes(shapes, {"modelspec.prediction_type": "v"}) == found


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd1"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux"),
        ({"modelspec.architecture": "stable-diffusion-3-medium/lora"}, "sd3"),
        ({"modelspec.architecture": "lumina-2/lora"}, "lumina"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "sd_v2"}, "sd2"),
        ({"ss_base_model_version": "flux1"}, "flux"),
        ({"ss_v2": "True"}, "sd2"),
        ({"ss_v2": "False"}, None),
        ({"modelspec.architecture": "something-new"}, None),
    ],
)
def test_a_lora_says_what_it_was_made_for(metadata: dict[str, str], family: str | None) -> None:
    assert family_told(metadata) == family
    found = by_shapes({"lora_unet_down_blocks_0.lora_down.weight": (8, 320)}, metadata)
    assert (found.kind, found.family) == ("lora", family)


def test_a_lora_chosen_as_base_model_is_called_by_its_name(tmp_path: Path) -> None:
    weights = {"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(8, 320)}
    save_file(weights, tmp_path / "cat.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})
    settings = TrainingSettings().with_values({MODEL: str(tmp_path / "cat.safetensors")})
    (problem,) = [problem for problem in check_model(settings) if problem.option == MODEL]
    assert problem.what == "This file is an SDXL LoRA, not a base model."


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"modelspec.architecture": "Wan2.1-T2V"}, ": it calls itself wan2.1-t2v."),
        ({"ss_base_model_version": "framepack"}, ": it calls itself framepack."),
        ({}, "."),
    ],
)
def test_a_kind_that_is_not_known_is_called_what_it_calls_itself(
    metadata: dict[str, str], said: str, tmp_path: Path
) -> None:
    save_file({"blocks.0.weight": torch.zeros(2)}, tmp_path / "m.safetensors", metadata)
    settings = TrainingSettings().with_values({MODEL: str(tmp_path / "m.safetensors")})
    (problem,) = [problem for problem in check_model(settings) if problem.option == MODEL]
    assert problem.what == f"This file contains no model that Darkroom knows{said}"
    assert len(name_told({"modelspec.architecture": "x" * 10_000})) == 60


def model_file(tmp_path: Path, shapes: dict[str, Any], metadata: dict[str, str]) -> str:
    weights = {name: torch.zeros(shape[:1] + (0,) * (len(shape) - 1)) for name, shape in shapes.items()}
    first = "model.diffusion_model.input_blocks.0.0.weight"
    if first in shapes:
        weights[first] = torch.zeros(2, *shapes[first][1:])
    save_file(weights, tmp_path / "m.safetensors", metadata)
    return str(tmp_path / "m.safetensors")


def test_the_form_is_set_for_what_the_file_says(tmp_path: Path) -> None:
    for told, switched in (("v", True), ("epsilon", False)):
        file = model_file(tmp_path, SDXL, {"modelspec.prediction_type": told})
        assert switches_of(recognise(file) or Found("unknown"))["v_parameterization"] is switched
        changes, sentence = switches_for(file, {"v_parameterization": not switched})
        assert changes == {"v_parameterization": switched}
        assert "the form has been set up for it" in sentence


def test_settings_that_say_otherwise_are_told_and_mended(tmp_path: Path) -> None:
    for told, switch, word in (("v", False, "predicts velocity"), ("epsilon", True, "predicts noise")):
        file = model_file(tmp_path, SD1, {"modelspec.prediction_type": told})
        settings = TrainingSettings().with_values({MODEL: file, "v_parameterization": switch})
        (problem,) = [problem for problem in check_model(settings) if problem.option == "v_parameterization"]
        assert word in problem.what
        assert not problem.blocking  # words may be older than the file
        assert problem.fix == SET_FAMILY
        found = recognise(file)
        assert found is not None
        right = settings.with_values({"v_parameterization": switches_of(found)["v_parameterization"]})
        assert mended(problem, settings).families.v_parameterization == right.families.v_parameterization
        assert not [one for one in check_model(right) if one.option == "v_parameterization"]


def test_settings_that_say_the_same_are_passed(tmp_path: Path) -> None:
    for told, switch in (("v", True), ("epsilon", False)):
        file = model_file(tmp_path, SD1, {"modelspec.prediction_type": told})
        settings = TrainingSettings().with_values({MODEL: file, "v_parameterization": switch})
        assert "v_parameterization" not in {problem.option for problem in check_model(settings)}
