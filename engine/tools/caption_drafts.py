"""Captions that were changed but not saved: what each shall say, the way back, and saving with backups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.disk import why_not, write_text_whole
from engine.tools.caption_files import keep, read_caption

MOST_STEPS = 100
"""Changes that can be undone."""


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
class Saved:
    """written: how many.  backups: of those, how many old captions were kept.  left: why, by caption file."""

    written: int
    backups: int
    left: Mapping[Path, str]

    def report(self) -> tuple[str, list[str]]:
        """A sentence, and one for each caption that could not be written."""
        kept = f" The old text of {self.backups} is kept beside them as .bak." if self.backups else ""
        one = "caption" if self.written == 1 else "captions"
        failed = [f"{file.parent.name}/{file.name} {why}." for file, why in self.left.items()]
        return f"Saved {self.written} {one}.{kept}", failed


def save(texts: Mapping[Path, str]) -> Saved:
    """Write captions, each whole; another text that stands there is kept as .bak, .bak2 … first."""
    written, backups, left = 0, 0, {}
    for file, text in texts.items():
        try:
            content = text.strip() + "\n"
            content.encode()
            there = _old(file)
            if there is not None and there != text.strip():
                keep(file)
                backups += 1
            write_text_whole(file, content)
            written += 1
        except UnicodeEncodeError:
            left[file] = "is not written: its caption holds half a character"
        except OSError as error:
            left[file] = f"cannot be written: {why_not(error)}"
    return Saved(written, backups, left)


def _old(file: Path) -> str | None:
    """What stands there; None for nothing, and something that no caption says where it is no text."""
    try:
        return read_caption(file)
    except ValueError:
        return "\0"
