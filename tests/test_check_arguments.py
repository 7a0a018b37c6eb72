"""What optimizers and schedules take is known from their classes' source, before a run starts and without torch."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import get_args

import diffusers.optimization
import pytest
import torch
import transformers.optimization

from engine.check.arguments import TAKEN_BY
from engine.check.check import check
from engine.check.problem import Problem
from engine.check.signatures import NotInstalled, signature_of
from engine.failure import Failure
from engine.settings.optimizer import OptimizerName, Schedule
from engine.settings.optimizer_classes import CLASSES
from engine.settings.training import TrainingSettings
from engine.training.optimizers import _class_at, make_optimizer
from engine.training.schedules import make_schedule


def problems(settings: TrainingSettings, **changes: object) -> dict[str, Problem]:
    return {problem.option: problem for problem in check(settings.with_values(changes)).problems}


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_the_source_tells_the_same_as_the_class(name: str):
    """Python's own inspection of the imported class is the measure."""
    place, _ = CLASSES[name]
    found = signature_of(place)
    asked = inspect.signature(_class_at(place, name).__init__).parameters
    plain = {key: p for key, p in asked.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert found is not None
    assert list(found.parameters) == list(plain)[2:]
    assert found.open == any(p.kind == p.VAR_KEYWORD for p in asked.values())
    for key, parameter in found.parameters.items():
        default = plain[key].default
        assert parameter.needed == (default is inspect.Parameter.empty)
        kinds = {bool: "switch", int: "number", float: "number", tuple: "numbers"}
        assert type(default) not in kinds or parameter.kind == kinds[type(default)]


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "OneCycleLR", "CyclicLR", "MultiStepLR"])
def test_so_it_is_with_schedules(name: str):
    asked = inspect.signature(getattr(torch.optim.lr_scheduler, name).__init__).parameters
    assert list(signature_of(f"torch.optim.lr_scheduler:{name}").parameters) == list(asked)[2:]


def test_a_library_that_is_not_there():
    with pytest.raises(NotInstalled, match="no_such_library"):
        signature_of("no_such_library.optim:Best")


def test_the_check_needs_no_torch():
    words = "import sys, engine.check.check as c; from engine.settings.training import TrainingSettings as T; "
    words += "c.check(T().with_values({'optimizer_args': 'weight_decay=abc', 'lr_scheduler_type': 'StepLR'})); "
    words += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


WRONG = [
    ("AdamW", "weight_decay=abc", "AdamW: weight_decay is abc, but takes a number.", "0.01 is usual."),
    ("AdamW", "eps=;;", "AdamW: eps is ;;, but takes a number.", "1e-08 is usual."),
    ("AdamW8bit", "betas=0.9", "AdamW8bit: betas is 0.9, but takes 2 numbers separated", "0.9, 0.999 is usual."),
    ("AdamW", "wieght_decay=0.1", "AdamW has no argument wieght_decay.", "Did you mean weight_decay?"),
    ("AdamW", "amsgrad=yes", "AdamW: amsgrad is yes, but takes true or false.", "False is usual."),
    ("Adafactor", "scale_parameter=maybe", "Adafactor: scale_parameter is maybe, but takes true", "True is usual."),
    ("Prodigy", "d_coef=x", "Prodigy: d_coef is x, but takes a number.", "1.0 is usual."),
    ("Lion", "betas=0.9,0.95,0.99", "Lion: betas is 0.9,0.95,0.99, but takes 2 numbers", "0.9, 0.99 is usual."),
    ("AdamW", "weight_decay=none", "AdamW: weight_decay is none, but takes a number.", "0.01 is usual."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "what", "mend"), WRONG)
def test_wrong_arguments_of_an_optimizer_are_said_before_the_start(
    settings: TrainingSettings, name: str, given: str, what: str, mend: str
):
    problem = problems(settings, optimizer=name, optimizer_args=given)["optimizer_args"]
    assert problem.blocking
    assert problem.what.startswith(what)
    assert problem.mend == mend


@pytest.mark.parametrize("given", [given for name, given, *_ in WRONG if name == "AdamW" and "amsgrad" not in given])
def test_what_is_refused_would_have_failed(settings: TrainingSettings, given: str):
    wrong = settings.with_values({"optimizer_args": given}).optimizer
    with pytest.raises(Failure):
        make_optimizer([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-4}], wrong)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("AdamW", "weight_decay=0.1 betas=0.9,0.99 eps=1e-7 amsgrad=true"),
        ("AdamW", "weight_decay=1 fused=none"),
        ("AdamW8bit", "betas=(0.9,0.95) is_paged=True"),
        ("Adafactor", "scale_parameter=False relative_step=False warmup_init=False"),
        ("Adafactor", "beta1=0.9 clip_threshold=1"),
        ("Prodigy", "decouple=True weight_decay=0.01 d_coef=2 use_bias_correction=1 safeguard_warmup=True beta3=none"),
        ("DAdaptAdam", "growth_rate=1.02 decouple=True"),
        ("prodigyplus.ProdigyPlusScheduleFree", "eps=none use_stableadamw=False"),
        ("pytorch_optimizer.CAME", "weight_decay=0.01 cautious=True"),
    ],
)
def test_right_arguments_are_no_obstacle(settings: TrainingSettings, name: str, given: str):
    assert "optimizer_args" not in problems(
        settings, optimizer=name, optimizer_args=given, unet_lr=1, text_encoder_lr=1
    )


@pytest.mark.parametrize(
    ("schedule", "kind", "given", "option", "what"),
    [
        ("cosine", "", "T_max=;;", "lr_scheduler_args", "The schedule cosine has no argument T_max."),
        ("cosine_with_min_lr", "", "min_lr=abc", "lr_scheduler_args", "The schedule cosine_with_min_lr: min_lr is abc"),
        ("cosine", "CosineAnnealingLR", "T_max=;;", "lr_scheduler_args", "CosineAnnealingLR: T_max is ;;, but"),
        ("cosine", "CosineAnnealingLR", "", "lr_scheduler_args", "CosineAnnealingLR needs T_max, which"),
        ("cosine", "StepLR", "step=3", "lr_scheduler_args", "StepLR needs step_size, which"),
        ("cosine", "MultiStepLR", "milestones=100", "lr_scheduler_args", "MultiStepLR: milestones is 100, but"),
        ("cosine", "NoSuchLR", "", "lr_scheduler_type", '"NoSuchLR" is not a PyTorch scheduler'),
        ("cosine", "ReduceLROnPlateau", "", "lr_scheduler_type", '"ReduceLROnPlateau" is not a PyTorch scheduler'),
        ("cosine", "os.system", "", "lr_scheduler_type", '"os.system" is not a PyTorch scheduler'),
    ],
)  # fmt: skip
def test_wrong_schedules_are_said_before_the_start(
    settings: TrainingSettings, schedule: str, kind: str, given: str, option: str, what: str
):
    told = {"lr_scheduler": schedule, "lr_scheduler_type": kind, "lr_scheduler_args": given}
    problem = problems(settings, **told)[option]
    assert problem.blocking
    assert problem.what.startswith(what)
    with pytest.raises((Failure, TypeError)):  # today's torch looks at some only at the first step
        first_steps(settings.with_values(told))


def first_steps(settings: TrainingSettings) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    schedule = make_schedule(optimizer, settings.optimizer, 100)
    optimizer.step()
    schedule.step()


@pytest.mark.parametrize(
    ("schedule", "kind", "given"),
    [
        ("cosine", "CosineAnnealingLR", "T_max=100 eta_min=1e-6"),
        ("cosine", "torch.optim.lr_scheduler.StepLR", "step_size=10"),
        ("cosine", "MultiStepLR", "milestones=10,20"),
        ("cosine", "OneCycleLR", "max_lr=1e-3 total_steps=100 anneal_strategy=linear"),
        ("cosine_with_min_lr", "", "min_lr_rate=0.2"),
        ("piecewise_constant", "", "step_rules=1:10,0.1"),
        ("warmup_stable_decay", "", "num_decay_steps=10"),
    ],
)
def test_right_schedules_are_no_obstacle(settings: TrainingSettings, schedule: str, kind: str, given: str):
    told = problems(settings, lr_scheduler=schedule, lr_scheduler_type=kind, lr_scheduler_args=given)
    assert not {"lr_scheduler_args", "lr_scheduler_type"} & told.keys()


@pytest.mark.parametrize("name", get_args(Schedule))
def test_what_each_schedule_takes_is_what_its_maker_does(name: str):
    makers = {kind.value: make for kind, make in transformers.optimization.TYPE_TO_SCHEDULER_FUNCTION.items()}
    piecewise = diffusers.optimization.get_piecewise_constant_schedule
    make = piecewise if name == "piecewise_constant" else makers[name.replace("adafactor", "constant_with_warmup")]
    assert set(TAKEN_BY[name]) == set(inspect.signature(make).parameters) - {"optimizer"}


@pytest.mark.parametrize(
    ("schedule", "given"),
    [("linear", "num_cycles=2"), ("cosine", "power=2"), ("constant", "lr_end=0"), ("polynomial", "min_lr=0")],
)
def test_an_argument_of_another_schedule_is_said_before_the_start(
    settings: TrainingSettings, schedule: str, given: str
):
    told = {"lr_scheduler": schedule, "lr_scheduler_args": given}
    problem = problems(settings, **told)["lr_scheduler_args"]
    assert problem.blocking
    assert problem.what == f"The schedule {schedule} has no argument {given.partition('=')[0]}."
    with pytest.raises(Failure):
        first_steps(settings.with_values(told))
    assert "lr_scheduler_args" not in problems(settings, optimizer="AdamWScheduleFree", **told)


@pytest.mark.parametrize(
    ("schedule", "given", "starts"),
    [
        ("polynomial", "lr_end=1e-5", True),  # the text encoder holds its rate
        ("polynomial", "lr_end=1e-4", False),
        ("polynomial", "lr_end=-1", False),
        ("cosine_with_min_lr", "min_lr=5e-5", True),
        ("cosine_with_min_lr", "min_lr=1", False),
        ("cosine_with_min_lr", "min_lr=none", True),
    ],
)
def test_a_floor_above_all_rates_is_said_before_the_start(
    settings: TrainingSettings, schedule: str, given: str, starts: bool
):
    told = {"lr_scheduler": schedule, "lr_scheduler_args": given, "unet_lr": 1e-4, "text_encoder_lr": 1e-5}
    assert ("lr_scheduler_args" not in problems(settings, **told)) == starts
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1e-4, 1e-5)]
    try:
        make_schedule(torch.optim.AdamW(groups), settings.with_values(told).optimizer, 100)
    except Failure:
        assert not starts
    else:
        assert starts


def test_a_floor_may_lie_below_the_faster_half_of_a_network(settings: TrainingSettings):
    told = {"lr_scheduler": "polynomial", "lr_scheduler_args": "lr_end=2e-4", "unet_lr": 1e-4, "text_encoder_lr": 1e-5}
    assert "lr_scheduler_args" in problems(settings, **told)
    assert "lr_scheduler_args" not in problems(settings, **told, loraplus_unet_lr_ratio=4)
