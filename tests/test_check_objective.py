"""What is said before a start of how noise is put on and an answer is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.check.check import check
from engine.check.mend import mended
from engine.check.problem import Problem, mendable
from engine.demo.demo import MODEL_FOLDER
from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.training import TrainingSettings


def problems(settings: TrainingSettings, **changes: Any) -> dict[str, Problem]:
    return {problem.option: problem for problem in check(settings.with_values(changes)).problems}


LUMINA = "lumina_model_prediction_type"


@pytest.mark.parametrize(
    ("changes", "option", "said"),
    [
        ({"flux1_checkbox": True}, "model_prediction_type", "a FLUX.1 model unlearn its prediction"),
        ({"flux1_checkbox": True, "flux_model_type": "chroma"}, "model_prediction_type", "a Chroma model unlearn"),
        ({"lumina_checkbox": True, LUMINA: "sigma_scaled"}, LUMINA, "a Lumina Image 2.0 model unlearn"),
        ({"lumina_checkbox": True, LUMINA: "additive"}, LUMINA, "added, but in sd-scripts it is subtracted"),
    ],
)
def test_a_file_that_asks_for_what_sd_scripts_compares_otherwise_is_told_so(
    settings: TrainingSettings, changes: dict[str, Any], option: str, said: str
):
    loaded = from_kohya(to_kohya(settings.with_values(changes))).settings
    found = problems(loaded)[option]
    assert said in found.what
    assert not found.blocking
    after = mended(found, loaded)
    assert after.values()[option] == "raw"
    assert option not in problems(after)


@pytest.mark.parametrize(
    "changes",
    [
        {},  # its family has no flow
        {"sd3_checkbox": True},  # sd-scripts compares its pictures too
        {"flux1_checkbox": True, "model_prediction_type": "raw"},
        {"flux1_checkbox": True, "model_prediction_type": "additive"},
        {"lumina_checkbox": True},
    ],
)
def test_nothing_is_said_where_both_do_the_same(settings: TrainingSettings, changes: dict[str, Any]):
    assert not {"model_prediction_type", LUMINA} & set(problems(settings, **changes))


def test_the_button_mends_first_what_hinders_the_start():
    told, hinders = Problem("a", "", blocking=False, fix="A"), Problem("b", "", fix="B")
    assert mendable([told, Problem("c", ""), hinders]) == [hinders, told]


@pytest.mark.parametrize(("least", "most", "wrong"), [(700, 300, True), (300, 300, False), (1000, 1000, False)])
def test_timesteps_may_be_one_but_not_backwards(settings: TrainingSettings, least: int, most: int, wrong: bool):
    found = problems(settings, min_timestep=least, max_timestep=most)
    assert ("min_timestep" in found) == wrong
    if wrong:
        assert found["min_timestep"].what == "Min Timestep 700 is above Max Timestep 300."


@pytest.mark.parametrize(("prediction", "told"), [("noise", True), ("velocity", False)])
def test_no_signal_at_the_end_is_for_models_that_predict_velocity(
    settings: TrainingSettings, prediction: str, told: bool, tmp_path: Path
):
    """The built-in model predicts noise, and its own list says so."""
    model = shutil.copytree(MODEL_FOLDER, tmp_path / "model")
    listed = model / "scheduler" / "scheduler_config.json"
    config = json.loads(listed.read_text())
    listed.write_text(json.dumps(config | {"prediction_type": "epsilon" if prediction == "noise" else "v_prediction"}))
    of = settings.with_values({"pretrained_model_name_or_path": str(model)})
    assert "zero_terminal_snr" not in problems(of)
    found = problems(of, zero_terminal_snr=True).get("zero_terminal_snr")
    assert (found is not None) == told
    assert found is None or not found.blocking


class TestOneRate:
    """Optimizers that take one learning rate for all that is trained end a run in its first step where there are two.

    Which these are was found out by three steps of each with two groups of unlike rates; some take the first for both.
    """

    @pytest.mark.shows("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
    @pytest.mark.parametrize("name", ["Prodigy", "DAdaptAdam", "DAdaptLion", "DAdaptation"])
    @pytest.mark.parametrize(
        ("option", "rates"),
        [
            ("loraplus_lr_ratio", {}),
            ("loraplus_unet_lr_ratio", {}),
            ("loraplus_text_encoder_lr_ratio", {}),
            ("loraplus_lr_ratio", {"text_encoder_lr": 0}),
        ],
    )
    def test_lora_plus_is_refused_and_mended(self, settings: TrainingSettings, name: str, option: str, rates: dict):
        told = {"optimizer": name, "unet_lr": 1, "text_encoder_lr": 1, **rates, option: 16}
        found = problems(settings, **told)[option]
        assert found.blocking
        assert f"{name} uses one learning rate for all parts, but LoRA+ asks for 16 times as much" in found.what
        assert option not in problems(mended(found, settings.with_values(told)))

    @pytest.mark.parametrize("rates", [{"text_encoder_lr": 0.5}, {"unet_lr": 0.25}])
    def test_so_are_unlike_rates(self, settings: TrainingSettings, rates: dict[str, float]):
        told = {"optimizer": "Prodigy", "unet_lr": 1, "text_encoder_lr": 1, **rates}
        assert problems(settings, **told)["text_encoder_lr"].blocking

    @pytest.mark.parametrize(
        "changes",
        [
            {"loraplus_lr_ratio": 1},
            {"loraplus_text_encoder_lr_ratio": 16, "text_encoder_lr": 0},  # which is not trained
            {"loraplus_lr_ratio": 16, "optimizer": "prodigyplus.ProdigyPlusScheduleFree"},  # takes several
            {"text_encoder_lr": 0.5, "optimizer": "prodigyplus.ProdigyPlusScheduleFree"},
        ],
    )
    def test_what_these_can_do_is_not_refused(self, settings: TrainingSettings, changes: dict[str, Any]):
        told = {"optimizer": "Prodigy", "unet_lr": 1, "text_encoder_lr": 1, **changes}
        assert check(settings.with_values(told)).can_start
