"""A run's state is found out, never stored: no flag that can lie."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.begin import begin
from engine.runs.events import AnyEvent, Finished, Stage
from engine.runs.folder import LONGEST_EVENT, SILENT_AFTER, RunFolder, RunIsHeld, Status, all_runs
from engine.runs.process import kill, processes_of
from engine.settings.training import TrainingSettings


@pytest.fixture
def run() -> RunFolder:
    return RunFolder.create("train", "{}", "my cat")


@pytest.fixture
def sleeper(run: RunFolder):
    """A process that looks like the run's engine, and does nothing."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *run.work_arguments()])
    yield child
    child.kill()
    child.wait()


@pytest.fixture
def holder(run: RunFolder):
    """Another process that holds the run, as an engine does whose launcher is gone."""
    code = "import sys, time; from pathlib import Path; from engine.runs.folder import RunFolder\n"
    code += "with RunFolder(Path(sys.argv[1])).held(): print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def status(run: RunFolder, last: AnyEvent | None, spoken: bool = True) -> Status:
    """The status where the engine that was started last has spoken, or has not."""
    return run.status(last, 10**6 if spoken else 0)


def test_a_folder_is_named_by_time_and_title(run: RunFolder):
    assert run.name.endswith("_my-cat")
    assert run.job == "train"


@pytest.mark.parametrize("title", ["../../etc", "a/b\\c", "", "...", "x" * 300, "a\nb"])
def test_no_title_leads_out_of_the_runs_folder(runs: Path, title: str):
    run = RunFolder.create("train", "{}", title)
    assert run.path.parent == runs
    assert len(run.name) < 80


def test_runs_of_the_same_second_have_folders_of_their_own(run: RunFolder):
    others = {RunFolder.create("train", "{}", "my cat").path for _ in range(3)}
    assert len(others | {run.path}) == 4
    assert {found.path for found in all_runs()} == others | {run.path}


def test_a_run_without_an_engine_whose_last_word_was_no_end_has_died(run: RunFolder):
    assert status(run, Stage(name="training")) == "died"
    assert status(run, None, spoken=False) == "died"
    assert status(run, Finished(how="stopped")) == "stopped"


def test_a_living_engine_is_starting_until_it_beats_and_speaks(run: RunFolder, sleeper: subprocess.Popen):
    run.set_process(sleeper.pid, 0)
    assert status(run, None, spoken=False) == "starting"
    run.beat()
    assert status(run, Stage(name="loading")) == "running"


def test_an_engine_that_beats_no_more_is_silent(run: RunFolder, sleeper: subprocess.Popen):
    run.set_process(sleeper.pid, 0)
    run.beat()
    long_ago = time.time() - SILENT_AFTER - 5
    os.utime(run.path / "heartbeat", (long_ago, long_ago))
    assert status(run, Stage(name="training")) == "silent"


def test_an_engine_that_has_said_its_last_word_but_lives_on_is_ending(run: RunFolder, sleeper: subprocess.Popen):
    run.set_process(sleeper.pid, 0)
    run.beat()
    assert status(run, Finished(how="done")) == "ending"


def test_after_a_kill_the_run_has_died(run: RunFolder, sleeper: subprocess.Popen):
    run.set_process(sleeper.pid, 0)
    run.beat()
    sleeper.kill()
    sleeper.wait()
    assert status(run, Stage(name="training")) == "died"


def test_another_process_of_the_same_number_is_not_the_runs(run: RunFolder):
    """After a restart of the machine the number may belong to anything, even to this test."""
    run.set_process(os.getpid(), 0)
    assert not run.is_alive()
    assert status(run, Stage(name="training")) == "died"


def test_who_holds_a_run_keeps_it_alive_though_its_launcher_is_gone(run: RunFolder, holder: subprocess.Popen):
    assert run.is_alive()
    with pytest.raises(RunIsHeld), run.held(patience=0.1):
        pass
    holder.kill()
    holder.wait()
    assert not run.is_alive()
    with run.held(patience=0.1):
        pass


def test_the_processes_of_a_run_are_found_without_knowing_their_numbers(run: RunFolder, sleeper: subprocess.Popen):
    assert [found.pid for found in processes_of(run)] == [sleeper.pid]
    kill(run)
    sleeper.wait(timeout=10)
    assert processes_of(run) == []


def test_a_resumed_run_is_not_taken_for_finished_by_its_earlier_end(run: RunFolder, sleeper: subprocess.Popen):
    run.events_file.write_text("x" * 500)
    run.set_process(sleeper.pid, 500)
    assert run.status(Finished(how="stopped"), heard=500) == "starting"
    sleeper.kill()
    sleeper.wait()
    assert run.status(Finished(how="stopped"), heard=500) == "died"


def test_requests_reach_the_engine_once(run: RunFolder):
    control = run.control()
    assert control.take() == set()
    run.ask("save")
    run.ask("sample")
    assert control.take() == {"save", "sample"}
    assert control.take() == set()
    assert not run.stop_requested()
    run.ask("stop")
    assert run.stop_requested()


def test_requests_to_an_earlier_engine_do_not_stop_the_next(run: RunFolder):
    run.ask("stop")
    run.forget_process()
    assert run.control().take() == set()
    assert not run.stop_requested()


def test_broken_request_lines_are_passed_over(run: RunFolder):
    (run.path / "control.jsonl").write_text('nonsense\n[1]\n{"request": "save"}\n{"request": "st')
    assert run.control().take() == {"save"}


def test_of_a_progress_bar_the_log_keeps_the_last_state(run: RunFolder):
    run.log_file.write_text("loading\r 10%\r100%\nnext\n" + "line\n" * 50)
    assert run.log_tail().splitlines()[:2] == ["100%", "next"]
    assert len(run.log_tail(5).splitlines()) <= 5


def test_folders_that_are_no_runs_are_not_listed(run: RunFolder, runs: Path):
    (runs / "something else").mkdir()
    (runs / "file").touch()
    assert [found.name for found in all_runs()] == [run.name]


def test_the_last_event_is_found_from_the_end(run: RunFolder):
    assert run.last_event() is None
    run.writer().write(*(Stage(name="caching", done=n) for n in range(3000)), Finished(how="done", step=7))
    with run.events_file.open("a") as stream:
        stream.write('{"kind": "of tomorrow"}\n{"kind": "half')
    assert run.events_file.stat().st_size > 2 * LONGEST_EVENT
    last = run.last_event()
    assert isinstance(last, Finished)
    assert last.step == 7


class TestARunThatIsBeingStarted:
    """It is alive from the moment on in which it is listed, whatever the machine does meanwhile."""

    def test_before_its_process_is_there(self, runs: Path):
        run = RunFolder.create("train", "{}", "cat", to_start=True)
        assert [found.name for found in all_runs()] == [run.name]
        assert run.status_now() == "starting"
        run.forget_start()
        assert run.status_now() == "died"

    def test_it_is_not_listed_before_it_is_told_all(self, runs: Path, monkeypatch: pytest.MonkeyPatch):
        listed = []
        monkeypatch.setattr(
            "engine.runs.folder.write_text_whole",
            lambda path, text: (path.write_text(text), listed.append((path.name, len(list(all_runs()))))),
        )
        RunFolder.create("train", "{}", "cat", to_start=True)
        assert listed == [("settings.json", 0), ("process.json", 0), ("job.json", 1)]

    def test_when_its_starter_is_gone(self, run: RunFolder, sleeper: subprocess.Popen):
        told = {"pid": sleeper.pid, "events_before": 0, "starts_at": time.time()}
        (run.path / "process.json").write_text(json.dumps(told))
        assert run.is_alive()
        sleeper.kill()
        sleeper.wait()
        assert run.status_now() == "died"

    def test_when_it_takes_longer_than_any_start(self, run: RunFolder):
        told = {"pid": os.getpid(), "events_before": 0, "starts_at": time.time() - 61}
        (run.path / "process.json").write_text(json.dumps(told))
        assert run.status_now() == "died"

    @pytest.mark.parametrize(("age", "status"), [(0, "starting"), (61, "died")])
    def test_while_the_system_does_not_know_its_command_line_yet(
        self, run: RunFolder, sleeper: subprocess.Popen, monkeypatch: pytest.MonkeyPatch, age: float, status: str
    ):
        """Between two moments within exec, a child that its starter has heard of has none."""
        run.set_process(sleeper.pid, 0)
        monkeypatch.setattr(psutil.Process, "cmdline", lambda _: [])
        monkeypatch.setattr(psutil.Process, "create_time", lambda _: time.time() - age)
        assert run.status_now() == status

    def test_where_it_cannot_be_started_nothing_of_it_stays(
        self, settings: TrainingSettings, runs: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def refused(*_: object, **__: object) -> None:
            raise OSError(11, "Resource temporarily unavailable")

        monkeypatch.setattr("engine.runs.process.subprocess.Popen", refused)
        checked, run = begin(settings)
        assert run is None
        assert checked.problems[-1].what == "The run cannot be started: Resource temporarily unavailable."
        assert not list(all_runs())
        assert not list(runs.iterdir())
