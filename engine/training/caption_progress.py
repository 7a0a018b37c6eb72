"""Progress of encoding captions: reported as it runs, and ended if the user asks to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.failure import Stopped
from engine.runs.report import Report
from engine.training.hardware import of_first_process

CAPTIONS_AT_A_TIME = 16


class CaptionProgress:
    """report: where progress goes, if anywhere.  stop: whether the user asks to stop."""

    def __init__(self, report: Report | None = None, stop: Callable[[], bool] = lambda: False) -> None:
        self._report, self._stop = report, stop

    def portions(self, captions: Sequence[str]) -> Iterator[Sequence[str]]:
        """The captions in portions, until the user asks to stop; call check() afterwards in all processes."""
        for begin in range(0, len(captions), CAPTIONS_AT_A_TIME):
            if self._stop():
                return
            self._tell(begin, len(captions))
            yield captions[begin : begin + CAPTIONS_AT_A_TIME]
        if captions:
            self._tell(len(captions), len(captions))

    def check(self) -> None:
        """Raises Stopped if the user asks to stop, in all processes or none.

        Each checks between portions, and may see the request a little sooner than the others.
        """
        if of_first_process(self._stop()):
            raise Stopped

    def _tell(self, done: int, total: int) -> None:
        if self._report:
            self._report.stage("captions", done, total)
