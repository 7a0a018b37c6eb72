"""The training loop, from the settings to the trained file: read it top to bottom."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.data.ahead import Ahead
from engine.data.batches import Batches, MicroBatch
from engine.data.captions import only_wordings, vary
from engine.data.items import captions_of
from engine.data.output_names import SAMPLES
from engine.data.steps import plan_of
from engine.disk import remove_leftovers
from engine.failure import Failure, Stopped
from engine.models.conditioning import Conditioning, Reading
from engine.models.families import family_of
from engine.models.hub import downloads_told
from engine.objective.objective import Corrupted
from engine.runs.events import Planned
from engine.runs.folder import RunFolder
from engine.runs.saved_state import Progress, find_state
from engine.settings.training import TrainingSettings
from engine.training.caption_lengths import truncated
from engine.training.caption_progress import CaptionProgress
from engine.training.conditioning import CaptionConditioning
from engine.training.hardware import (
    allow_half_gradients,
    device_name,
    learned_dtype,
    make_accelerator,
    of_first_process,
    save_memory,
    weight_dtype,
)
from engine.training.kept_captions import kept_captions
from engine.training.metadata import RunMetadata
from engine.training.method import Method, names, parameters
from engine.training.methods import method_of
from engine.training.milestones import Milestones
from engine.training.name_claim import name_claimed
from engine.training.optimizers import full_name, make_optimizer, resting_weights
from engine.training.placement import Placement
from engine.training.read_ahead import Reader
from engine.training.remembered import remember_t5
from engine.training.report import Report
from engine.training.samples import Sampler
from engine.training.schedules import has_given_rates, learning_rates, make_schedule, restore, restore_rates
from engine.training.state import load_state
from engine.training.training_pictures import training_pictures
from engine.training.updates import AllAtOnce, Fused, Updates
from engine.training.validation import HeldOutCaptions, ValidationLoss

Saved = tuple[dict[str, Tensor], dict[str, Any], Progress]


def train(settings: TrainingSettings, run: RunFolder, report: Report) -> tuple[str, int]:
    """Train until done or told to stop; returns ("done" or "stopped", steps done).  Raises Failure, Stopped.

    A run whose folder holds a state goes on from there. On a CPU it ends in the same bits as if it had
    never been interrupted.
    """
    with name_claimed(settings.folders) if report.is_first else nullcontext():
        return _train(settings, run, report)


def _train(settings: TrainingSettings, run: RunFolder, report: Report) -> tuple[str, int]:
    for folder in (Path(settings.folders.output_dir), Path(settings.folders.output_dir) / SAMPLES) * report.is_first:
        remove_leftovers(folder)
    accelerator, warnings = make_accelerator(settings.hardware)
    device = report.device = accelerator.device
    for warning in warnings:
        report.warn(warning)
    saved = _saved_state(settings, run)
    seed = (
        saved[2].seed
        if saved
        else of_first_process(settings.optimizer.seed or random.SystemRandom().randrange(1, 2**32))
    )

    report.stage("loading", detail=settings.source_model.pretrained_model_name_or_path)
    family = family_of(settings)
    dtype = weight_dtype(accelerator.mixed_precision)
    # What is trained begins from all digits that the files have; the rest may lose some at once.
    whole, learned_as = settings.method != "lora", learned_dtype(settings.memory, accelerator.mixed_precision)
    with downloads_told(partial(_downloading, report, run)):
        parts = family.load(settings, learned_as if whole else dtype)
    if whole and not settings.sdxl.sdxl_no_half_vae:
        parts.vae.to(dtype)
    pictures = training_pictures(settings, family, parts, seed, accelerator, report, run.stop_requested)
    items, places, latents = pictures.items, pictures.places, pictures.latents
    captions = captions_of(items)
    held_out = pictures.held_out
    plan = plan_of(items, settings, places)
    report.mean_over(plan.steps_per_epoch)
    start = saved[2].step if saved else 0
    if start >= plan.steps:
        raise Failure(
            f"The state to resume from has {start} steps behind it, and this run has only {plan.steps}.",
            "Raise Epoch or Max train steps to train on.",
            "resume",
        )
    report.event(
        Planned(
            total_steps=plan.steps,
            steps_per_epoch=plan.steps_per_epoch,
            seed=seed,
            device=device_name(device),
            first_step=start,
        )
    )

    torch.manual_seed(seed)
    method = method_of(family, parts, settings, plan.steps, learned_as, saved[0] if saved else None)
    if settings.hardware.gradient_checkpointing:
        save_memory(parts.denoiser, *parts.text_encoders)

    reading, variations = Reading.of(settings), [item.subset.captions for item in items]
    if too_long := truncated(family.caption_limit(parts, reading), items, captions, reading.weighted):
        report.warn(too_long)
    trained, shown = method.trains_text_encoder, [item.picture for item in items]
    kept = kept_captions(
        family, parts, settings, shown, captions, variations, reading, trained, report.warn, accelerator
    )
    if kept and kept.foreign:
        report.warn(
            f"{kept.foreign} encoded captions come from files of another program, which do not say of which caption "
            "and text encoders. Delete the files if it was others."
        )
    apart = (
        HeldOutCaptions(family, parts, settings, held_out.items, reading, trained, accelerator) if held_out else None
    )
    placement, progress = Placement(parts, settings, device, dtype), CaptionProgress(report, run.stop_requested)
    # The text encoders come first, and go again where all captions are encoded at once: they and the denoiser of a
    # large model would not fit side by side.
    if kept is None or kept.needs_encoders or (apart and apart.needs_encoders) or settings.samples.prompts():
        placement.text_encoders()
    if trained and not vary(captions, variations):
        asked = [text for prompt in settings.samples.prompts() for text in (prompt.text, prompt.negative)]
        texts = [*only_wordings(captions, variations), "", *asked]
        remember_t5(family, parts, texts, reading, device, progress, apart.texts if apart else ())
    sampler = Sampler(family, parts, settings, run, seed, accelerator.autocast, reading)
    conditioning = CaptionConditioning(
        family, parts, captions, variations, reading, plan.steps, trained, device, kept, progress
    )
    conditioning_apart = apart.conditioning(device, progress) if apart else None
    if all(each.is_encoded for each in (conditioning, conditioning_apart) if each):
        placement.text_encoders_away()
    placement.denoiser()
    optimizer = accelerator.prepare(make_optimizer(method.parameter_groups(), settings.optimizer))
    if learned_as == torch.float16:
        allow_half_gradients(accelerator.scaler)
    schedule = make_schedule(optimizer.optimizer, settings.optimizer, plan.steps)
    memory = _Memory(optimizer, schedule, accelerator.scaler)
    if saved:
        _take_up(saved, method, memory)
        report.resume(saved[2].smoothed_loss)
        saved = None  # a whole model's has gigabytes
        wanted = [group["lr"] for group in method.parameter_groups()]
        if has_given_rates(optimizer.optimizer) and schedule.base_lrs != wanted:
            report.warn("The learning rates go on as they were in the saved state; those in the settings are not used.")

    accumulation = settings.optimizer.gradient_accumulation_steps
    batches = Batches(
        [item.repeats for item in items],
        [item.subset.batch_size for item in items],
        accumulation,
        seed,
        accelerator.num_processes,
        accelerator.process_index,
        [item.bucket(place) for item, place in zip(items, places, strict=True)],
    )
    prior_weights = torch.tensor(
        [settings.objective.prior_loss_weight if item.is_regularisation else 1.0 for item in items], device=device
    )
    metadata = RunMetadata(
        settings,
        _with_adapter(family.facts(settings, parts), method.adapter),
        plan,
        items,
        captions,
        places,
        seed,
        accelerator.mixed_precision,
        method.metadata(),
        full_name(optimizer.optimizer, settings.optimizer),
        sum(item.repeats for item in held_out.items) if held_out else 0,
    )
    objective, resting = family.objective(settings, parts), partial(resting_weights, optimizer.optimizer)

    def answer(corrupted: Corrupted, tell: Callable[[], Conditioning], sizes: Tensor) -> Tensor:
        with accelerator.autocast(), placement.backward_memory():
            noisy, timesteps = corrupted.noisy.to(dtype), corrupted.timesteps
            return family.predict(parts, noisy, timesteps, tell(), sizes.to(device))

    validation = (
        ValidationLoss(
            held_out,
            settings,
            conditioning_apart,
            objective,
            answer,
            parts,
            accelerator,
            resting,
            run.stop_requested,
        )
        if held_out and conditioning_apart
        else None
    )
    milestones = Milestones(
        settings,
        run,
        plan,
        method,
        metadata,
        sampler,
        report,
        accelerator,
        memory.state_dict,
        resting,
        validation,
    )

    ahead = Ahead(
        Reader(latents, conditioning),
        (batch for step in range(start, plan.steps) for batch in batches.at(step)),
        settings.dataset.max_data_loader_n_workers,
    )

    def loss_of(batch: MicroBatch) -> Tensor:
        torch.manual_seed(batch.seed)
        read = ahead.take()
        report.missed(read.pictures.missed)
        shown = latents.shown(read.pictures)
        batch = replace(batch, pictures=shown.pictures)
        clean, beside = parts.split_channels(shown.latents)
        corrupted = objective.corrupt(clean.to(device, torch.float32))
        prediction = answer(corrupted, lambda: conditioning.of(batch, read.told) | beside, shown.sizes)
        losses = objective.loss(prediction, corrupted, shown.mask) * prior_weights[list(batch.pictures)]
        return losses.mean() * batch.weight

    group_names = names(method)
    updates: Updates = (
        Fused(optimizer.optimizer, settings.optimizer.max_grad_norm)
        if settings.is_fused()
        else AllAtOnce(optimizer, parameters(method), settings.optimizer.max_grad_norm, accelerator)
    )
    with closing(ahead):
        if milestones.before_step(start + 1):
            return "stopped", start
        report.stage("training", start, plan.steps)
        for step in range(start + 1, plan.steps + 1):
            method.before_step(step)
            step_batches = batches.at(step - 1)
            step_loss = torch.zeros((), device=device)
            for batch in step_batches:
                loss = loss_of(batch)
                accelerator.backward(loss)
                step_loss += loss.detach()
            rates = learning_rates(optimizer.optimizer, schedule)
            grad_norm = updates.finish()
            method.after_step()
            report.step(
                step,
                plan.steps,
                epoch=batches.epoch_of(step - 1) + 1,
                pictures=accelerator.num_processes * sum(len(batch.pictures) for batch in step_batches if batch.weight),
                # Of the mean over the batches, also where these are fewer than usual and count for less.
                loss=accelerator.reduce(step_loss, "mean") * (accumulation / len(step_batches)),
                grad_norm=grad_norm,
                learning_rates=dict(zip(group_names, rates, strict=True)),
                waited=ahead.waited,
            )
            schedule.step()
            if milestones.after(step):
                return "stopped", step
    milestones.after_last_step()
    return "done", plan.steps


def _downloading(report: Report, run: RunFolder, done: int, total: int) -> None:
    """A model that is all here has still to be loaded, which is no download."""
    report.stage("loading", *((0, 0) if done == total else (done, total)))
    if run.stop_requested():
        raise Stopped


def _with_adapter(facts: dict[str, Any], adapter: str) -> dict[str, Any]:
    """The family's facts as they are of what is saved."""
    architecture = facts["modelspec.architecture"]
    return facts | {"modelspec.architecture": f"{architecture}/{adapter}" if adapter else architecture}


def _saved_state(settings: TrainingSettings, run: RunFolder) -> Saved | None:
    """The run's own latest state, else the one that the settings name."""
    if find_state(run.state_folder):
        return load_state(run.state_folder)
    if settings.saving.resume:
        return load_state(Path(settings.saving.resume))
    return None


def _take_up(saved: Saved, method: Method, memory: _Memory) -> None:
    try:
        method.load_state_dict(saved[0])
        memory.load(saved[1])
        restore_rates(memory.schedule)
    except (KeyError, RuntimeError, ValueError) as error:
        raise Failure(
            "The training state is of another network or optimizer, so this run cannot go on from it.",
            "Set rank, optimizer and learning rates as they were in the run that saved it, or empty Resume.",
            "resume",
        ) from error


class _Memory:
    """What optimizer, schedule and gradient scaler know of the steps behind them."""

    def __init__(self, optimizer: Any, schedule: Any, scaler: Any) -> None:
        self._owners = {"optimizer": optimizer, "schedule": schedule, "scaler": scaler}
        self.schedule = schedule

    def state_dict(self) -> dict[str, Any]:
        return {name: owner.state_dict() for name, owner in self._owners.items() if owner is not None}

    def load(self, state: dict[str, Any]) -> None:
        for name, owner in self._owners.items():
            if owner is None or name not in state:
                continue
            if name == "schedule":
                restore(owner, state[name])
            else:
                owner.load_state_dict(state[name])
