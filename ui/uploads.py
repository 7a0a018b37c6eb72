"""Files that browsers send: in this page's own folder, and only as long as they are needed."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

VARIABLE = "GRADIO_TEMP_DIR"
PREFIX = "darkroom-uploads-"
LOCK = "in-use.lock"

KEPT = 24 * 3600.0
"""Seconds that a file stays: a page may be open for a day before an upload is used."""

BEGUN = 600.0
"""Seconds after the last byte of a partial upload: its sender has gone."""

INTERVAL = 300.0
"""Seconds between two looks."""


@contextmanager
def uploads_folder() -> Iterator[Path]:
    """A folder that only this user can read, which Gradio uses; it is cleaned up within the block, then removed.

    It is where GRADIO_TEMP_DIR says, otherwise in the system's temporary folder. Folders of killed pages are removed.
    """
    parent = Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    before = os.environ.get(VARIABLE)
    over = threading.Event()
    try:
        with FileLock(folder / LOCK):
            os.environ[VARIABLE] = str(folder)
            threading.Thread(target=_look_through, args=(folder, over), name="uploads", daemon=True).start()
            yield folder
    finally:
        over.set()
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        shutil.rmtree(folder, ignore_errors=True)


def remove_old(folder: Path, now: float) -> None:
    """Remove what is no longer needed.  now: seconds since 1970.

    Gradio writes uploads into files in the folder itself, and moves each into its own folder when it is complete.
    """
    for entry in list(folder.iterdir()):
        with suppress(OSError):
            if entry.name == LOCK:
                continue
            if not entry.is_dir() or entry.is_symlink():
                if now - entry.lstat().st_mtime > BEGUN:
                    entry.unlink()
                continue
            for file in [path for path in entry.rglob("*") if not path.is_dir()]:
                # The time it was moved here counts, if the system provides it: a picture may have been made long ago.
                times = file.lstat()
                if now - max(times.st_mtime, times.st_ctime) > KEPT:
                    file.unlink()
            if now - entry.lstat().st_mtime > BEGUN and not any(entry.iterdir()):
                entry.rmdir()


def _look_through(folder: Path, over: threading.Event) -> None:
    while not over.wait(INTERVAL):
        remove_old(folder, time.time())


def _remove_left_behind(parent: Path) -> None:
    """A lock that nobody holds belongs to a killed page; if it is new, to one that is starting."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            about = folder.lstat()
            if folder.is_symlink() or not _is_ours(about) or time.time() - about.st_mtime < BEGUN:
                continue
            with FileLock(folder / LOCK, timeout=0):
                for entry in folder.iterdir():
                    if entry.name != LOCK:
                        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            shutil.rmtree(folder)


def _is_ours(about: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or about.st_uid == os.getuid()
