"""Batches read by threads before their step comes, so that the GPU does not wait for the disk."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from engine.data.batches import MicroBatch

T = TypeVar("T")

USUAL = 4
"""Default number of threads at most: reading waits for disks more than it computes."""

BATCHES = 2
"""Batches that each thread reads ahead."""


class Ahead(Generic[T]):
    """Applies read() to batches in order.

    read: called from several threads.  threads: 0 for a number that suits the machine.
    waited: seconds that take() has waited since the start.
    """

    def __init__(self, read: Callable[[MicroBatch], T], batches: Iterator[MicroBatch], threads: int = 0) -> None:
        threads = threads or max(1, min(USUAL, os.cpu_count() or 1))
        self._read, self._batches = read, batches
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read-ahead")
        self._waiting: deque[Future[T]] = deque()
        self._ahead = BATCHES * threads
        self.waited = 0.0

    def take(self) -> T:
        """The next batch.  Raises what reading it raised."""
        self._fill()
        began = time.monotonic()
        ready = self._waiting.popleft().result()
        self.waited += time.monotonic() - began
        self._fill()
        return ready

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fill(self) -> None:
        while len(self._waiting) < self._ahead and (batch := next(self._batches, None)) is not None:
            self._waiting.append(self._pool.submit(self._read, batch))
