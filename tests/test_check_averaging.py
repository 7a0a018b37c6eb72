"""What is said before a start of an average that would average nothing, and of the room that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.check.check import check
from engine.check.problem import Problem
from engine.check.space import saved_bytes, state_bytes
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues


def problems(settings: TrainingSettings, **changes: Any) -> dict[str, Problem]:
    return {problem.option: problem for problem in check(settings.with_values(changes)).problems}


def test_the_default_suits_a_short_run(settings: TrainingSettings):
    assert check(settings.with_values({"ema": True})).problems == []


@pytest.mark.parametrize("optimizer", ["AdamWScheduleFree", "prodigyplus.ProdigyPlusScheduleFree"])
def test_an_optimizer_that_averages_itself_is_refused(settings: TrainingSettings, optimizer: str):
    found = problems(settings, ema=True, optimizer=optimizer, unet_lr=1.0, text_encoder_lr=1.0)["ema"]
    assert found.what == f"EMA is on, but {optimizer} averages the weights itself, and its average is what is saved."
    assert found.blocking
    assert "ema" not in problems(settings, optimizer=optimizer)


def test_an_average_that_is_never_updated_is_refused(settings: TrainingSettings):
    found = problems(settings, ema=True, ema_every_n_steps=11)["ema_every_n_steps"]
    assert "but the run has only 10 steps" in found.what
    assert found.blocking
    assert "ema_every_n_steps" not in problems(settings, ema=True, ema_every_n_steps=10)
    assert "ema_every_n_steps" not in problems(settings, ema_every_n_steps=11)


def test_an_average_of_the_initial_weights_is_told(settings: TrainingSettings):
    """0.9999¹⁰ is 0.999; 0.7¹⁰ is 0.028."""
    found = problems(settings, ema=True, ema_warmup=False)["ema_decay"]
    assert "after 10 steps is still 99.9% the weights that the run starts from" in found.what
    assert not found.blocking
    assert "ema_decay" not in problems(settings, ema=True, ema_warmup=False, ema_decay=0.7)
    assert "ema_decay" not in problems(settings, ema=True)


@pytest.mark.parametrize("value", [1, -0.1])
def test_a_decay_that_is_none_is_one_sentence(value: Any):
    with pytest.raises(BadValues, match=r"EMA decay is (1|-0\.1); it takes a number \(0 to 0\.99999\)"):
        TrainingSettings().with_values({"ema_decay": value})


def test_files_and_states_with_an_average_take_more_room(settings: TrainingSettings):
    plain, beside, instead = (
        settings.with_values(changes) for changes in ({}, {"ema": True}, {"ema": True, "ema_save": "instead"})
    )
    assert saved_bytes(beside) == 2 * saved_bytes(plain) == 2 * saved_bytes(instead)
    assert state_bytes(beside) == state_bytes(instead) == state_bytes(plain) + 4


def test_the_files_of_an_average_are_not_overwritten_unasked(settings: TrainingSettings, tmp_path: Any):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shapes-ema.safetensors").touch()
    assert "output_name" in problems(settings, ema=True)
    assert "output_name" not in problems(settings)
    assert "output_name" not in problems(settings, ema=True, ema_save="instead")
