"""Caption files: written whole, with the old one kept, and a note of each in the run's folder.

The note is what lets a run that was killed at any moment go on exactly: it is written before the caption, with
what the caption will be, so that only the last note can be of a caption that is not there yet.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from engine.data.captions import LONGEST_CAPTION, caption_text
from engine.data.folders import PICTURE_ENDINGS
from engine.disk import aside, moved, to_disk, written_whole
from engine.failure import Failure
from engine.reading import small_bytes
from engine.runs.folder import RunFolder
from engine.settings.option import Group, option

BACKUP = ".bak"
"""Behind the whole name of a caption file: cat.txt.bak, then cat.txt.bak2 and so on, so that none is lost."""


LARGEST_KEPT = 2**29
"""Bytes of what is kept: metadata files are no larger."""


class CaptionFiles(Group):
    caption_extension: str = option(
        ".txt",
        label="Caption file extension",
        section="Captions",
        help="Extension of the caption files, which are named after the pictures. Training reads .txt by default.",
        suggestions=(".txt", ".caption", ".cap"),
        kohya="caption_ext",
        also=("caption_file_ext",),
        must_be="given",
    )

    def failures(self) -> Iterator[Failure]:
        """What would make another file than a caption of what is written."""
        ending = self.caption_extension
        if not ending.startswith(".") or ending.strip(". ") == "" or any(sign in ending for sign in "/\\\0\n\r"):
            yield Failure(
                f"Caption file extension is {ending!r}, which is not a file extension.",
                "Enter one such as .txt.",
                "caption_extension",
            )
        elif ending.lower().endswith(TAKEN):
            yield Failure(
                f"Caption file extension is {ending}, so the captions would replace the pictures.",
                "Enter another one, such as .txt.",
                "caption_extension",
            )

    def file_of(self, picture: Path) -> Path:
        """Where a picture's caption stands."""
        return picture.with_name(picture.stem + self.caption_extension)


TAKEN = (*PICTURE_ENDINGS, ".npz", ".safetensors", ".ckpt", ".json", ".toml")


def read_caption(file: Path) -> str | None:
    """All of a caption file without the blanks around it; None where there is none.

    Raises OSError, and ValueError with a sentence where it is not UTF-8 text.
    """
    try:
        return caption_text(file).strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ValueError("its caption is not UTF-8 text; save it as UTF-8") from None


class CaptionWriter:
    """Writes captions for one run, and knows which it has written before."""

    def __init__(self, run: RunFolder) -> None:
        self._notes = run.done_file
        self._said = _done_before(self._notes)

    def has_done(self, file: Path) -> bool:
        """Whether the run has written this caption, now or before it was ended, and it is still there."""
        return str(file) in self._said and file.exists()

    def said(self) -> list[str]:
        """What was said of each picture whose caption the run has written, whatever was put around it."""
        return [said for file, said in self._said.items() if Path(file).exists()]

    def write(self, file: Path, caption: str, said: str = "") -> None:
        """Put a caption in place; another one that stood there is kept under a name of its own.

        said: what the caption was made of, to be told again by said().
        Raises OSError where that is not possible; the old caption then stands as it was.
        """
        content = (caption + "\n").encode()
        self._note(file, _digest(content), said)
        try:
            if file.exists() and small_bytes(file, LONGEST_CAPTION) != content:
                keep(file)
            with written_whole(file) as new:
                new.write_bytes(content)
        except OSError:
            self._note(file, "")
            raise
        self._said[str(file)] = said

    def _note(self, file: Path, digest: str, said: str = "") -> None:
        """digest: of what the caption is about to be; empty takes the note back."""
        with self._notes.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"file": str(file), "is": digest, "said": said}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def keep(file: Path) -> tuple[Path, bool]:
    """Copy a file to the first backup name that is free, unless the newest backup is the same.

    Returns the backup, and whether it is a new one.  Raises OSError.
    """
    content = small_bytes(file, LARGEST_KEPT)
    number, newest = 1, None
    while (backup := file.with_name(file.name + BACKUP + (str(number) if number > 1 else ""))).exists():
        number, newest = number + 1, backup
    if newest is not None and small_bytes(newest, LARGEST_KEPT) == content:
        return newest, False
    new = aside(backup)
    try:
        new.write_bytes(content)
        to_disk(new)
        moved(new, backup)
    finally:
        new.unlink(missing_ok=True)
    return backup, True


def _done_before(notes: Path) -> dict[str, str]:
    """What the notes tell of: what was said by caption file.  A whole last one counts only where the caption is what it
    says.
    """
    try:
        *lines, rest = notes.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    if rest:  # half a note: its caption was not touched yet, and the next one begins on a line of its own
        with notes.open("ab") as stream:
            stream.write(b"\n")
    noted = [note for line in lines if (note := _read_note(line))]
    done = {file: said for file, (digest, said) in {note[0]: note[1:] for note in noted}.items() if digest}
    if noted and not rest and not _is(*noted[-1][:2]):
        done.pop(noted[-1][0], None)
    return done


def _is(file: str, digest: str) -> bool:
    try:
        return _digest(small_bytes(Path(file), LONGEST_CAPTION)) == digest
    except OSError:
        return False


def _read_note(line: bytes) -> tuple[str, str, str] | None:
    """The caption file, the digest of its caption, and what was said."""
    try:
        note = json.loads(line)
        return str(note["file"]), str(note["is"]), str(note.get("said", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
