"""A run on pictures with aesthetic scores: what its steps cost, and that it goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.step import TrainingStep
from engine.training.train import train
from tests.stopping import Stopping

SCORES = [4.0, 5.0, 6.0, 7.0, 8.0]

WEIGHTED = {
    "score_weighting": True, "score_low": 4, "score_high": 8, "score_low_weight": 0.2, "score_words": "6: good",
}  # fmt: skip
# r = 0.2 + 0.8 · (s - 4) / 4: 0.2, 0.4, 0.6, 0.8, 1; their mean is 0.6
WEIGHTS = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]) / 0.6


@pytest.fixture
def scored(settings: TrainingSettings) -> TrainingSettings:
    pictures = sorted(Path(settings.folders.train_data_dir).rglob("*.png"))
    for picture, score in zip(pictures, SCORES, strict=True):
        picture.with_suffix(".score").write_text(str(score))
    return settings


def costs(settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[int, list[float]]:
    """What the steps of a run that learns nothing cost, by picture, each step showing one."""
    found: dict[int, list[float]] = {}
    loss_of = TrainingStep.loss_of

    def noted(step: TrainingStep, batch: Any, read: Any) -> torch.Tensor:
        cost = loss_of(step, batch, read)
        found.setdefault(batch.pictures[0], []).append(float(cost.detach()))
        return cost

    still = {"optimizer": "SGDNesterov", "unet_lr": 1e-12, "text_encoder_lr": 0.0, "learning_rate": 1e-12}
    changed = settings.with_values(still | changes)
    run = RunFolder.create("train", changed.model_dump_json(), "scored")
    with monkeypatch.context() as during:
        during.setattr(TrainingStep, "loss_of", noted)
        train(changed, run, Stopping(run) if changes.get("stops") else _report(run))
    return found


def _report(run: RunFolder) -> Any:
    from engine.training.report import Report

    return Report(run.writer())


def test_the_loss_of_a_picture_is_multiplied_by_its_weight(scored: TrainingSettings, monkeypatch: pytest.MonkeyPatch):
    """The same pictures with the same noise at the same timesteps, once with weights and once without."""
    plain = costs(scored, monkeypatch)
    weighted = costs(scored, monkeypatch, **{**WEIGHTED, "score_words": ""})
    assert sorted(plain) == list(range(5))
    for picture, weight in enumerate(WEIGHTS.tolist()):
        assert weighted[picture] == pytest.approx([weight * cost for cost in plain[picture]], rel=1e-5)


def test_regularisation_pictures_count_by_the_prior_loss_weight_alone(
    scored: TrainingSettings, monkeypatch: pytest.MonkeyPatch
):
    given = {"reg_data_dir": scored.folders.train_data_dir}  # the same five, scores and all
    plain = costs(scored, monkeypatch, **given)
    weighted = costs(scored, monkeypatch, **given, **{**WEIGHTED, "score_words": ""}, prior_loss_weight=0.5)
    for picture, weight in enumerate([*WEIGHTS.tolist(), *[0.5] * 5]):
        assert weighted[picture] == pytest.approx([weight * cost for cost in plain[picture]], rel=1e-5)


def test_a_run_says_how_many_pictures_the_threshold_leaves_out(trained, scored: TrainingSettings, tmp_path: Path):
    told = trained(score_threshold=6, max_train_steps=1)
    with safe_open(next((tmp_path / "out").glob("*.safetensors")), "pt") as file:
        said = {key: value for key, value in file.metadata().items() if key.startswith("ss_score")}
    assert (said["ss_score_threshold"], said["ss_score_weighting"]) == ("6.0", "False")
    assert "2 of 5 pictures are left out: their aesthetic scores are below 6, the Score threshold." in told.warnings


def test_a_stopped_run_on_scored_pictures_goes_on_to_the_same_bits(scored: TrainingSettings, tmp_path: Path):
    settings = scored.with_values({**WEIGHTED, "score_threshold": 5})

    def run_of(name: str) -> RunFolder:
        own = settings.with_values({"output_dir": str(tmp_path / name)})
        return RunFolder.create("train", own.model_dump_json(), name)

    def own(run: RunFolder) -> TrainingSettings:
        return TrainingSettings.model_validate_json((run.path / "settings.json").read_text())

    whole, parted = run_of("whole"), run_of("parted")
    train(own(whole), whole, _report(whole))
    assert train(own(parted), parted, Stopping(parted))[0] == "stopped"
    parted.forget_process()
    assert train(own(parted), parted, _report(parted))[0] == "done"
    files = [(tmp_path / name / "shapes.safetensors") for name in ("whole", "parted")]
    from safetensors.torch import load_file

    one, other = (load_file(file) for file in files)
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
