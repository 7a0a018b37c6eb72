"""Do the optimizer and the schedule take the extra arguments that they are given?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from engine.check.problem import Problem, as_problem
from engine.check.signatures import Kind, NotInstalled, Parameter, signature_of
from engine.settings.arguments import Value
from engine.settings.optimizer import SCHEDULE_FREE, TORCH_SCHEDULES, Schedule
from engine.settings.optimizer_classes import CLASSES
from engine.settings.training import TrainingSettings

OF_NAMED_SCHEDULES: Mapping[str, Kind] = {
    "num_cycles": "number", "power": "number", "lr_end": "number", "last_epoch": "number", "step_rules": "any",
    "min_lr": "number", "min_lr_rate": "number", "min_lr_ratio": "number",
    "timescale": "number", "num_decay_steps": "number", "num_stable_steps": "number", "num_warmup_steps": "number",
    "num_training_steps": "number", "warmup_type": "any", "decay_type": "any",
}  # fmt: skip
"""What the schedules in LR Scheduler take, all of them together."""

_RUN = ("num_warmup_steps", "num_training_steps", "last_epoch")
TAKEN_BY: Mapping[Schedule, tuple[str, ...]] = {
    "adafactor": ("num_warmup_steps", "last_epoch"),  # with given rates it is constant_with_warmup
    "constant": ("last_epoch",),
    "constant_with_warmup": ("num_warmup_steps", "last_epoch"),
    "cosine": ("num_cycles", *_RUN),
    "cosine_with_restarts": ("num_cycles", *_RUN),
    "linear": _RUN,
    "piecewise_constant": ("step_rules", "last_epoch"),
    "polynomial": ("lr_end", "power", *_RUN),
    "cosine_with_min_lr": ("min_lr", "min_lr_rate", "num_cycles", *_RUN),
    "inverse_sqrt": ("timescale", "num_warmup_steps", "last_epoch"),
    "warmup_stable_decay": (
        "num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles", *_RUN
    ),
}  # fmt: skip

FLOORS: Mapping[str, str] = {"polynomial": "lr_end", "cosine_with_min_lr": "min_lr"}
"""The arguments with the rate that a schedule ends at."""

MOST_NAMED = 8

WANTED: Mapping[Kind, str] = {
    "number": "a number",
    "numbers": "numbers separated by commas",
    "number or numbers": "a number, or numbers separated by commas",
    "switch": "true or false",
    "any": "a value",
}


def check_arguments(settings: TrainingSettings) -> Iterator[Problem]:
    optimizer = settings.optimizer
    unread = list(as_problem("optimizer_args", optimizer.extra_arguments))
    yield from unread or _of_optimizer(settings)
    if _holds_its_rate(settings):
        return
    unread = list(as_problem("lr_scheduler_args", optimizer.schedule_arguments))
    yield from unread or _of_schedule(settings)


def _holds_its_rate(settings: TrainingSettings) -> bool:
    """Whether the optimizer follows no schedule, so that nothing of one is read."""
    return settings.optimizer.optimizer.lower().endswith(SCHEDULE_FREE)


def _of_optimizer(settings: TrainingSettings) -> Iterator[Problem]:
    name = settings.optimizer.optimizer
    place, _ = CLASSES[name]
    try:
        signature = signature_of(place)
    except NotInstalled as library:
        yield Problem(
            "optimizer",
            f"{name} needs the library {library}, which is not installed.",
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
        taken = TAKEN_BY[optimizer.lr_scheduler]
        known = {name: Parameter(name, OF_NAMED_SCHEDULES[name], maybe_none=True) for name in taken}
        yield from _fit("lr_scheduler_args", f"The schedule {optimizer.lr_scheduler}", given, known, False)
        yield from _floor(settings, given)
        return
    try:
        place = f"torch.optim.lr_scheduler:{kind}"
        signature = signature_of(place) if kind.isidentifier() and not kind.endswith("OnPlateau") else None
    except NotInstalled:  # of which other sentences say enough
        return
    if signature is None:
        yield Problem(
            "lr_scheduler_type",
            f'"{optimizer.lr_scheduler_type}" is not a PyTorch scheduler that depends on the step alone; others are '
            "not supported.",
            "Enter the name of a class in torch.optim.lr_scheduler, such as StepLR, or leave it empty.",
        )
        return
    yield from _fit("lr_scheduler_args", kind, given, signature.parameters, signature.open)
    if missing := [name for name, parameter in signature.parameters.items() if parameter.needed and name not in given]:
        yield Problem(
            "lr_scheduler_args",
            f"{kind} needs {' and '.join(missing)}, which is missing from LR scheduler extra arguments.",
            f"Add {' '.join(f'{name}=…' for name in missing)} there, or leave LR Scheduler type empty.",
        )


def _floor(settings: TrainingSettings, given: Mapping[str, Value]) -> Iterator[Problem]:
    """A rate to end at must lie below that of one part at least; the others hold theirs."""
    name = FLOORS.get(settings.optimizer.lr_scheduler, "")
    floor, rates = given.get(name), settings.rates()
    if settings.trains_network:
        ratios = [settings.network.loraplus_ratio(part)[1] for part in ("unet", "text_encoder")]
        rates = tuple(rate * max(ratio, 1) for rate, ratio in zip(rates, ratios, strict=False))
    if isinstance(floor, int | float) and any(rates) and not 0 <= floor < max(rates):
        yield Problem(
            "lr_scheduler_args",
            f"{name} is {floor:g}; the lowest learning rate of a schedule must be 0 or more, and below the highest "
            f"learning rate, which is {max(rates):g}.",
            f"Correct {name} in LR scheduler extra arguments, or choose the schedule constant_with_warmup.",
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
                f"{who} has no argument {name}.",
                f"Did you mean {similar[0]}?" if similar else f"Remove it. Arguments it takes include {named}.",
            )
        elif parameter is not None and not _fits(value, parameter):
            count = f"{parameter.count} " if parameter.count else ""
            usual = f"{parameter.usual.strip('()')} is usual." if parameter.usual else f"Correct it, or remove {name}."
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
