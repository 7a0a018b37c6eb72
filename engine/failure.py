"""Why a run ends early: an error that the user can fix, or their own request."""

from __future__ import annotations


class Failure(Exception):
    """A run cannot continue.  what: the sentence.  mend: the next move.  option: the field it is about."""

    def __init__(self, what: str, mend: str = "", option: str = "") -> None:
        super().__init__(what)
        self.what, self.mend, self.option = what, mend, option


class Stopped(Exception):
    """The user asked to stop before there was anything to save."""
