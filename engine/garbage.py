"""What Python's garbage collector need not look through."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """For importing large libraries: what is made within stays until the process ends.

    torch, diffusers, transformers and peft are 800,000 objects. Looked through again and again while they come, with
    each full collection later and once more at the end, they cost a third of an engine's start.  Within another such
    block, or where all has been imported before, nothing is kept.
    """
    if not gc.isenabled():
        yield
        return
    modules = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        gc.enable()
