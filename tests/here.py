"""An engine's work, done in the tests' own process."""

from __future__ import annotations

import os
from unittest import mock

from engine.runs.folder import RunFolder


def work_here(run: RunFolder) -> int:
    """What `python -m engine work` does, without what it would leave behind; returns the exit code."""
    from accelerate.state import AcceleratorState

    from engine.worker import work

    with mock.patch.dict(os.environ):
        AcceleratorState._reset_state(reset_partial_state=True)  # its precision and devices are those of the process
        try:
            return work(run)
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
