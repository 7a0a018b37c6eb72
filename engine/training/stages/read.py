"""Third stage: the pictures, their latents, and how many steps they make."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.data.items import captions_of
from engine.data.steps import StepPlan, plan_of, plan_of_prompts
from engine.failure import Failure
from engine.runs.events import Planned
from engine.settings.captions import Captions
from engine.training.hardware import device_name
from engine.training.leco_method import sets_of
from engine.training.stages.begin import Begun
from engine.training.stages.load import Loaded
from engine.training.training_pictures import TrainingPictures, no_pictures, training_pictures


@dataclass(frozen=True)
class Data:
    """captions: of the training pictures, by index, or of a method's own prompts.

    sets: of such a method, which learns without pictures: by number, which of the captions are the prompts of a set.
    """

    pictures: TrainingPictures
    captions: list[str]
    plan: StepPlan
    sets: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def variations(self) -> list[Captions]:
        """How each caption varies when it is shown."""
        own = [item.subset.captions for item in self.pictures.items]
        return own or [Captions()] * len(self.captions)


def read(begun: Begun, loaded: Loaded) -> Data:
    """Find and encode the pictures, and report the plan.  Raises Failure, also if the run is already over; Stopped."""
    if not begun.settings.learns_from_pictures:
        return _of_prompts(begun)
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
    _tell(begun, plan)
    return Data(pictures, captions_of(pictures.items), plan)


def _of_prompts(begun: Begun) -> Data:
    sets = sets_of(begun.settings)
    plan = plan_of_prompts(begun.settings, len(sets))
    _tell(begun, plan)
    captions = list(dict.fromkeys(prompt for set_ in sets for prompt in set_.prompts))
    places = {caption: place for place, caption in enumerate(captions)}
    return Data(no_pictures(), captions, plan, [tuple(places[prompt] for prompt in set_.prompts) for set_ in sets])


def _tell(begun: Begun, plan: StepPlan) -> None:
    """Report the plan.  Raises Failure if the run is already over."""
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
