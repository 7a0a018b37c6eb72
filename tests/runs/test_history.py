"""A run's story as the page tells it."""

from __future__ import annotations

from engine.runs.events import Checkpoint, Finished, Planned, Problem, Sample, Started, StateSaved, Step
from engine.runs.folder import RunFolder
from engine.runs.history import History


def step(number: int, loss: float = 1.0, **more: object) -> Step:
    return Step(step=number, epoch=1, loss=loss, smoothed_loss=loss, learning_rates={"unet": 1e-4}, **more)


def planned(first_step: int = 0) -> Planned:
    return Planned(total_steps=10, steps_per_epoch=5, seed=1, device="CPU", first_step=first_step)


def sample(number: int) -> Sample:
    return Sample(file="a.png", preview="a.webp", prompt="a cat", prompt_index=0, seed=1, step=number)


def test_a_resumed_run_has_every_step_once():
    run = RunFolder.create("train", "{}", "cat")
    writer, history = run.writer(), History(run)
    writer.write(Started(), planned(), *(step(n, loss=1.0) for n in range(1, 7)), StateSaved(step=4), sample(5))
    assert history.update().done_steps == 6
    assert history.state_step == 4
    writer.write(Started(), planned(first_step=4), *(step(n, loss=2.0) for n in range(5, 11)))
    history.update()
    assert [s.step for s in history.steps] == list(range(1, 11))
    assert [s.loss for s in history.steps] == [1.0] * 4 + [2.0] * 6
    assert history.samples == []


def test_what_went_wrong_before_is_forgotten_when_the_run_goes_on():
    run = RunFolder.create("train", "{}", "cat")
    writer, history = run.writer(), History(run)
    writer.write(Started(), Problem(what="The disk is full."), Finished(how="failed"))
    assert history.update().problem
    writer.write(Started())
    assert history.update().problem is None


def test_a_file_saved_twice_is_listed_once():
    run = RunFolder.create("train", "{}", "cat")
    writer, history = run.writer(), History(run)
    writer.write(Checkpoint(file="cat.safetensors", step=5), Checkpoint(file="cat.safetensors", step=10, final=True))
    assert [(c.file, c.step) for c in history.update().checkpoints] == [("cat.safetensors", 10)]


def test_the_latest_memory_is_that_of_the_last_step_that_told_it():
    run = RunFolder.create("train", "{}", "cat")
    writer, history = run.writer(), History(run)
    writer.write(planned(), step(1, memory=100), step(2))
    assert history.update().latest("memory") == 100
