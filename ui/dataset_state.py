"""The Dataset page's state: a survey, the known looks, what was found, and unsaved captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.data.caption_edits import Edit
from engine.data.looks import Look, is_there, looks_of
from engine.data.sifting import Sieve, sifted, text_of
from engine.data.survey import Seen, Survey, survey
from engine.settings.training import TrainingSettings
from engine.tools.caption_drafts import Drafts, Saved, save, take_back

Updates = dict[Any, Any]
"""New values of components; those not in it stay as they are."""

PAGE = 60
"""Pictures shown at a time; no others are opened."""

MOST_SAVES = 20
"""Saves that can be undone."""


@dataclass(frozen=True)
class Hand:
    """source: the settings and the folder of the survey; a folder of "" means the one in the settings.

    found: indices of the pictures that pass the sieve.  looks: of the pictures looked at so far.
    saves: what was saved, newest last, each with the drafts before it.
    """

    source: tuple[TrainingSettings, str] = field(default_factory=lambda: (TrainingSettings(), ""))
    survey: Survey = field(default_factory=lambda: Survey((), (), (), None))
    looks: dict[Path, Look] = field(default_factory=dict)
    found: tuple[int, ...] = ()
    sieve: Sieve = field(default_factory=Sieve)
    drafts: Drafts = field(default_factory=Drafts)
    saves: tuple[tuple[Drafts, Saved], ...] = ()

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.found) // PAGE))

    def page(self, number: int) -> list[int]:
        """The indices of a page, counted from 1."""
        number = self.nearest(number)
        return list(self.found[(number - 1) * PAGE : number * PAGE])

    def nearest(self, number: int) -> int:
        """The nearest existing page."""
        return min(max(number, 1), self.pages)

    def page_of(self, index: int) -> int:
        """The page that shows a picture; 1 if it was not found."""
        return self.found.index(index) // PAGE + 1 if index in self.found else 1

    def beside(self, index: int, way: int) -> int:
        """The picture that many places on among those found; the last or first if there are no more."""
        if not self.found:
            return index
        place = self.found.index(index) if index in self.found else -1
        return self.found[min(max(place + way, 0), len(self.found) - 1)]

    def next_without_caption(self, index: int) -> int:
        """Wrapping around; the same one if all that were found have a caption."""
        place = self.found.index(index) if index in self.found else -1
        around = (*self.found[place + 1 :], *self.found[: place + 1])
        return next((i for i in around if not text_of(self.survey.seen[i], self.drafts.texts).strip()), index)

    def sifted(self, sieve: Sieve) -> Hand:
        return replace(self, sieve=sieve, found=tuple(sifted(self.survey, sieve, self.drafts.texts, self.looks)))

    def missing(self, indices: list[int] | None = None) -> list[Path]:
        """The pictures not looked at yet, or whose thumbnail has been deleted, of these or of all."""
        chosen = range(len(self.survey.seen)) if indices is None else indices
        pictures = dict.fromkeys(self.survey.seen[index].picture for index in chosen)
        return [picture for picture in pictures if not is_there(self.looks.get(picture))]

    def look_at(self, pictures: list[Path]) -> Iterator[int]:
        """Look at pictures, and yield how many are done after each."""
        for number, (picture, look) in enumerate(looks_of(pictures), start=1):
            self.looks[picture] = look
            yield number

    def on_disk(self) -> Mapping[Path, str]:
        """The text of the caption files that could be read."""
        return {one.file: one.text for one in self.survey.seen if one.file and one.text is not None}

    def changes(self, edit: Edit) -> list[tuple[Seen, str, str]]:
        """The effect of an edit on the pictures found: (picture, before, after), each caption file once.

        A caption in a metadata file, or one that cannot be read, is left alone.
        """
        changes: dict[Path, tuple[Seen, str, str]] = {}
        for index in self.found:
            one = self.survey.seen[index]
            if one.file is None or (one.problem and one.file not in self.drafts.texts):
                continue
            before = text_of(one, self.drafts.texts)
            after = edit(before)
            if after != before:
                changes[one.file] = (one, before, after)
        return list(changes.values())

    def with_captions(self, texts: Mapping[Path, str]) -> Hand:
        """With changed captions, not saved yet."""
        return replace(self, drafts=self.drafts.changed(texts, self.on_disk()))

    def surveyed(self, settings: TrainingSettings, folder: str = "") -> Hand:
        """With another survey; unsaved captions stay, and so does what was found if the pictures are the same.

        Raises what survey() raises.
        """
        fresh = survey(settings, folder)
        is_same = [one.picture for one in fresh.seen] == [one.picture for one in self.survey.seen]
        found = self.found if is_same else tuple(range(len(fresh.seen)))
        after = replace(self, source=(settings, folder), survey=fresh, looks={}, found=found)
        on_disk = after.on_disk()
        texts = {file: text for file, text in self.drafts.texts.items() if on_disk.get(file) != text}
        return replace(after, drafts=replace(self.drafts, texts=texts))

    def saved(self) -> tuple[Hand, Saved]:
        """With its captions saved, and the folders read again; those that could not be written stay drafts."""
        outcome = save(self.drafts.texts)
        left = {file: text for file, text in self.drafts.texts.items() if file in outcome.left}
        saves = (*self.saves, (self.drafts, outcome))[-MOST_SAVES:]
        after = replace(self, drafts=Drafts(left), saves=saves).surveyed(*self.source)
        return replace(after, looks=self.looks), outcome  # the pictures are the same

    def unsaved(self) -> tuple[Hand, int, dict[Path, str]]:
        """Without the last Save: its captions are drafts again.  Also how many were restored; why others were not."""
        drafts, saved = self.saves[-1]
        left = take_back(saved)
        after = replace(self, drafts=drafts, saves=self.saves[:-1]).surveyed(*self.source)
        return replace(after, looks=self.looks), saved.written - len(left), left
