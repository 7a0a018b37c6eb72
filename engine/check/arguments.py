"""Do the optimizer and the schedule take the extra arguments that they are given?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from engine.check.problem import Problem, as_problem
from engine.check.signatures import Kind, NotInstalled, Parameter, signature_of
from engine.settings.arguments import Value
from engine.settings.optimizer import TORCH_SCHEDULES
from engine.settings.optimizer_classes import CLASSES
from engine.settings.training import TrainingSettings

OF_NAMED_SCHEDULES: Mapping[str, Kind] = {
    "num_cycles": "number", "power": "number", "lr_end": "number", "last_epoch": "number", "step_rules": "any",
    "min_lr": "number", "min_lr_rate": "number", "min_lr_ratio": "number", "warmup_lr_rate": "number",
    "timescale": "number", "num_decay_steps": "number", "num_stable_steps": "number", "num_warmup_steps": "number",
    "num_training_steps": "number", "warmup_type": "any", "decay_type": "any", "initial_lr": "number",
}  # fmt: skip
"""What any of the schedules in LR Scheduler takes."""

MOST_NAMED = 8

WANTED: Mapping[Kind, str] = {
    "number": "a number",
    "numbers": "numbers with commas between",
    "number or numbers": "a number, or numbers with commas between",
    "switch": "true or false",
    "any": "a value",
}


def check_arguments(settings: TrainingSettings) -> Iterator[Problem]:
    optimizer = settings.optimizer
    unread = list(as_problem("optimizer_args", optimizer.extra_arguments))
    yield from unread or _of_optimizer(settings)
    unread = list(as_problem("lr_scheduler_args", optimizer.schedule_arguments))
    yield from unread or _of_schedule(settings)


def _of_optimizer(settings: TrainingSettings) -> Iterator[Problem]:
    name = settings.optimizer.optimizer
    place, _ = CLASSES[name]
    try:
        signature = signature_of(place)
    except NotInstalled as library:
        yield Problem(
            "optimizer",
            f"{name} needs the library {library}, which is not installed here.",
            "Choose AdamW, or install it.",
        )
        return
    if signature:
        given = settings.optimizer.extra_arguments()
        yield from _fit("optimizer_args", name, given, signature.parameters, signature.open)


def _of_schedule(settings: TrainingSettings) -> Iterator[Problem]:
    optimizer, given = settings.optimizer, settings.optimizer.schedule_arguments()
    kind = optimizer.lr_scheduler_type.removeprefix(TORCH_SCHEDULES)
    if not kind:
        known = {name: Parameter(name, kind, maybe_none=True) for name, kind in OF_NAMED_SCHEDULES.items()}
        yield from _fit("lr_scheduler_args", f"The schedule {optimizer.lr_scheduler}", given, known, False)
        return
    try:
        place = f"torch.optim.lr_scheduler:{kind}"
        signature = signature_of(place) if kind.isidentifier() and not kind.endswith("OnPlateau") else None
    except NotInstalled:  # of which other sentences say enough
        return
    if signature is None:
        yield Problem(
            "lr_scheduler_type",
            f'"{optimizer.lr_scheduler_type}" is no schedule of PyTorch\'s that goes by steps alone; others are not '
            "loaded.",
            "Give the name of a class in torch.optim.lr_scheduler, such as StepLR, or leave it empty.",
        )
        return
    yield from _fit("lr_scheduler_args", kind, given, signature.parameters, signature.open)
    if missing := [name for name, parameter in signature.parameters.items() if parameter.needed and name not in given]:
        yield Problem(
            "lr_scheduler_args",
            f"{kind} needs {' and '.join(missing)}, which LR scheduler extra arguments do not give.",
            f"Write {' '.join(f'{name}=…' for name in missing)} there, or leave LR Scheduler type empty.",
        )


def _fit(
    option: str, who: str, given: Mapping[str, Value], known: Mapping[str, Parameter], is_open: bool
) -> Iterator[Problem]:
    """who: what takes the arguments.  is_open: it may take others than are known."""
    for name, value in given.items():
        parameter = known.get(name)
        if parameter is None and not is_open:
            similar = get_close_matches(name, known, n=1)
            named = ", ".join(list(known)[:MOST_NAMED])
            yield Problem(
                option,
                f"{who} takes no argument {name}.",
                f"Did you mean {similar[0]}?" if similar else f"Take it out; {named} are among those that it takes.",
            )
        elif parameter is not None and not _fits(value, parameter):
            count = f"{parameter.count} " if parameter.count else ""
            usual = (
                f"{parameter.usual.strip('()')} is usual." if parameter.usual else f"Correct it, or take {name} out."
            )
            yield Problem(option, f"{who}: {name} is {_text(value)}, but takes {count}{WANTED[parameter.kind]}.", usual)


def _fits(value: Value, parameter: Parameter) -> bool:
    if value is None:
        return parameter.kind == "any" or parameter.maybe_none
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if parameter.kind == "number":
        return is_number
    if parameter.kind == "switch":
        return isinstance(value, bool) or value in (0, 1)
    if parameter.kind in ("numbers", "number or numbers"):
        several = isinstance(value, tuple) and (not parameter.count or len(value) == parameter.count)
        return several or (is_number and parameter.kind != "numbers")
    return True


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{number:g}" for number in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
