"""The training, from the settings to the trained file: read it top to bottom."""

from __future__ import annotations

from contextlib import closing, nullcontext

import torch

from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.method import Method
from engine.training.name_claim import name_claimed
from engine.training.report import Report
from engine.training.stages.attach import attach
from engine.training.stages.begin import Begun, begin
from engine.training.stages.encode import encode
from engine.training.stages.load import load
from engine.training.stages.optimize import Optimized, optimize
from engine.training.stages.prepare import Prepared, prepare
from engine.training.stages.read import Data, read


def train(settings: TrainingSettings, run: RunFolder, report: Report) -> tuple[str, int]:
    """Train until done or asked to stop; returns ("done" or "stopped", steps done).  Raises Failure, Stopped.

    A run whose folder contains a state resumes from it. On a CPU it ends in the same bits as if it had
    never been interrupted. Why the stages come in this order: see engine.training.stages.
    """
    with name_claimed(settings.folders) if report.is_first else nullcontext():
        begun, saved = begin(settings, run, report)
        loaded = load(begun)
        data = read(begun, loaded)
        torch.manual_seed(begun.seed)  # a network's initial weights are random
        attached = attach(
            settings,
            loaded,
            begun.precision,
            total_steps=data.plan.steps,
            goes_on=saved.weights if saved else None,
        )
        encoded = encode(begun, data, attached.encoder)
        optimized = optimize(begun, attached.method, total_steps=data.plan.steps, saved=saved)
        del saved  # a whole model's state is gigabytes
        prepared = prepare(begun, loaded, data, attached, encoded=encoded, optimized=optimized)
        return _go_through_the_steps(begun, data, attached.method, optimized=optimized, prepared=prepared)


def _go_through_the_steps(
    begun: Begun, data: Data, method: Method, *, optimized: Optimized, prepared: Prepared
) -> tuple[str, int]:
    report, accelerator, start, total = begun.report, begun.accelerator, begun.start, data.plan.steps
    batches, ahead, milestones = prepared.batches, prepared.ahead, prepared.milestones
    accumulation = begun.settings.optimizer.gradient_accumulation_steps
    with closing(ahead):
        if milestones.before_step(start + 1):
            return "stopped", start
        report.stage("training", start, total)
        for step in range(start + 1, total + 1):
            method.before_step(step)
            of_step = batches.at(step - 1)
            step_loss = torch.zeros((), device=begun.device)
            for batch in of_step:
                read_ahead = ahead.take()
                report.missed(read_ahead.pictures.missed)
                loss = prepared.step.loss_of(batch, read_ahead)
                accelerator.backward(loss)
                step_loss += loss.detach()
            rates = optimized.learning_rates()
            grad_norm = optimized.updates.finish()
            method.after_step()
            report.step(
                step,
                total,
                epoch=batches.epoch_of(step - 1) + 1,
                pictures=accelerator.num_processes * sum(len(batch.pictures) for batch in of_step if batch.weight),
                # Of the mean over the batches, even if there are fewer than usual and they count for less.
                loss=accelerator.reduce(step_loss, "mean") * (accumulation / len(of_step)),
                grad_norm=grad_norm,
                learning_rates=rates,
                waited=ahead.waited,
            )
            optimized.schedule.step()
            if milestones.after(step):
                return "stopped", step
    milestones.after_last_step()
    return "done", total
