"""A run's folder on disk: the only code that knows its layout.

runs/2026-11-20_14-03-59_cat/
    settings.json    what the run was told
    job.json         which job it is
    events.jsonl     what happened, appended
    control.jsonl    what it was asked to do since, appended
    log.txt          everything the engine printed
    process.json     the process that was started on it last
    lock             held by the engine for as long as it lives
    done.jsonl       what a utility has done, so that it goes on where it was
    heartbeat        touched every second by the living engine
    reserve          room that the living engine keeps back for its last words
    state/           the latest training state
    previews/        small copies of the sample pictures, or of those that captioners are compared by
    drafts/          what captioners wrote that were compared
    name.json        what somebody called the run
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout

from engine.disk import write_text_whole
from engine.reading import opened, parse_json, small_json
from engine.runs.events import AnyEvent, Checkpoint, EventReader, EventWriter, Finished, parse_event

Request = Literal["stop", "save", "sample"]
Status = Literal["starting", "running", "silent", "ending", "done", "stopped", "failed", "died"]

PARTS = (
    "settings.json", "job.json", "events.jsonl", "control.jsonl", "log.txt", "process.json", "lock", "done.jsonl",
    "heartbeat", "reserve", "state", "previews", "drafts", "name.json",
)  # fmt: skip
"""All that a run's folder holds of the run."""

LARGEST_NOTE = 2**16
"""Bytes of job.json, process.json and name.json, which have some fifty."""

LONGEST_TITLE = 80
"""Characters of what somebody calls a run."""

LONGEST_EVENT = 64_000
"""Bytes; a line of steps has some 300."""

LONGEST_START = 60.0
"""Seconds in which a process that was started is up, however busy the machine is."""

RESERVE = 2**18
"""Bytes that a run keeps back, so that it can tell how it ended on a disk that is full."""

SILENT_AFTER = 60.0
"""Seconds without a heartbeat after which a living process counts as silent."""


def runs_root() -> Path:
    """Where runs are kept: DARKROOM_RUNS, or runs/ beside the program."""
    return Path(os.environ.get("DARKROOM_RUNS") or Path(__file__).parents[2] / "runs").resolve()


class RunIsHeld(RuntimeError):
    """Another engine works on the run."""


@dataclass(frozen=True)
class RunFolder:
    """One run, by the folder that it lives in."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        """What somebody called the run, else its name; that stays what it is known by."""
        try:
            return str(small_json(self.path / "name.json", LARGEST_NOTE)["name"])[:LONGEST_TITLE] or self.name
        except (OSError, ValueError, KeyError, TypeError):
            return self.name

    def rename(self, title: str) -> None:
        """Call the run something; its own name again where that says nothing.  Raises OSError."""
        if self.is_gone:  # or a folder with nothing but a name would come back
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        words = " ".join("".join(letter if letter.isprintable() else " " for letter in title).split())
        if words and words != self.name:
            write_text_whole(self.path / "name.json", json.dumps({"name": words[:LONGEST_TITLE]}))
        else:
            (self.path / "name.json").unlink(missing_ok=True)

    @property
    def settings_file(self) -> Path:
        return self.path / "settings.json"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def state_folder(self) -> Path:
        return self.path / "state"

    @property
    def previews_folder(self) -> Path:
        return self.path / "previews"

    @property
    def drafts_folder(self) -> Path:
        return self.path / "drafts"

    @property
    def done_file(self) -> Path:
        return self.path / "done.jsonl"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def is_gone(self) -> bool:
        """Whether the folder was deleted or moved; parts of it may come back while an engine still writes."""
        return not os.path.exists(self.path / "job.json")

    @staticmethod
    def create(job: str, settings_json: str, title: str, root: Path | None = None, to_start: bool = False) -> RunFolder:
        """Make a new folder, named by the time and the title, and write what the run is told.

        It counts as a run once that is whole.  to_start: this process is about to start an engine on it.
        """
        root = root or runs_root()
        root.mkdir(parents=True, exist_ok=True)
        words = re.sub(r"[^\w.-]+", "-", title).strip("-.")[:40] or job
        base = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{words}"
        for number in range(1, 1000):
            path = root / (base if number == 1 else f"{base}_{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            run = RunFolder(path)
            try:
                write_text_whole(run.settings_file, settings_json)
                if to_start:
                    run.set_starting()
                write_text_whole(path / "job.json", json.dumps({"job": job}))
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
            return run
        raise FileExistsError(f"{root} already contains a thousand runs from this second.")

    @property
    def job(self) -> str:
        """Its name in engine.jobs; "" where what says it is damaged."""
        try:
            return str(small_json(self.path / "job.json", LARGEST_NOTE)["job"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    @property
    def created(self) -> datetime:
        """When the run was made, in local time."""
        return datetime.fromtimestamp(self.settings_file.stat().st_mtime)

    # ── events and control ────────────────────────────────────────────────────────────────────────

    def events(self) -> EventReader:
        return EventReader(self.events_file)

    def last_event(self) -> AnyEvent | None:
        """The last complete event, found from the end of the file: a long run has a hundred thousand before it."""
        try:
            with opened(self.events_file) as stream:
                stream.seek(max(0, self.events_size() - LONGEST_EVENT))
                lines = stream.read().split(b"\n")[:-1]
        except OSError:
            return None
        return next((event for line in reversed(lines) if (event := parse_event(line)) is not None), None)

    def writer(self) -> EventWriter:
        return EventWriter(self.events_file)

    def ask(self, request: Request) -> None:
        """Append a request for the engine to find between two steps."""
        with (self.path / "control.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": time.time(), "request": request}) + "\n")

    def stop_requested(self) -> bool:
        """Whether the engine was asked to stop since it started."""
        return "stop" in self.control().take()

    def control(self) -> Control:
        return Control(self.path / "control.jsonl")

    def log_tail(self, lines: int = 200, most_bytes: int = 64_000) -> str:
        """The end of the log; carriage returns of progress bars leave only their last state."""
        try:
            with opened(self.log_file) as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - most_bytes))
                text = stream.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")[-lines:])

    # ── the process ───────────────────────────────────────────────────────────────────────────────

    def set_starting(self) -> None:
        """Note that this process is about to start an engine: nobody shall take the run for dead until it has."""
        noted = {"pid": os.getpid(), "events_before": self.events_size(), "starts_at": time.time()}
        write_text_whole(self.path / "process.json", json.dumps(noted))

    def set_process(self, pid: int, events_before: int) -> None:
        """Note the process that was started on the run, and how many bytes of events there were before."""
        noted = {"pid": pid, "events_before": events_before}
        write_text_whole(self.path / "process.json", json.dumps(noted))

    def forget_start(self) -> None:
        """No engine was started, though one was about to be."""
        (self.path / "process.json").unlink(missing_ok=True)

    def forget_process(self) -> None:
        """Clear what an earlier engine of this run left: its heartbeat and the requests made to it."""
        for name in ("heartbeat", "control.jsonl"):
            (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def held(self, patience: float = 10.0) -> Iterator[None]:
        """Hold the run for as long as the block, or this process, lasts: one engine at a time works on a run.

        Raises RunIsHeld where another one does not let go within `patience` seconds.
        """
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise RunIsHeld(f"Another engine is working on {self.name}.") from None
        try:
            yield
        finally:
            lock.release()

    def is_alive(self) -> bool:
        """Whether an engine works on the run, or has just been started and is about to.

        The operating system lets go of the lock when its holder ends, however it ends; numbers of processes
        and start times cannot say as much after a restart or a change of the clock.
        """
        return self._launched() or self._is_held()

    def belongs(self, process: psutil.Process) -> bool:
        """Whether a living process is an engine, or launcher, of the run: its command line ends in work_arguments()."""
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[-2:] == self.work_arguments()
        except psutil.Error:
            return False

    def _is_new(self, process: psutil.Process) -> bool:
        """Whether a process was made so lately that the system may not know its command line yet."""
        try:
            is_nameless = process.status() != psutil.STATUS_ZOMBIE and not process.cmdline()
            return is_nameless and time.time() - process.create_time() < LONGEST_START
        except psutil.Error:
            return False

    def work_arguments(self) -> list[str]:
        """How an engine is told to work on this run."""
        return ["work", str(self.path)]

    def _launched(self) -> bool:
        noted = self._noted()
        try:
            process = psutil.Process(noted["pid"])
            if "starts_at" in noted:
                return time.time() - noted["starts_at"] < LONGEST_START
        except (KeyError, TypeError, ValueError, OverflowError, psutil.Error):
            return False
        return self.belongs(process) or self._is_new(process)

    def _is_held(self) -> bool:
        if not (self.path / "lock").exists():
            return False
        try:
            with self.held(patience=0.05):  # another look at the same moment holds it for an instant
                return False
        except RunIsHeld:
            return True
        except (OSError, NotImplementedError):  # a file system without locks
            return False

    def _noted(self) -> dict[str, Any]:
        try:
            noted = small_json(self.path / "process.json", LARGEST_NOTE)
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def events_size(self) -> int:
        try:
            return self.events_file.stat().st_size
        except OSError:
            return 0

    def beat(self) -> None:
        (self.path / "heartbeat").touch()

    def keep_reserve(self) -> None:
        """Take the room that the last words will need, in bytes that no file system makes less of.  Raises OSError."""
        (self.path / "reserve").write_bytes(os.urandom(RESERVE))

    def has_reserve(self) -> bool:
        return (self.path / "reserve").exists()

    def give_up_reserve(self) -> None:
        (self.path / "reserve").unlink(missing_ok=True)

    def last_beat(self) -> float | None:
        """When the engine last gave a sign of life, in seconds since 1970."""
        try:
            return (self.path / "heartbeat").stat().st_mtime
        except OSError:
            return None

    def last_sign(self) -> float:
        """When an engine last beat or told something, in seconds since 1970; 0 where none ever did."""
        try:
            told = self.events_file.stat().st_mtime
        except OSError:
            told = 0.0
        return max(told, self.last_beat() or 0.0)

    def status_now(self) -> Status:
        """The state that the run is in, by its last event alone."""
        return self.status(self.last_event(), self.events_size())

    def status(self, last_event: AnyEvent | None, heard: int) -> Status:
        """What state the run is in, derived from its engine and its last event, never stored.

        One that was killed after its final file was written is done all the same.
        heard: bytes of the events that were read; the engine started last has spoken where they reach beyond
        what was there before it.
        """
        alive = self.is_alive()
        before = self._noted().get("events_before", 0)
        has_spoken = heard > (before if type(before) is int else 0)
        if isinstance(last_event, Finished) and has_spoken:
            return "ending" if alive else last_event.how
        if not alive:
            return "done" if has_spoken and isinstance(last_event, Checkpoint) and last_event.final else "died"
        beat = self.last_beat()
        if beat is None or not has_spoken:
            return "starting"
        return "silent" if time.time() - beat > SILENT_AFTER else "running"


class Control:
    """The requests made to the running engine, for it to look at between steps."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def take(self) -> set[str]:
        """What was asked for since the last look; to stop, where the run's folder was deleted."""
        try:
            if self._file.stat().st_size <= self._offset:
                return set()
            with opened(self._file) as stream:
                stream.seek(self._offset)
                data = stream.read()
        except OSError:
            # Nobody could see an engine any more that went on, nor end it.
            return {"stop"} if RunFolder(self._file.parent).is_gone else set()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return {request for line in whole.splitlines() if (request := _request_in(line))}


def _request_in(line: bytes) -> str:
    try:
        return str(parse_json(line)["request"])
    except (ValueError, KeyError, TypeError):
        return ""


def all_runs(root: Path | None = None) -> Iterator[RunFolder]:
    """Every run, newest first."""
    root = root or runs_root()
    try:
        names = sorted(os.listdir(root), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:  # one after the other, for who wants only the newest
        if os.path.exists(root / name / "job.json"):
            yield RunFolder(root / name)
