"""Why a run ends early: an error that is the user's to mend, or their own wish."""

from __future__ import annotations


class Failure(Exception):
    """A run cannot go on.  what: the sentence.  mend: the next move.  option: the field it is about."""

    def __init__(self, what: str, mend: str = "", option: str = "") -> None:
        super().__init__(what)
        self.what, self.mend, self.option = what, mend, option


class Stopped(Exception):
    """The user asked to stop before there was anything to save."""
