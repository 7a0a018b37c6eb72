"""Values that mean another one in kohya_ss than they say."""

from __future__ import annotations

import pytest

from engine.settings.kohya_json import from_kohya, to_kohya


@pytest.mark.parametrize("zero", [0, 0.0, "0", " 0.0 "])
def test_zero_means_unset_where_kohya_does_not_hand_it_on(zero: object):
    loaded = from_kohya({"huber_c": zero, "max_timestep": zero, "loss_type": "huber"})
    assert loaded.bad == {}
    assert (loaded.settings.objective.huber_c, loaded.settings.objective.max_timestep) == (0.1, 1000)
    assert loaded.report() == [
        "Huber C is 0 in the file, which means unset: here it is 0.1.",
        "Max Timestep is 0 in the file, which means unset: here it is 1000.",
    ]
    assert to_kohya(loaded.settings)["huber_c"] == 0.1


def test_zero_is_not_talked_about_where_it_has_no_meaning():
    assert from_kohya({"huber_c": 0, "loss_type": "l2"}).report() == []


@pytest.mark.parametrize("data", [{"max_timestep": -1}, {"learning_rate": -1e-4}, {"huber_c": 2}])
def test_other_numbers_out_of_bounds_are_still_wrong(data: dict[str, float]):
    assert set(from_kohya(data).bad) == set(data)


def test_no_number_of_restarts_means_one_for_each_epoch():
    """kohya_ss's form hands Epoch on where the field is empty."""
    data = {"lr_scheduler_num_cycles": "", "epoch": "30", "lr_scheduler": "cosine_with_restarts"}
    loaded = from_kohya(data)
    assert loaded.settings.optimizer.lr_scheduler_num_cycles == 30
    assert loaded.report() == ["LR # cycles is empty in the file, which means the same as Epoch: here it is 30."]


@pytest.mark.parametrize(
    "data", [{"lr_scheduler": "cosine", "lr_scheduler_num_cycles": ""}, {"lr_scheduler": "cosine_with_restarts"}]
)
def test_where_no_schedule_restarts_or_the_file_is_silent_there_is_nothing_to_say(data: dict[str, str]):
    loaded = from_kohya(data | {"epoch": 30})
    assert loaded.settings.optimizer.lr_scheduler_num_cycles == 1
    assert loaded.report() == []
