"""The run beside the form: what is sent to the page when it looks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import gradio as gr
import pytest

from engine.begin import going_on
from engine.runs import listing
from engine.runs.events import Finished, Started, Step
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.listing import run_named, status_of
from ui import run_view
from ui import watched as watched_runs
from ui.kept import read
from ui.run_view import NO_RUN
from ui.runs_panel import LOOK_EVERY, LOOK_RARELY, MOST_LISTED, RunsPanel, _asking, _kill, _resume
from ui.watched import Watched, watched


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch, tmp_path) -> RunsPanel:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    with gr.Blocks():
        drawn = RunsPanel()
        drawn.draw()
    return drawn


def is_skipped(update: object) -> bool:
    return update == gr.skip()


def test_an_answer_that_comes_late_is_made_good_at_the_next_look(panel: RunsPanel):
    """The page says what it shows: after an old answer has overtaken a new one, it is sent the new one again."""
    run = RunFolder.create("train", "{}", "heart")
    early = panel.tick(run.name, None)
    run.writer().write(Finished(how="stopped"))
    late = panel.tick(run.name, early[0])
    resume = panel.outputs.index(panel.resume)
    assert late[resume] == gr.update(visible=True)
    assert all(is_skipped(update) for update in panel.tick(run.name, late[0]))
    assert panel.tick(run.name, early[0])[resume] == gr.update(visible=True)
    assert isinstance(panel.seen, gr.Textbox)  # a State is the server's, and would say that the new one is shown


def test_a_run_that_is_gone_is_said_to_be_once(panel: RunsPanel):
    for seen in ("", '["gone", 1, "stopped", false, 0, 0]', "no JSON", "{}"):
        told = panel.tick("gone", seen)
        assert "The folder of the run gone no longer exists: it was deleted or moved." in told[1]
        assert told[2:5] == ["", "", ""]
        assert told[5:10] == [gr.update(visible=False)] * 5
        assert all(is_skipped(update) for update in panel.tick("gone", told[0]))
    assert all(is_skipped(update) for update in panel.tick(None, ""))
    assert panel.tick(None, told[0])[1] == NO_RUN


@pytest.mark.parametrize("name", ["..", ".", "", "/", "a/b", "../x", "a\0b", "C:"])
def test_no_name_leads_out_of_the_runs_folder(panel: RunsPanel, runs: Path, name: str):
    (runs / "a" / "b").mkdir(parents=True)
    for folder in (runs, runs.parent, runs.parent / "x", runs / "a" / "b"):
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_text('{"job": "train"}')
    assert run_named(name) is None
    assert "No run yet" in panel._look_anew(name)[1] or "no longer exists" in panel._look_anew(name)[1]


@pytest.mark.parametrize("at", ["settings.json", "job.json", "events.jsonl", "log.txt", "lock", None])
def test_a_folder_that_goes_while_it_is_looked_at(panel: RunsPanel, monkeypatch: pytest.MonkeyPatch, at: str | None):
    """Whichever of its files is the first that is missed."""
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started(), Finished(how="stopped"))
    run.log_file.write_text("words")
    seen = panel.tick(run.name, "")[0]
    drawn = Watched._drawn

    def meanwhile(self: Watched, *rest: object) -> object:
        if at is None:
            shutil.rmtree(run.path)
        else:
            (run.path / at).unlink(missing_ok=True)
            if at == "job.json":
                shutil.rmtree(run.path)
        return drawn(self, *rest)

    monkeypatch.setattr(Watched, "_drawn", meanwhile)
    run.writer().write(Finished(how="stopped"))
    told = panel.tick(run.name, seen)
    assert ("no longer exists" in told[1]) == (at in (None, "job.json"))
    shutil.rmtree(run.path, ignore_errors=True)
    assert "no longer exists" in panel.tick(run.name, "")[1]


def test_buttons_for_a_run_that_is_gone_say_so(monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)
    for press in (_asking("stop"), _asking("save"), _kill, _resume):
        press("gone")
    assert told == ["The folder of the run gone no longer exists: it was deleted or moved."] * 4


def test_the_list_leaves_out_what_goes_while_it_is_read(monkeypatch: pytest.MonkeyPatch):
    first, second = (RunFolder.create("train", "{}", name) for name in ("a", "b"))
    last_event = RunFolder.last_event

    def meanwhile(run: RunFolder) -> object:
        if run == second:
            raise FileNotFoundError(run.path)
        return last_event(run)

    monkeypatch.setattr(RunFolder, "last_event", meanwhile)
    assert [name for _, name in RunsPanel().choices()] == [first.name]


def test_a_page_that_is_loaded_anew_shows_the_run_that_it_showed_unless_there_is_a_newer_one(runs: Path):
    older, newer = (RunFolder.create("train", "{}", name) for name in ("a", "b"))
    for nothing in (None, [], ["x"], "text", {"a": 1}, [1, newer.name], [["x"], newer.name]):
        assert RunsPanel().first(nothing)["value"] == newer.name
    kept = read(RunsPanel().what_is_kept(older.name))
    assert RunsPanel().first(kept)["value"] == older.name
    newest = RunFolder.create("train", "{}", "c")
    assert RunsPanel().first(kept)["value"] == newest.name
    kept = read(RunsPanel().what_is_kept(older.name))
    shutil.rmtree(older.path)
    assert RunsPanel().first(kept)["value"] == newest.name


class TestManyPages:
    def test_a_run_is_looked_at_once_for_all_who_watch_it(self, panel: RunsPanel, monkeypatch: pytest.MonkeyPatch):
        run = RunFolder.create("train", "{}", "cat")
        run.writer().write(Started(), Finished(how="stopped"))
        drawn = counted(monkeypatch, run_view, "overview")
        alive = counted(monkeypatch, RunFolder, "is_alive")
        monkeypatch.setattr(watched_runs, "SHARED_FOR", 1000.0)
        answers = {tuple(map(str, panel.tick(run.name, ""))) for _ in range(20)}
        assert (len(answers), len(drawn), len(alive)) == (1, 1, 1)

    def test_news_is_not_waited_for(self, panel: RunsPanel, monkeypatch: pytest.MonkeyPatch):
        run = RunFolder.create("train", "{}", "cat")
        monkeypatch.setattr(watched_runs, "SHARED_FOR", 1000.0)
        seen = panel.tick(run.name, "")[0]
        for news in (
            lambda: run.writer().write(Started()),
            lambda: run.log_file.write_text("words"),
            lambda: run.log_file.write_text("more words"),
            lambda: run.ask("stop"),
            lambda: run.set_process(2**22 + 1, 0),
        ):
            news()
            before, seen = seen, panel.tick(run.name, None)[0]
            assert seen != before or news.__code__.co_names[-1] in ("ask", "set_process")
            assert watched(run.name)._signs == watched(run.name)._signs_now()

    def test_two_thousand_runs_cost_a_look_nothing(self, panel: RunsPanel, many: list[RunFolder], monkeypatch):
        touched = counted(monkeypatch, RunFolder, "is_alive")
        listed = counted(monkeypatch, os, "listdir")
        panel.tick(many[0].name, "")
        assert (len(touched), len(listed)) == (1, 0)

    def test_the_list_looks_at_those_it_shows_and_once(self, many: list[RunFolder], monkeypatch):
        touched = counted(monkeypatch, RunFolder, "is_alive")
        assert len(RunsPanel().choices()) == MOST_LISTED
        assert len(touched) == MOST_LISTED
        for _ in range(20):
            RunsPanel().choices()
        assert len(touched) == MOST_LISTED

    def test_whether_any_goes_on_is_asked_of_each_that_has_ended_once(self, many: list[RunFolder], monkeypatch):
        touched = counted(monkeypatch, RunFolder, "is_alive")
        assert going_on() is None
        assert len(touched) == len(many)
        for _ in range(20):
            assert going_on() is None
        assert len(touched) == len(many)

    def test_one_that_is_started_again_is_found(self, many: list[RunFolder]):
        assert going_on() is None
        run = many[len(many) // 2]
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *run.work_arguments()])
        try:
            run.set_process(child.pid, run.events_size())
            assert going_on() == run
            assert status_of(run) == "starting"
        finally:
            child.kill()
            child.wait()
        assert going_on() is None

    def test_one_that_has_just_changed_is_not_taken_for_ended_for_good(self, runs: Path):
        run = RunFolder.create("train", "{}", "cat")
        assert going_on() is None
        assert run.path not in listing._ended

    def test_a_long_history_is_read_by_one_thread_while_pages_show_how_far_it_is(
        self, panel: RunsPanel, monkeypatch: pytest.MonkeyPatch
    ):
        run = RunFolder.create("train", "{}", "cat")
        run.writer().write(Started(), *(step(n) for n in range(1, 40_001)), Finished(how="done", step=40_000))
        monkeypatch.setattr(watched_runs, "READS_FOR", 0.0)
        go_on = threading.Event()
        update = History.update
        monkeypatch.setattr(
            History, "update", lambda self, within=None: (within is None and go_on.wait(20), update(self, within))[1]
        )
        looks = [panel.tick(run.name, "") for _ in range(5)]
        assert all("Reading the history of the run: " in look[1] for look in looks)
        assert all(is_skipped(look[10]) for look in looks)  # nobody takes it for ended yet
        assert sum(thread.name == f"history of {run.name}" for thread in threading.enumerate()) == 1
        go_on.set()
        watched(run.name)._reading.join(60)
        done = panel.tick(run.name, "")
        assert "40000 steps" in done[1]
        assert done[10] == f"{run.name} 40002"


@pytest.fixture
def many(runs: Path) -> list[RunFolder]:
    """Runs that ended an hour ago."""
    found = []
    for number in range(200):
        run = RunFolder.create("train", "{}", f"run {number}")
        run.writer().write(Started(), Finished(how="done"))
        os.utime(run.path, (time.time() - 3600,) * 2)
        found.append(run)
    return found


def step(number: int) -> Step:
    return Step(step=number, epoch=1, loss=0.5, smoothed_loss=0.5, learning_rates={"unet": 1e-4})


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[object]:
    """What a function is called with from now on."""
    calls: list[object] = []
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given: (calls.append(given), real(*given))[1])
    return calls


def test_runs_of_utilities_stand_apart_from_those_of_training():
    training, utility = RunFolder.create("train", "{}", "a"), RunFolder.create("caption-wd14", "{}", "b")
    damaged = RunFolder.create("train", "{}", "c")
    (damaged.path / "job.json").write_text("{")
    assert [name for _, name in RunsPanel().choices()] == [damaged.name, training.name]
    assert [name for _, name in RunsPanel(of_utilities=True).choices()] == [utility.name]
    assert RunsPanel(of_utilities=True).first(None)["value"] == utility.name


def test_the_page_looks_often_while_a_run_goes_on_and_else_rarely(panel: RunsPanel):
    run = RunFolder.create("train", "{}", "heart", to_start=True)
    pulse = panel.outputs.index(panel.pulse)
    told = panel.tick(run.name, "")
    assert told[pulse] == LOOK_EVERY
    run.writer().write(Started(), Finished(how="stopped"))
    assert panel.tick(run.name, told[0])[pulse] == LOOK_EVERY or status_of(run) in listing.ENDED
    assert panel.tick(None, told[0])[pulse] == LOOK_RARELY
