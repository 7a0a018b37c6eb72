"""Is there something to learn, and does it mean here what it means in sd-scripts?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import CHOOSE, Problem
from engine.settings.families import TITLES
from engine.settings.training import TrainingSettings, training_options

_VELOCITIES = "here pictures are compared, in sd-scripts velocities, which makes a {} model unlearn its prediction"
READ_OTHERWISE = {
    "model_prediction_type": {"sigma_scaled": _VELOCITIES},
    "lumina_model_prediction_type": {
        "sigma_scaled": _VELOCITIES,
        "additive": "here the noisy picture is added, but in sd-scripts it is subtracted; a {} model trains "
        "differently",
    },
}
"""Ways to read a flow's answer that sd-scripts has otherwise, by option, and what follows for a family."""


def check_objective(settings: TrainingSettings) -> Iterator[Problem]:
    objective = settings.objective
    if objective.min_timestep > objective.max_timestep:
        yield Problem(
            "min_timestep",
            f"Min Timestep {objective.min_timestep} is above Max Timestep {objective.max_timestep}.",
            "0 and 1000 train on all of them.",
        )
    if (
        objective.loss_type in ("huber", "smooth_l1")
        and objective.huber_scale == 0
        and objective.huber_schedule != "snr"
    ):
        yield Problem("huber_scale", "With a Huber scale of 0, the loss is always 0.", "1 is usual.")
    yield from _read_otherwise(settings)


def _read_otherwise(settings: TrainingSettings) -> Iterator[Problem]:
    values = {**settings.values(), "method": settings.method}
    for item in training_options():
        value = item.value_in(settings)
        told = READ_OTHERWISE.get(item.name, {}).get(value)
        if told and item.applies(values):
            yield Problem(
                item.name,
                f"{item.label} is {value}: {told.format(TITLES[settings.family()])}.",
                "raw is the usual choice, and the same in both.",
                blocking=False,
                fix=f"{CHOOSE}raw",
            )
