"""Captions that were changed but not saved: what each shall say, the way back, saving, and taking a Save back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from engine.disk import moved, why_not, write_text_whole, written_whole
from engine.tools.caption_files import keep, read_caption

T = TypeVar("T")

MOST_STEPS = 100
"""Changes that can be undone."""

AT_A_TIME = 32
"""Captions that are written."""


@dataclass(frozen=True)
class Drafts:
    """texts: caption file → what it shall say, where that differs from what it says.  earlier: the same before each
    change, the newest last.
    """

    texts: Mapping[Path, str] = field(default_factory=dict)
    earlier: tuple[Mapping[Path, str], ...] = ()

    def changed(self, texts: Mapping[Path, str], on_disk: Mapping[Path, str]) -> Drafts:
        """With these captions changed, as one step.  on_disk: what their files say."""
        after = {**self.texts, **texts}
        after = {file: text for file, text in after.items() if file not in texts or text != on_disk.get(file, "")}
        return self if after == self.texts else Drafts(after, (*self.earlier, self.texts)[-MOST_STEPS:])

    def undone(self) -> Drafts:
        """Without the last change."""
        return Drafts(self.earlier[-1], self.earlier[:-1]) if self.earlier else self


@dataclass(frozen=True)
class Replaced:
    """text: what a caption file says since.  backup: what it said before, None where there was none; is_new: made then.

    Where nothing but blanks changed there is no backup, and `is_same`.
    """

    text: str
    backup: Path | None = None
    is_new: bool = False
    is_same: bool = False


@dataclass(frozen=True)
class Saved:
    """replaced: what was written, by caption file.  left: why it was not."""

    replaced: Mapping[Path, Replaced]
    left: Mapping[Path, str]

    @property
    def written(self) -> int:
        return len(self.replaced)

    @property
    def backups(self) -> int:
        """How many old captions were kept."""
        return sum(one.backup is not None for one in self.replaced.values())

    def report(self) -> tuple[str, list[str]]:
        """A sentence, and one for each caption that could not be written."""
        kept = f" The old text of {self.backups} is kept next to them as .bak." if self.backups else ""
        one = "caption" if self.written == 1 else "captions"
        return f"Saved {self.written} {one}.{kept}", told_of(self.left)


def told_of(left: Mapping[Path, str]) -> list[str]:
    """A sentence for each file that was left alone."""
    return [f"{file.parent.name}/{file.name} {why}." for file, why in left.items()]


def save(texts: Mapping[Path, str]) -> Saved:
    """Write captions, each whole; another text that stands there is kept as .bak, .bak2 … first."""
    replaced: dict[Path, Replaced] = {}
    left: dict[Path, str] = {}
    for file, outcome in _each(texts, lambda file: _write(file, texts[file])):
        if isinstance(outcome, Replaced):
            replaced[file] = outcome
        else:
            left[file] = outcome
    return Saved(replaced, left)


def take_back(saved: Saved) -> dict[Path, str]:
    """Put every caption back that a Save replaced, and remove those that it made; those left alone, and why.

    A caption that says something else by now is not touched.
    """
    changed = [file for file, one in saved.replaced.items() if not one.is_same]
    return {file: why for file, why in _each(changed, lambda file: _put_back(file, saved.replaced[file])) if why}


def _each(files: Iterable[Path], work: Callable[[Path], T]) -> Iterator[tuple[Path, T]]:
    """Work on many files at a time: the disk, which is waited for with each, takes a few dozen as fast as one."""
    every = list(files)
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="captions") as pool:
        yield from zip(every, pool.map(work, every), strict=True)


def _write(file: Path, text: str) -> Replaced | str:
    """What was replaced, or why it was not."""
    try:
        text = text.strip()
        text.encode()
        if not file.parent.is_dir():
            return "was not saved: its folder is gone"
        there = _old(file)
        is_same = there == text
        backup, is_new = keep(file) if there is not None and not is_same else (None, False)
        write_text_whole(file, text + "\n")
        return Replaced(text, backup, is_new, is_same)
    except UnicodeEncodeError:
        return "was not saved: its caption contains a broken character"
    except OSError as error:
        return f"cannot be written: {why_not(error)}"


def _put_back(file: Path, one: Replaced) -> str:
    """Why it was not; "" where it was."""
    try:
        if _old(file) != one.text:
            return "has been changed since, and is left as it is"
        if one.backup is None:
            file.unlink()
        elif one.is_new:
            moved(one.backup, file)
        else:
            with written_whole(file) as new:
                shutil.copyfile(one.backup, new)
    except OSError as error:
        return f"cannot be restored: {why_not(error)}"
    return ""


def _old(file: Path) -> str | None:
    """What stands there; None for nothing, and something that no caption says where it is no text."""
    try:
        return read_caption(file)
    except ValueError:
        return "\0"
