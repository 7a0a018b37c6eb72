"""Every optimizer by its name: it learns, it stops and goes on to the same bits, and it rests when it is looked at."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from engine.failure import Failure
from engine.runs.history import History
from engine.settings.optimizer import FINDS_ITS_OWN_RATE, Optimizer, OptimizerName
from engine.settings.optimizer_classes import CLASSES
from engine.training.optimizers import full_name, make_optimizer, resting_weights
from engine.training.schedules import learning_rates, make_schedule

NAMES = get_args(OptimizerName)
ON_GPU_ONLY = "bitsandbytes keeps these in memory that only CUDA has"


def parameter() -> nn.Parameter:
    """4,096 numbers and more, below which bitsandbytes keeps 32 bits."""
    return nn.Parameter(torch.linspace(-1, 1, 8192).view(64, 128).clone())


def rate_of(name: str) -> float:
    return 1.0 if name.startswith(FINDS_ITS_OWN_RATE) else 0.1 if "SGD" in name else 0.01


def begun(name: str, weight: nn.Parameter, arguments: str = "") -> tuple[torch.optim.Optimizer, Any]:
    settings = Optimizer(optimizer=name, optimizer_args=arguments, lr_scheduler="constant")
    try:
        optimizer = make_optimizer([{"name": "unet", "params": [weight], "lr": rate_of(name)}], settings)
    except Failure as failure:
        if name.startswith(("Paged", "bitsandbytes.optim.Paged")):
            pytest.skip(f"{ON_GPU_ONLY}: {failure.what}")
        raise
    return optimizer, make_schedule(optimizer, settings, 100)


def steps(optimizer: torch.optim.Optimizer, schedule: Any, weight: nn.Parameter, count: int) -> None:
    for _ in range(count):
        (weight - 0.5).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def distance(weight: Tensor) -> float:
    return (weight.detach() - 0.5).square().mean().item()


@pytest.mark.shows("optimizer")
@pytest.mark.parametrize("name", NAMES)
def test_it_comes_nearer_to_its_goal(name: str):
    weight = parameter()
    optimizer, schedule = begun(name, weight)
    before = distance(weight)
    steps(optimizer, schedule, weight, 150)
    with resting_weights(optimizer):
        assert distance(weight) < before * 0.97


def test_every_library_is_declared():
    """An optimizer that can be chosen must be there after an ordinary install."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    declared = text.partition("optional-dependencies")[0].replace("-", "_")
    providers = {"prodigyplus": "prodigy_plus_schedule_free"}
    modules = {place.partition(":")[0].partition(".")[0] for place, _ in CLASSES.values()}
    assert {module for module in modules if f'"{providers.get(module, module)}' not in declared} == set()


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_goes_on_to_the_same_bits(name: str):
    alone = parameter()
    optimizer, schedule = begun(name, alone)
    steps(optimizer, schedule, alone, 6)
    saved = through_a_file({"o": optimizer.state_dict(), "s": schedule.state_dict(), "w": alone.detach().clone()})
    with resting_weights(optimizer):
        pass
    steps(optimizer, schedule, alone, 6)

    resumed = parameter()
    optimizer, schedule = begun(name, resumed)
    resumed.data.copy_(saved["w"])
    optimizer.load_state_dict(saved["o"])
    schedule.load_state_dict(saved["s"])
    steps(optimizer, schedule, resumed, 6)
    assert torch.equal(alone, resumed)


@pytest.mark.parametrize("name", ["AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree"])
def test_a_schedule_free_one_shows_other_weights_at_rest_and_trains_on_with_its_own(name: str):
    weight = parameter()
    optimizer, schedule = begun(name, weight)
    steps(optimizer, schedule, weight, 10)
    trained = weight.detach().clone()
    with resting_weights(optimizer):
        assert not torch.equal(weight, trained)
    assert torch.equal(weight, trained)


@pytest.mark.shows("optimizer_args")
def test_extra_arguments_reach_the_optimizer():
    weight = parameter()
    optimizer, _ = begun("AdamW", weight, "weight_decay=0.25 betas=0.5,0.75")
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.75)
    settings = Optimizer(optimizer="AdamW", optimizer_args="weight_decay=0.25")
    assert full_name(optimizer, settings) == "torch.optim.adamw.AdamW(weight_decay=0.25)"


def test_adafactor_makes_its_own_rates_unless_told_not_to():
    weight = parameter()
    own, own_schedule = begun("Adafactor", weight)
    assert own.defaults["relative_step"]
    # In step 1 it is min(0.01, 1/√1) times the root mean square of the weights, here of −1 … 1 evenly: 1/√3.
    assert learning_rates(own, own_schedule) == pytest.approx([0.01 / 3**0.5], rel=0.02)
    weight.square().sum().backward()
    own.step()
    own.state[weight]["step"] = 19_999
    size = float(weight.detach().square().mean().sqrt())
    assert learning_rates(own, own_schedule) == pytest.approx([20_000**-0.5 * size])
    given, schedule = begun("Adafactor", weight, "relative_step=False scale_parameter=False")
    assert schedule.get_last_lr() == [0.01]
    assert not given.defaults["relative_step"]


@pytest.mark.parametrize("schedule", ["constant", "adafactor"])
def test_a_run_with_adafactor_as_it_comes(trained: Callable[..., History], schedule: str):
    history = trained(optimizer="Adafactor", lr_scheduler=schedule, lr_warmup=0, max_train_steps=3)
    assert history.last.how == "done"
    assert history.last_step is not None
    assert all(0 < rate < 0.01 for rate in history.last_step.learning_rates.values())


def test_what_an_optimizer_refuses_is_said_in_words():
    with pytest.raises(Failure, match="Lion does not take these settings") as caught:
        begun("Lion", parameter(), "nonsense=3")
    assert caught.value.option == "optimizer_args"
