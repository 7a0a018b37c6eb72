"""A run's story as the page tells it."""

from __future__ import annotations

import threading
import tracemalloc

import pytest

from engine.runs.curve import MOST_POINTS
from engine.runs.events import (
    Checkpoint,
    Finished,
    Planned,
    Problem,
    Sample,
    Started,
    StateSaved,
    Step,
    Validated,
    parse_event,
    step_figures,
)
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
    assert history.update().memory == 100


def lines_of(*events: object) -> list[bytes]:
    return [event.model_dump_json(exclude_none=True).encode() for event in events]


STEPS = [
    step(1),
    step(12_345_678, loss=1e-7, grad_norm=0.25, images_per_second=1.5, memory=2**40, eta=0.0, waiting=1.0),
    Step(step=3, epoch=2, smoothed_loss=-0.5, learning_rates={}),
    Step(step=4, epoch=2, loss=1.5e18, smoothed_loss=1.5e-300, learning_rates={"text_encoder 1": 0, "unet.x": 1e-8}),
    step(5, memory=7, waiting=0.5),
]


def test_the_quick_way_reads_of_a_step_what_the_thorough_one_reads():
    for line, told in zip(lines_of(*STEPS), STEPS, strict=True):
        figures = step_figures(line)
        event = parse_event(line)
        assert event == told
        assert figures == (told.step, told.loss, told.smoothed_loss, told.memory)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        *lines_of(planned(), StateSaved(step=4), Finished(how="done")),
        lines_of(step(1))[0][:-1],
        lines_of(step(1))[0] + b"}",
        lines_of(step(1))[0].replace(b"1.0", b"NaN"),
        lines_of(step(1))[0].replace(b"1.0", b"1e999"),
        lines_of(step(1))[0].replace(b'"loss":1.0', b'"loss":-+.'),
        lines_of(step(1))[0].replace(b'"step":1', b'"step":-1'),
        lines_of(step(1))[0].replace(b'"step":1', b'"step":' + b"9" * 5000),
        lines_of(step(1))[0].replace(b"unet", b'un"et'),
    ],
    ids=range(13),  # lines hold the time, and each process of the tests must call them alike
)
def test_it_leaves_all_else_to_the_thorough_one(line: bytes):
    assert step_figures(line) is None


def test_a_long_history_costs_as_much_memory_as_a_short_one_and_each_step_is_read_once(monkeypatch):
    run = RunFolder.create("train", "{}", "cat")
    writer, history = run.writer(), History(run)
    writer.write(Started(), planned(), *(step(n, loss=float(n % 2)) for n in range(1, 20_001)))
    read: list[int] = []
    lines = history._reader.lines
    monkeypatch.setattr(history._reader, "lines", lambda: counted(read, lines()))
    tracemalloc.start()
    history.update()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 400_000  # bytes, however many steps there were
    assert history.done_steps == 20_000
    assert len(history.losses.points) <= MOST_POINTS
    assert {round(p.raw.value, 6) for p in history.losses.points} == {0.5}

    writer.write(step(20_001), step(20_002))
    assert history.update().done_steps == 20_002
    assert sum(read) == 20_004
    assert history.last_step == history.last == history.steps[-1]  # the newest is there whole
    assert len(history.steps) == 20_002


def counted(read: list[int], lines: list[bytes]) -> list[bytes]:
    read.append(len(lines))
    return lines


def test_a_look_that_shall_be_quick_leaves_the_rest_for_the_next(monkeypatch):
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started(), planned(), *map(step, range(1, 1001)), Finished(how="done", step=1000))
    history = History(run)
    lines = history._reader.lines
    monkeypatch.setattr(history._reader, "lines", lambda: lines(1000))
    seen = []
    while history.share_read < 1:
        before = history.version
        seen.append(history.update(within=0).share_read)
        assert 0 < history.version - before < 20  # so much of it
        assert history.status == "done"  # what is not read yet does not make the run a dead one
    assert seen == sorted(seen)
    assert history.version == 1003
    assert history.last == Finished(how="done", step=1000, time=history.last.time)


def test_several_who_read_at_once_take_every_event_once():
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started(), planned(), *map(step, range(1, 10_001)))
    history = History(run)
    readers = [threading.Thread(target=history.update) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert history.version == 10_002
    assert sum(p.steps for p in history.losses.points) == 10_000
    assert [p.step for p in history.losses.points] == sorted(p.step for p in history.losses.points)


@pytest.mark.parametrize("first", [1, 320, 1000])
def test_a_long_run_that_is_resumed_has_the_curve_of_one_that_was_not(first: int):
    whole, resumed = RunFolder.create("train", "{}", "whole"), RunFolder.create("train", "{}", "resumed")
    whole.writer().write(Started(), planned(), *(step(n, loss=1 / n) for n in range(1, 3001)))
    writer = resumed.writer()
    writer.write(Started(), planned(), *(step(n, loss=1 / n) for n in range(1, first + 1)), StateSaved(step=first))
    writer.write(*(step(n, loss=9.0) for n in range(first + 1, first + 900)))
    history = History(resumed).update()
    writer.write(Started(), planned(first_step=first))
    assert history.update().done_steps == first
    assert history.last_step.step == first
    writer.write(*(step(n, loss=1 / n) for n in range(first + 1, 3001)))
    assert history.update().losses == History(whole).update().losses


def test_each_loss_on_held_out_pictures_is_known_by_its_step_however_many_there_are():
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(planned(), *(Validated(step=n, loss=0.5, pictures=2) for n in range(0, 5000, 5)))
    history = History(run).update()
    assert history.measured == set(range(0, 5000, 5))
    assert len(history.held_out.points) <= MOST_POINTS
    run.writer().write(planned(first_step=100))
    assert history.update().measured == set(range(0, 101, 5))
    assert [v.step for v in history.validated] == list(range(0, 101, 5))


def test_a_thousand_files_are_listed_in_the_order_in_which_they_were_written_last():
    run = RunFolder.create("train", "{}", "cat")
    files = [Checkpoint(file=f"cat-{n}.safetensors", step=n) for n in range(1000)]
    run.writer().write(*files, Checkpoint(file="cat-3.safetensors", step=2000))
    told = History(run).update().checkpoints
    assert len(told) == 1000
    assert (told[-1].file, told[-1].step) == ("cat-3.safetensors", 2000)
