"""Seventh stage: the batches in their order, what one of them costs, and what happens between the steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.data.ahead import Ahead
from engine.data.batches import Batches
from engine.data.scores import score_weights
from engine.settings.training import TrainingSettings
from engine.training.metadata import RunMetadata
from engine.training.method import Method
from engine.training.milestones import Milestones
from engine.training.model import Model
from engine.training.optimizers import full_name
from engine.training.read_ahead import Read, Reader, nothing_to_read
from engine.training.stages.attach import Attached
from engine.training.stages.begin import Begun
from engine.training.stages.encode import Encoded
from engine.training.stages.load import Loaded
from engine.training.stages.optimize import Optimized
from engine.training.stages.read import Data
from engine.training.step import PromptStep, Step, TrainingStep
from engine.training.validation import ValidationLoss


@dataclass(frozen=True)
class Prepared:
    """ahead: yields what was read of the batches, in order."""

    batches: Batches
    ahead: Ahead[Read]
    step: Step
    milestones: Milestones


def prepare(
    begun: Begun, loaded: Loaded, data: Data, attached: Attached, *, encoded: Encoded, optimized: Optimized
) -> Prepared:
    """Raises Failure."""
    settings = begun.settings
    batches = _batches(begun, data)
    model = _model(begun, loaded, encoded)
    step = _step(begun, data, attached.method, model, encoded=encoded)
    milestones = Milestones(
        settings=settings,
        run=begun.run,
        plan=data.plan,
        method=attached.method,
        metadata=_metadata(begun, loaded, data, attached.method, optimized=optimized),
        sampler=encoded.sampler,
        report=begun.report,
        accelerator=begun.accelerator,
        memory=optimized.state_dict,
        results=optimized.results,
        validation=_validation(begun, data, attached.method, model, encoded=encoded, optimized=optimized),
    )
    ahead = Ahead(
        nothing_to_read if data.sets else Reader(data.pictures.latents, encoded.conditioning),
        (batch for number in range(begun.start, data.plan.steps) for batch in batches.at(number)),
        settings.dataset.max_data_loader_n_workers,
    )
    return Prepared(batches, ahead, step, milestones)


def _step(begun: Begun, data: Data, method: Method, model: Model, *, encoded: Encoded) -> Step:
    if data.sets:
        return PromptStep(method, model, encoded.conditioning, data.sets)
    return TrainingStep(
        method,
        model,
        latents=data.pictures.latents,
        conditioning=encoded.conditioning,
        weights=torch.tensor(_weights(data, begun.settings), device=begun.device),
        strengths=[item.subset.strength for item in data.pictures.items],
    )


def _weights(data: Data, settings: TrainingSettings) -> list[float]:
    """How much each picture's loss counts: by its score, or by the prior loss weight."""
    items = data.pictures.items
    by_score = score_weights([item.score for item in items], [item.repeats for item in items], settings.taste)
    prior = settings.objective.prior_loss_weight
    return [prior if item.is_regularisation else weight for item, weight in zip(items, by_score, strict=True)]


def _batches(begun: Begun, data: Data) -> Batches:
    items, places = data.pictures.items, data.pictures.places
    if data.sets:  # the whole run is one epoch
        repeats, sizes, buckets = [data.plan.batches // len(data.sets)] * len(data.sets), [1] * len(data.sets), None
    else:
        repeats, sizes = [item.repeats for item in items], [item.subset.batch_size for item in items]
        buckets = [item.bucket(place) for item, place in zip(items, places, strict=True)]
    return Batches(
        repeats,
        sizes,
        accumulation=begun.settings.optimizer.gradient_accumulation_steps,
        seed=begun.seed,
        processes=begun.accelerator.num_processes,
        rank=begun.accelerator.process_index,
        buckets=buckets,
    )


def _model(begun: Begun, loaded: Loaded, encoded: Encoded) -> Model:
    return Model(
        family=loaded.family,
        parts=loaded.parts,
        objective=loaded.family.objective(begun.settings, loaded.parts),
        dtype=begun.precision.frozen,
        device=begun.device,
        autocast=begun.accelerator.autocast,
        offload=encoded.placement.backward_memory,
    )


def _metadata(begun: Begun, loaded: Loaded, data: Data, method: Method, *, optimized: Optimized) -> RunMetadata:
    facts = loaded.family.facts(begun.settings, loaded.parts)
    if method.adapter:  # what is saved is not a whole model
        facts = facts | {"modelspec.architecture": f"{facts['modelspec.architecture']}/{method.adapter}"}
    held_out = data.pictures.held_out.items if data.pictures.held_out else []
    return RunMetadata(
        settings=begun.settings,
        family=facts,
        plan=data.plan,
        items=data.pictures.items,
        captions=[] if data.sets else data.captions,
        places=data.pictures.places,
        seed=begun.seed,
        precision=begun.accelerator.mixed_precision,
        network=method.metadata(),
        optimizer=full_name(optimized.optimizer, begun.settings.optimizer),
        held_out=sum(item.repeats for item in held_out),
    )


def _validation(
    begun: Begun, data: Data, method: Method, model: Model, *, encoded: Encoded, optimized: Optimized
) -> ValidationLoss | None:
    if not (data.pictures.held_out and encoded.held_out):
        return None
    return ValidationLoss(
        pictures=data.pictures.held_out,
        settings=begun.settings.validation,
        method=method,
        model=model,
        conditioning=encoded.held_out,
        accelerator=begun.accelerator,
        shown=optimized.results.shown,
        stop=begun.run.stop_requested,
    )
