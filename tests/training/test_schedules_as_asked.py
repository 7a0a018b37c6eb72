"""What a schedule is told is followed: extra arguments, cycles, floors, the warmup's share, and a run that grew longer.

The numbers are those of the formulas in the docstrings, which are sd-scripts' (train_util.get_scheduler_fix).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from engine.failure import Failure
from engine.settings.optimizer import Optimizer
from engine.training.optimizers import make_optimizer
from engine.training.schedules import learning_rates, make_schedule, restore_rates, warmup_steps
from engine.training.stages.optimize import Optimized


def groups(*rates: float) -> list[dict[str, Any]]:
    return [{"params": [torch.nn.Parameter(torch.ones(4, 4))], "lr": rate} for rate in rates]


def rates(*given: float, total: int = 100, **changes: Any) -> list[list[float]]:
    """Of every step, those of all groups."""
    settings = Optimizer(**{"optimizer": "AdamW", "lr_warmup": 0, **changes})
    optimizer = make_optimizer(groups(*(given or (1.0,))), settings)
    schedule = make_schedule(optimizer, settings, total)
    found = []
    for _ in range(total):
        found.append(learning_rates(optimizer, schedule))
        optimizer.step()
        schedule.step()
    return found


def factors(**changes: Any) -> list[float]:
    return [step[0] for step in rates(**changes)]


@pytest.mark.parametrize(
    "name", ["AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree", "prodigyplus.ProdigyPlusScheduleFree"]
)
@pytest.mark.parametrize(
    "asked",
    [
        {"lr_scheduler": "cosine", "lr_warmup": 10},
        {"lr_scheduler": "linear"},
        {"lr_scheduler_type": "StepLR", "lr_scheduler_args": "step_size=5"},
    ],
)
def test_a_schedule_free_optimizer_holds_its_rates(name: str, asked: dict[str, Any]):
    assert rates(0.5, 0.25, total=20, optimizer=name, **asked) == [[0.5, 0.25]] * 20


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Half a wave is the cosine's own; of 1.5 waves it comes to the top again after two thirds.
        ({"lr_scheduler": "cosine", "lr_scheduler_args": "num_cycles=1.5"}, {0: 1, 25: 0.1464466, 33: 0.0002467}),
        # 100 steps in four falls of 25.
        (
            {"lr_scheduler": "cosine_with_restarts", "lr_scheduler_args": "num_cycles=4", "lr_scheduler_num_cycles": 2},
            {0: 1, 25: 1, 50: 1, 75: 1, 24: 0.0039426},
        ),
        # (1 − 0.4)(1 − n/100)² + 0.4
        (
            {"lr_scheduler": "polynomial", "lr_scheduler_args": "lr_end=0.4 power=2", "lr_scheduler_power": 1},
            {0: 1, 50: 0.55, 99: 0.40006},
        ),
        ({"lr_scheduler": "linear", "lr_scheduler_args": "num_warmup_steps=10"}, {5: 0.5, 10: 1, 55: 0.5}),
        ({"lr_scheduler": "inverse_sqrt", "lr_scheduler_args": "timescale=4"}, {12: 0.5, 60: 0.25}),
    ],
)
def test_extra_arguments_go_over_the_fields(changes: dict[str, Any], expected: dict[int, float]):
    found = factors(**changes)
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-5)


@pytest.mark.shows("lr_scheduler_num_cycles")
@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_cosine_with_min_lr_has_so_many_half_waves(cycles: int):
    """m + (1 − m)(1 + cos(π · cycles · n/N))/2 with m = 0.2."""
    found = factors(lr_scheduler="cosine_with_min_lr", lr_scheduler_args="min_lr=0.2", lr_scheduler_num_cycles=cycles)
    assert found == pytest.approx([0.2 + 0.8 * (1 + math.cos(math.pi * cycles * n / 100)) / 2 for n in range(100)])


def test_warmup_stable_decay_falls_only_where_it_is_told_how_long():
    plain = factors(lr_scheduler="warmup_stable_decay", lr_warmup=10)
    assert plain == pytest.approx([n / 10 for n in range(10)] + [1.0] * 90)
    told = factors(lr_scheduler="warmup_stable_decay", lr_warmup=10, lr_scheduler_args="num_decay_steps=20")
    assert told[:80] == plain[:80]
    assert told[80:] == pytest.approx([(1 + math.cos(math.pi * n / 20)) / 2 for n in range(20)])
    twice = factors(lr_scheduler="warmup_stable_decay", lr_scheduler_args="num_decay_steps=20",
                    lr_scheduler_num_cycles=2)  # fmt: skip
    assert twice[80:] == pytest.approx([(1 + math.cos(2 * math.pi * n / 20)) / 2 for n in range(20)])


@pytest.mark.shows("lr_decay_steps", "lr_scheduler_min_lr_ratio")
@pytest.mark.parametrize(("asked", "steps"), [(20, 20), (0.2, 20), (0.29, 28), (0.005, 0)])
@pytest.mark.parametrize("least", [0, 0.25])
def test_warmup_stable_decay_may_be_told_so_by_its_fields(asked: float, steps: int, least: float):
    """m + (1 − m)(1 + cos(π n/N))/2 over the last N steps, a share of all rounded down."""
    found = factors(
        lr_scheduler="warmup_stable_decay", lr_decay_steps=asked, lr_scheduler_min_lr_ratio=least, lr_warmup=0
    )
    fall = [least + (1 - least) * (1 + math.cos(math.pi * n / steps)) / 2 for n in range(steps)]
    assert found == pytest.approx([1.0] * (100 - steps) + fall)


@pytest.mark.shows("lr_scheduler_min_lr_ratio")
@pytest.mark.parametrize(("asked", "least"), [(0, 0.1), (0.4, 0.4)])
def test_a_cosine_with_a_floor_has_the_share_that_is_asked_for(asked: float, least: float):
    found = factors(lr_scheduler="cosine_with_min_lr", lr_scheduler_min_lr_ratio=asked)
    assert found[50] == pytest.approx(least + (1 - least) / 2)


@pytest.mark.shows("lr_scheduler_timescale")
@pytest.mark.parametrize("timescale", [5, 30])
def test_inverse_sqrt_falls_by_the_root_of_2_in_its_timescale(timescale: int):
    found = factors(lr_scheduler="inverse_sqrt", lr_scheduler_timescale=timescale, lr_warmup=10)
    assert found[10 + timescale] == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        ({"lr_scheduler": "polynomial", "lr_scheduler_args": "lr_end=1e-5"}, 1e-5),
        ({"lr_scheduler": "polynomial", "lr_scheduler_power": 3}, 1e-7),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": "min_lr=2e-5"}, 2e-5),
    ],
)
@pytest.mark.parametrize("given", [(1e-4, 5e-5), (5e-5, 1e-4), (1.0, 1e-4)])
def test_every_group_falls_to_the_same_floor(changes: dict[str, Any], floor: float, given: tuple[float, ...]):
    settings = Optimizer(**{"optimizer": "AdamW", "lr_warmup": 0, **changes})
    optimizer = make_optimizer(groups(*given), settings)
    schedule = make_schedule(optimizer, settings, 100)
    assert learning_rates(optimizer, schedule) == pytest.approx(given)
    for _ in range(100):
        optimizer.step()
        schedule.step()
    assert learning_rates(optimizer, schedule) == pytest.approx([floor] * len(given))


@pytest.mark.parametrize("arguments", ["lr_end=1e-4", "lr_end=2", "lr_end=-1"])
def test_a_floor_above_the_rate_is_refused(arguments: str):
    with pytest.raises(Failure, match=r"lr_end is .* not below the learning rate 0\.0001") as failed:
        rates(1e-4, lr_scheduler="polynomial", lr_scheduler_args=arguments)
    assert failed.value.option == "lr_scheduler_args"


def test_a_rate_below_the_usual_floor_falls_to_nothing():
    assert rates(1e-8, 1e-3, lr_scheduler="polynomial")[50] == pytest.approx([5e-9, 5e-4], rel=1e-3)


@pytest.mark.parametrize(
    ("given", "changes", "expected"),
    [
        ((1e-4, 1e-5), {"lr_scheduler": "polynomial", "lr_scheduler_args": "lr_end=1e-5"}, (5.5e-5, 1e-5)),
        ((5e-6, 1e-4), {"lr_scheduler": "polynomial", "lr_scheduler_args": "lr_end=1e-5"}, (5e-6, 5.5e-5)),
        ((1e-4, 1e-5), {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": "min_lr=2e-5"}, (6e-5, 1e-5)),
        ((1e-4, 0.0), {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": "min_lr=0"}, (5e-5, 0)),
        ((1e-4, 0.0), {"lr_scheduler": "polynomial"}, (5.005e-5, 0)),
    ],
)
def test_a_group_that_is_not_above_the_floor_holds_its_rate(
    given: tuple[float, ...], changes: dict[str, Any], expected: tuple[float, ...]
):
    found = rates(*given, **changes)
    assert found[50] == pytest.approx(expected)
    assert found[0] == pytest.approx(given)
    warmed = rates(*given, lr_warmup=10, **changes)
    assert warmed[5] == pytest.approx([rate / 2 for rate in given])


def test_a_floor_that_is_none_counts_as_not_told():
    asked = {"lr_scheduler": "cosine_with_min_lr"}
    assert factors(**asked, lr_scheduler_args="min_lr=none") == factors(**asked)


@pytest.mark.shows("lr_warmup")
@pytest.mark.parametrize(
    ("percent", "total", "expected"),
    [(5, 70, 3), (29, 100, 28), (10, 15, 1), (1, 99, 0), (50, 7, 3), (10, 1000, 100), (100, 70, 70)],
)
def test_the_warmups_share_is_rounded_down(percent: float, total: int, expected: int):
    """int(percent / 100 · steps); 0.29 · 100 is 28.999… in a computer's numbers, for sd-scripts too."""
    assert warmup_steps(Optimizer(lr_scheduler="cosine", lr_warmup=percent), total) == expected


FINISHED = {
    # After 20 of 40 steps, by the longer run's formula.
    "cosine": 0.5,
    "linear": 0.5,
    "polynomial": 0.5,
    "cosine_with_restarts": 0.5,
    "cosine_with_min_lr": 0.55,
    "constant": 1.0,
}


@pytest.mark.parametrize("name", FINISHED)
def test_a_run_that_goes_on_longer_has_a_rate_in_its_first_step(name: str):
    settings = Optimizer(optimizer="AdamW", lr_scheduler=name, lr_warmup=0)
    optimizer = make_optimizer(groups(0.1, 0.2), settings)
    schedule = make_schedule(optimizer, settings, 20)
    for _ in range(20):
        optimizer.step()
        schedule.step()
    state = optimizer.state_dict(), schedule.state_dict()
    longer = make_optimizer(groups(0.1, 0.2), settings)
    its_schedule = make_schedule(longer, settings, 40)
    longer.load_state_dict(state[0])
    its_schedule.load_state_dict(state[1])
    restore_rates(its_schedule)
    expected = pytest.approx([0.1 * FINISHED[name], 0.2 * FINISHED[name]], rel=1e-4)
    assert learning_rates(longer, its_schedule) == expected
    assert [group["lr"] for group in longer.param_groups] == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_scheduler": "cosine", "lr_warmup": 10},
        {"lr_scheduler": "polynomial", "lr_scheduler_power": 2},
        {"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": "T_max=7"},
        {"optimizer": "Adafactor"},
    ],
)
def test_one_that_goes_on_as_it_was_has_the_same_rates_to_the_bit(changes: dict[str, Any]):
    settings = Optimizer(**{"optimizer": "AdamW", **changes})
    optimizer = make_optimizer(groups(0.1, 0.2), settings)
    schedule = make_schedule(optimizer, settings, 33)
    for _ in range(13):
        optimizer.step()
        schedule.step()
    other = make_optimizer(groups(0.1, 0.2), settings)
    its_schedule = make_schedule(other, settings, 33)
    other.load_state_dict(optimizer.state_dict())
    its_schedule.load_state_dict(schedule.state_dict())
    restore_rates(its_schedule)
    for _ in range(20):
        assert [g["lr"] for g in other.param_groups] == [g["lr"] for g in optimizer.param_groups]
        for each in (optimizer, schedule, other, its_schedule):
            each.step()


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("CosineAnnealingLR", "T_max=7"), ("StepLR", "step_size=5"), ("OneCycleLR", "max_lr=1 total_steps=40")],
)
def test_a_schedule_free_run_that_once_followed_a_schedule_goes_on(kind: str, arguments: str):
    """Its state has that schedule's; the step is taken from it, and the rates are held from there on."""
    followed = torch.optim.AdamW(groups(0.1, 0.2))
    plain = Optimizer(optimizer="AdamW", lr_scheduler_type=kind, lr_scheduler_args=arguments)
    old = make_schedule(followed, plain, 40)
    for _ in range(13):
        followed.step()
        old.step()
    settings = Optimizer(optimizer="AdamWScheduleFree", lr_scheduler_type=kind, lr_scheduler_args=arguments)
    optimizer = make_optimizer(groups(0.1, 0.2), settings)
    schedule = make_schedule(optimizer, settings, 40)
    state = optimizer.state_dict()
    for group, its in zip(state["param_groups"], followed.param_groups, strict=True):
        group["lr"] = its["lr"]
    unused: Any = None
    optimized = Optimized(
        optimizer=optimizer, schedule=schedule, updates=unused, names=[], scaler=None, average=None, results=unused
    )
    optimized.load_state_dict({"optimizer": state, "schedule": old.state_dict()})
    assert schedule.last_epoch == 13
    for _ in range(3):
        assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
        assert learning_rates(optimizer, schedule) == [0.1, 0.2]
        optimizer.step()
        schedule.step()
