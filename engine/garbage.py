"""What Python's garbage collector need not look through."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """For importing large libraries: what is made within stays until the process ends.

    torch, diffusers, transformers and peft are 900,000 objects. To look through them again and again while they come,
    and once more at the end, is a third of the work of importing them.  Within another such block, or where all has
    been imported before, nothing is kept.
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
