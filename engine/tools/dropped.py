"""Pictures that came through the browser, which tells no path: put into a folder of their own.  Needs no torch."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from engine.data.folders import FOLDER_NAME, PICTURE_ENDINGS, is_hidden
from engine.data.scores import ENDING as SCORES
from engine.disk import folder_written_whole, remove_leftovers, why_not
from engine.failure import Failure
from engine.runs.folder import runs_root
from engine.runs.report import shown_name
from engine.tools.folder_work import counted

CAPTION_ENDINGS = (".txt", ".caption")
TAKEN = (*PICTURE_ENDINGS, *CAPTION_ENDINGS, SCORES)

MOST_NAMED = 5
"""Files that a sentence names; it counts the others."""

LONGEST_NAME = 200
"""Bytes. Linux takes 255, where Windows takes 255 characters, of up to three bytes each."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE | re.DOTALL)
"""What Windows takes in no name, and the names of its devices: "Naming Files, Paths, and Namespaces" (Microsoft)."""

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Dropped:
    """Where what was dropped is now.

    others: names of files that are neither pictures nor captions.  clashing: of those whose place was taken by another.
    """

    folder: Path
    pictures: int
    captions: int
    others: tuple[str, ...] = ()
    clashing: tuple[str, ...] = ()

    def report(self) -> tuple[str, list[str]]:
        """A sentence, and more where something was left out."""
        captions = f" and {counted(self.captions, 'caption')}" if self.captions else ""
        verb = "is" if self.pictures + self.captions == 1 else "are"
        head = f"{counted(self.pictures, 'picture')}{captions} {verb} now in {shown_name(self.folder)}."
        more = []
        if self.others:
            more.append(
                f"Left out, because they are neither pictures nor captions (.txt, .caption): {_named(self.others)}."
            )
        if self.clashing:
            more.append(f"Left out, because another file has the same name: {_named(self.clashing)}.")
        return head, more


def pictures_root() -> Path:
    """Beside the runs."""
    return runs_root().with_name("pictures")


def keep_dropped(files: Sequence[tuple[str, Path | None]], root: Path | None = None) -> Dropped:
    """Copy pictures and captions with their sub-folders into a new folder of the root, whole or not at all.

    files: the name that the browser tells, its folders before it with "/" between, and where the file was uploaded to;
    None for what was not uploaded.  root: pictures_root() without one.

    The new folder has the name of the one that was dropped. One named REPEATS_WORDS is a concept, which stays a
    sub-folder and gives its words.  Hidden files are passed over.  Raises Failure.
    """
    places, others, clashing = _placed(files)
    pictures = sum(parts[-1].lower().endswith(PICTURE_ENDINGS) for parts in places)
    if not pictures:
        among = f"the {len(files)} files that were" if len(files) > 1 else "what was"
        raise Failure(f"Found no pictures ({', '.join(PICTURE_ENDINGS)}) among {among} dropped.",
                      "Drop a folder of pictures.")  # fmt: skip
    root = root or pictures_root()
    name, below = _name_of(list(places))
    try:
        with _new_folder(root, name) as folder, folder_written_whole(folder) as new:
            for parts, uploaded in places.items():
                target = new.joinpath(*parts[below:])
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(uploaded, target)
    except OSError as error:
        raise Failure(f"The pictures cannot be saved to {shown_name(root)}: {why_not(error)}.",
                      "Free up some space or allow writing there, then drop them again.") from error  # fmt: skip
    captions = sum(parts[-1].lower().endswith(CAPTION_ENDINGS) for parts in places)
    return Dropped(folder, pictures, captions, tuple(others), tuple(clashing))


def _placed(files: Sequence[tuple[str, Path | None]]) -> tuple[dict[Parts, Path], list[str], list[str]]:
    """Where each file goes; the names of others, and of those whose place is taken.

    Names that differ in nothing but case or in how accents are written are the same on some systems.
    """
    places: dict[Parts, Path] = {}
    taken: set[str] = set()
    others, clashing = [], []
    for name, uploaded in files:
        parts = _parts(name)
        if not parts:
            continue
        if uploaded is None or not parts[-1].lower().endswith(TAKEN):
            others.append(name)
            continue
        key = unicodedata.normalize("NFC", "/".join(parts)).casefold()
        if key in taken:
            clashing.append(name)
            continue
        taken.add(key)
        places[parts] = uploaded
    return places, others, clashing


def _parts(name: str) -> Parts:
    """Folders and file of a name; nothing where one of them is hidden, has no name, or leads elsewhere ("..")."""
    parts = [usable(part) for part in name.split("/")]
    return () if any(not part or is_hidden(part) for part in parts) else tuple(parts)


def usable(name: str) -> str:
    """A file's or folder's name, as near to this one as all systems take it, and no path; may be empty."""
    name = _FORBIDDEN.sub("_", name.encode("utf-8", "replace").decode()).rstrip(". ")
    name = f"_{name}" if _DEVICES.fullmatch(name) else name
    ending = next((ending for ending in TAKEN if name.lower().endswith(ending)), "")
    stem = name[: len(name) - len(ending)].encode()[: LONGEST_NAME - len(ending)].decode("utf-8", "ignore")
    return f"{stem}{name[len(name) - len(ending) :]}".rstrip(". ")


def _name_of(places: Sequence[Parts]) -> tuple[str, int]:
    """The new folder's name, and how many folders of each place it stands for."""
    tops = {parts[0] if len(parts) > 1 else "" for parts in places}
    top = tops.pop()
    if tops or not top:
        return "dropped", 0
    concept = FOLDER_NAME.fullmatch(top)
    return (usable(concept[2].strip(". ")) or "dropped", 0) if concept else (top, 1)


@contextmanager
def _new_folder(root: Path, name: str) -> Iterator[Path]:
    """An empty folder that was not there before: NAME, NAME-2 …; gone again where the block raises."""
    root.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root)
    for number in count(1):
        folder = root / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            break
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(shown_name(Path(name.encode("utf-8", "replace").decode())) for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
