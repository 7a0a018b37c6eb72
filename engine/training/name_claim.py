"""Only one run at a time writes results with a name, whichever page or terminal of this machine starts it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.data.output_names import place_of, why_no_name
from engine.failure import Failure
from engine.settings.folders import Folders


@contextmanager
def name_claimed(folders: Folders) -> Iterator[None]:
    """Hold the output name while the block, or this process, lasts.  Raises Failure if another run has it.

    The lock is in the system's temporary folder, so that no trace of it is left among the results.
    """
    if why := why_no_name(folders.output_name):
        raise Failure(f'"{folders.output_name}" {why}.', "Choose another name.", "output_name")
    digest = hashlib.sha256(place_of(folders).encode(errors="surrogateescape")).hexdigest()[:32]
    lock = FileLock(Path(tempfile.gettempdir()) / f"darkroom-{digest}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Failure(
            f'Another run is still writing files named "{folders.output_name}" to "{folders.output_dir}".',
            "Start this run again with another name.",
            "output_name",
        ) from None
    except (OSError, NotImplementedError):
        pass  # another user's lock, or a system without locks: existing files are still not replaced unasked
    try:
        yield
    finally:
        lock.release()
