"""A run whose files are damaged touches only itself: the list, the page and the other runs go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine.begin import CannotResume, resume, resume_step
from engine.runs.events import Finished, Planned, Stage, Step
from engine.runs.folder import RunFolder, all_runs
from engine.runs.history import History
from ui import run_view
from ui.runs_panel import RunsPanel


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunsPanel:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    with gr.Blocks():
        drawn = RunsPanel()
        drawn.draw()
    return drawn


def told(title: str) -> RunFolder:
    run = RunFolder.create("train", "{}", title)
    writer = run.writer()
    rates = {"unet": 1e-4}
    writer.write(
        Planned(total_steps=9, steps_per_epoch=3, seed=0, device="cpu"),
        Stage(name="training"),
        *(Step(step=n, epoch=1, loss=0.1, smoothed_loss=0.2, learning_rates=rates, eta=60.0) for n in (1, 2, 3)),
        Finished(how="stopped", step=3),
    )
    writer.close()
    run.set_process(1, 0)
    return run


STEP = '{"kind":"step","time":1,"step":4,"epoch":1,"smoothed_loss":0.1,"learning_rates":{"unet":0.1}'

DAMAGE: dict[str, dict[str, Any]] = {
    "job is cut off": {"job.json": '{"job": "tr'},
    "job is none": {"job.json": "[]"},
    "job is nameless": {"job.json": "{}"},
    "job is unknown": {"job.json": '{"job": "fly"}'},
    "job is bytes": {"job.json": b"\xff\xfe\x00"},
    "job is deep": {"job.json": "[" * 60_000},
    "job is a folder": {"job.json": "/"},
    "job is endless": {"job.json": "/dev/zero"},
    "process is a list": {"process.json": "[1]"},
    "process has no number": {"process.json": '{"pid": "x", "events_before": "y"}'},
    "process is beyond": {"process.json": '{"pid": 1e400, "events_before": [1]}'},
    "process is huge": {"process.json": '{"pid": 99999999999999999999, "events_before": -5}'},
    "process is less than none": {"process.json": '{"pid": -7, "events_before": null}'},
    "process is itself": {"process.json": "itself"},
    "settings are cut off": {"settings.json": '{"a": '},
    "settings are bytes": {"settings.json": b"\xff\xfe\xfd"},
    "settings are endless": {"settings.json": "/dev/zero"},
    "settings are itself": {"settings.json": "itself"},
    "settings are deep": {"settings.json": '{"a":' * 60_000},
    "events are bytes": {"events.jsonl": b"\x00\xff" * 1000 + b"\n"},
    "events are a folder": {"events.jsonl": "/"},
    "events are endless": {"events.jsonl": "/dev/zero"},
    "events are a pipe": {"events.jsonl": "pipe"},
    "control is deep": {"control.jsonl": "[" * 60_000 + "\n"},
    "control is a number": {"control.jsonl": "7\n[]\n\xff\n"},
    "control is a folder": {"control.jsonl": "/"},
    "log is endless": {"log.txt": "/dev/zero"},
    "heartbeat is itself": {"heartbeat": "itself"},
    "lock is a folder": {"lock": "/"},
}

NUMBERS = ["1e400", "-1e400", "NaN", "Infinity", "1e39", "1" + "0" * 400, "-1e300", '"x"', "[]", "null", "true", "{}"]


def damage(run: RunFolder, name: str, content: Any) -> None:
    file = run.path / name
    file.unlink(missing_ok=True)
    if content == "/":
        file.mkdir()
    elif content == "pipe":
        os.mkfifo(file)
    elif content == "itself":
        file.symlink_to(file)
    elif content == "/dev/zero":
        file.symlink_to(content)
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))


def looked_at(panel: RunsPanel, run: RunFolder, other: RunFolder) -> None:
    """Everything that the page does with runs."""
    assert {found.name for found in all_runs()} >= {other.name}
    choices = panel.relisted()["choices"]
    assert any(name == other.name for _, name in choices)
    for one in (other, run):
        panel.tick(one.name, None)
        panel._look_anew(one.name)
    history = History(run).update()
    for draw in (run_view.overview, run_view.chart, run_view.samples, run_view.log):
        draw(history)
    assert "3 / 9" in run_view.overview(History(other).update())
    assert resume_step(run) == 0


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_of_a_run_touch_only_that_run(
    name: str, panel: RunsPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runs.process.start", lambda *_: 0)
    run, other = told("damaged"), told("sound")
    for file, content in DAMAGE[name].items():
        damage(run, file, content)
    looked_at(panel, run, other)
    with pytest.raises(CannotResume) as refused:
        resume(run)
    assert str(refused.value).rstrip()[-1] in ".!?"


@pytest.mark.parametrize(
    "line",
    [
        STEP + ',"eta":@}', STEP + ',"loss":@}', STEP + ',"memory":@}', STEP + ',"images_per_second":@}',
        STEP.replace('"step":4', '"step":@') + "}", STEP.replace('"time":1', '"time":@') + "}",
        STEP.replace('{"unet":0.1}', '{"unet":@}') + "}",
        STEP.replace('"smoothed_loss":0.1', '"smoothed_loss":@') + "}",
        '{"kind":"planned","time":1,"total_steps":@,"steps_per_epoch":@,"seed":@,"device":"cpu","first_step":2}',
        '{"kind":"planned","time":1,"total_steps":9,"steps_per_epoch":3,"seed":1,"device":"cpu","first_step":@}',
        '{"kind":"progress","time":1,"done":@,"total":@,"eta":@,"per_second":@}',
        '{"kind":"stage","time":@,"name":"loading","done":@,"total":@}',
        '{"kind":"validated","time":1,"step":@,"loss":@,"pictures":@}',
        '{"kind":"sample","time":1,"file":"a","preview":"a","prompt":"a","prompt_index":@,"seed":@,"step":@}',
        '{"kind":"state","time":1,"step":@}', '{"kind":"finished","time":1,"how":"done","step":@}',
    ],
)  # fmt: skip
def test_numbers_out_of_all_bounds_in_events_touch_only_their_run(line: str, panel: RunsPanel) -> None:
    other = told("sound")
    for number in NUMBERS:
        run = told("damaged")
        with run.events_file.open("a") as stream:
            stream.write(line.replace("@", number) + "\n")
        looked_at(panel, run, other)
        assert len(run_view.overview(History(run).update())) < 20_000


def test_lines_without_end_are_left_out(panel: RunsPanel) -> None:
    run, other = told("damaged"), told("sound")
    with run.events_file.open("a") as stream:
        stream.write('{"kind":"warning","time":1,"text":"' + "x" * 5_000_000 + '"}\n')
        stream.write('{"kind":"warning","time":1,"text":"careful"}\n')
    looked_at(panel, run, other)
    assert History(run).update().warnings == ["careful"]


def test_what_training_that_runs_away_reports_is_shown(panel: RunsPanel) -> None:
    """Gradients of 1e30 are no reason to drop the step."""
    run = told("away")
    writer = run.writer()
    writer.write(Step(step=4, epoch=1, smoothed_loss=1e30, learning_rates={"unet": 1e-4}, grad_norm=float("inf")))
    writer.close()
    assert History(run).update().done_steps == 4
