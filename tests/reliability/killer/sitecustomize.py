"""Put on an engine's PYTHONPATH: kills it (SIGKILL) just before its nth change of a file, by Python's audit events.

KILLER_WATCHES  folders, the changes within which count
KILLER_AT       which change, from 1; 0 for none
KILLER_COUNTS   a file that is given how many there were, where the process ends by itself
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NOT_COUNTED = ("heartbeat", "lock")
"""What is written by the clock, so that the same number is the same place in each run."""

watched = [folder for folder in os.environ.get("KILLER_WATCHES", "").split(os.pathsep) if folder]
limit, counts = int(os.environ.get("KILLER_AT", "0")), os.environ.get("KILLER_COUNTS", "")
changes = 0


def _changed(event: str, arguments: tuple[object, ...]) -> str:
    """The path that an audited event is about to change, if any."""
    if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
        return os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
    return ""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    global changes
    if event != "open" and event not in CHANGES:
        return
    path = _changed(event, arguments)
    if path.startswith(tuple(watched)) and not path.endswith(NOT_COUNTED):
        changes += 1
        if changes == limit:
            os.kill(os.getpid(), signal.SIGKILL)


if watched:
    sys.addaudithook(_watch)
    if counts:
        atexit.register(lambda: Path(counts).write_text(str(changes)))
