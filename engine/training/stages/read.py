"""Third stage: the pictures, their latents, and how many steps they make."""

from __future__ import annotations

from dataclasses import dataclass

from engine.data.items import captions_of
from engine.data.steps import StepPlan, plan_of
from engine.failure import Failure
from engine.runs.events import Planned
from engine.training.hardware import device_name
from engine.training.stages.begin import Begun
from engine.training.stages.load import Loaded
from engine.training.training_pictures import TrainingPictures, training_pictures


@dataclass(frozen=True)
class Data:
    """captions: of the training pictures, by index."""

    pictures: TrainingPictures
    captions: list[str]
    plan: StepPlan


def read(begun: Begun, loaded: Loaded) -> Data:
    """Find and encode the pictures, and report the plan.  Raises Failure, also if the run is already over; Stopped."""
    pictures = training_pictures(
        begun.settings,
        loaded.family,
        loaded.parts,
        seed=begun.seed,
        accelerator=begun.accelerator,
        report=begun.report,
        stop=begun.run.stop_requested,
    )
    plan = plan_of(pictures.items, begun.settings, pictures.places)
    begun.report.mean_over(plan.steps_per_epoch)
    if begun.start >= plan.steps:
        raise Failure(
            f"The state to resume from is already at step {begun.start}, and this run only has {plan.steps} steps.",
            "Raise Epoch or Max train steps to train further.",
            "resume",
        )
    begun.report.event(
        Planned(
            total_steps=plan.steps,
            steps_per_epoch=plan.steps_per_epoch,
            seed=begun.seed,
            device=device_name(begun.device),
            first_step=begun.start,
        )
    )
    return Data(pictures, captions_of(pictures.items), plan)
