"""Files that are there whole or not at all, whatever ends the program in between."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

MOST_TRIES = 20

LEFT_BEHIND = 3600.0
"""Seconds after which what another process began to write counts as left behind: it may run on another machine, which
shares the folder and has process numbers of its own."""

_ASIDE = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(?P<kind>new|old)")


def aside(path: Path) -> Path:
    """Where a file or folder is made before it takes its place: hidden, and named after the process that makes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


@contextmanager
def written_whole(path: Path, waits: bool = True) -> Iterator[Path]:
    """Yields a path to write to, which then replaces `path`: readers, and a power cut, find the old file or the new.

    Where the block raises, the old file stays.  waits: until the file is on the disk itself; without that a power cut
    may garble it, though nothing else will.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = aside(path)
    try:
        yield new
        if waits:
            to_disk(new)
        moved(new, path)
        if waits:
            to_disk(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path, old: Path | None = None) -> Iterator[Path]:
    """Yields an empty folder to write into, which then replaces `folder` with all that is in it.

    A folder cannot be replaced in one move. old: where the one before lies for the moment between two; where a kill
    strikes just then, remove_leftovers() puts it back, unless it lies where the caller says.
    Where the block raises, the old folder stays.
    """
    new, old = aside(folder), old or folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for entry in sorted(new.rglob("*"), reverse=True):
            to_disk(entry)
        # Where a save was killed between the moves, the old one is all there is, and stays until the new one stands.
        if folder.exists():
            removed(old)
            moved(folder, old)
        moved(new, folder)
        to_disk(folder.parent)
        removed(old)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def removed(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def moved(source: Path, target: Path) -> None:
    """Rename; on Windows again for a while where another program, such as a virus scanner, has the file open."""
    for _ in range(MOST_TRIES - 1):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(0.1)
    os.replace(source, target)


def write_text_whole(path: Path, text: str) -> None:
    with written_whole(path) as new:
        new.write_text(text, encoding="utf-8")


def why_not(error: OSError | ValueError) -> str:
    """Why a file could not be written or read, in a few words that end a sentence."""
    if isinstance(error, UnicodeEncodeError):
        return "a field holds half a character"
    return getattr(error, "strerror", None) or str(error)


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk itself.

    A folder cannot be waited for on Windows, where renaming is safe without it.
    """
    if path.is_dir():
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Network and container file systems may refuse this of a folder; they keep their own promises.
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes had begun to write in a folder; a folder that they were replacing comes back."""
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        named = _ASIDE.fullmatch(entry.name)
        if not named or psutil.pid_exists(int(named["process"])):
            continue
        if named["kind"] == "old" and not (folder / named["name"]).exists():
            moved(entry, folder / named["name"])
        elif time.time() - entry.stat().st_mtime > LEFT_BEHIND:
            removed(entry)
