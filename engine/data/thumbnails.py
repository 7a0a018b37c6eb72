"""Where thumbnails are, and how many are kept: unused ones are deleted, never those in use.  Needs no torch.

A thumbnail's last use is stored as the file's access time, which is set here: systems themselves update it rarely or
not at all.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from engine.disk import remove_leftovers
from engine.runs.folder import runs_root

MOST_BYTES = 500 * 2**20
"""Some 40,000 thumbnails."""

LEFT = 0.8
"""Share that is kept when there is more, so that not every new one causes a scan of all."""

OLDEST = 90 * 24 * 3600.0
"""Seconds without use after which a thumbnail is deleted even if there is room."""

IN_USE = 24 * 3600.0
"""Seconds since its last use for which a thumbnail is always kept: a page may show it."""

NOTED = 3600.0
"""Seconds for which its last use need not be updated, and between two scans."""

_lock = threading.Lock()
_looked = 0.0


def thumbnails_root() -> Path:
    """Next to the runs.  All of it can be deleted at any time."""
    return runs_root().with_name("thumbnails")


def used(thumbnail: Path) -> None:
    """Record that a thumbnail is shown."""
    with suppress(OSError):
        stat = thumbnail.stat()
        if time.time() - stat.st_atime > NOTED:
            os.utime(thumbnail, ns=(time.time_ns(), stat.st_mtime_ns))


def tidy(root: Path, most: int = MOST_BYTES) -> int:
    """Remove the least recently used until they take `most` bytes or less; returns how many.

    Never those in use, even if that leaves more.  May be called by several pages at once.
    """
    now = time.time()
    found: list[tuple[float, int, Path]] = []
    for folder in root.iterdir() if root.is_dir() else ():
        with suppress(OSError):
            remove_leftovers(folder)
            for entry in os.scandir(folder):
                stat = entry.stat()
                if entry.name.endswith(".jpg"):
                    found.append((stat.st_atime, stat.st_size, Path(entry.path)))
    taken = sum(size for _, size, _ in found)
    wanted = taken if taken <= most else int(most * LEFT)
    removed = 0
    for last_used, size, file in sorted(found):
        unused = now - last_used
        if unused <= IN_USE or (taken <= wanted and unused <= OLDEST):
            break
        with suppress(OSError):
            file.unlink()
            removed += 1
        taken -= size
    return removed


def tidy_at_times() -> None:
    """tidy() in the background, unless it was done recently."""
    global _looked
    with _lock:
        if time.monotonic() - _looked < NOTED and _looked:
            return
        _looked = time.monotonic()
    threading.Thread(target=tidy, args=(thumbnails_root(),), name="tidy-thumbnails", daemon=True).start()
