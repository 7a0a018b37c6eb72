"""Files that are written whole or not at all, whatever ends the program in between."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

MOST_TRIES = 20

LEFT_BEHIND = 3600.0
"""Seconds after which an unfinished file from another machine that shares the folder counts as left behind: it is not
visible from here whether its process still runs."""

SAME_START = 2.0
"""Seconds by which a process's start time may vary between readings."""

_ASIDE = re.compile(
    r"\.(?P<name>.+)\.(?P<process>\d+)-(?P<start>\d+)-(?P<machine>[0-9a-f]{8})\.(?P<kind>new|old)", re.DOTALL
)

LONGEST_NAME = 200
"""Bytes of a name that leaves room for a suffix: file systems allow 255."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM_WORDS = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 112", "not enough space")
"""The wording of libraries that do not raise OSError: those in Rust give the system's error number."""

NEXT_TO_NOTHING = 2**20
"""Free bytes below which a failed write is blamed on a full disk, whatever its error says."""


class DiskFull(OSError):
    """There is no room for a file: a sentence with its name, what it needs, and what is free."""

    def __init__(self, path: Path, needs: int, free: int) -> None:
        why = f"needs about {amount(needs)}, but only {amount(free)} is free" if needs else "cannot be written"
        if free > max(needs, NEXT_TO_NOTHING):  # a quota, or the disk's limit on the number of files
            why = f"cannot be written although {amount(free)} seems to be free: you may have reached a quota"
        words = f'The disk is full: "{path.name}" in "{path.parent}" {why}.'
        super().__init__(errno.ENOSPC, words, str(path))
        self.words = words

    def __str__(self) -> str:
        return self.words


def amount(count: int) -> str:
    """Bytes as people write them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{max(0, count) / 1e3:.0f} KB"


def is_for_want_of_room(error: BaseException | None) -> bool:
    """Whether the disk was full, according to the error or one of its causes."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if any(words in str(error) for words in _NO_ROOM_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def aside(path: Path, kind: str = "new") -> Path:
    """Where a file or folder is made before it is moved into place: hidden, and named after the process that makes it.

    "old" is where it is kept while another takes its place, under its full name, from which it can be restored.
    """
    name = path.name
    if kind == "new" and len(os.fsencode(name)) > LONGEST_NAME:
        name = f"{zlib.crc32(os.fsencode(name)):08x}"
    return path.with_name(f".{name}.{_this_process()}.{kind}")


def _this_process() -> str:
    """Number, start time and machine: numbers are reused, and other machines have the same ones."""
    return f"{os.getpid()}-{_start_of(os.getpid())}-{_this_machine()}"


@cache
def _start_of(process: int) -> int:
    """In seconds since 1970; read once per process, because a fork inherits this module's memory."""
    return round(psutil.Process(process).create_time())


@cache
def _this_machine() -> str:
    """Its name and, as containers may share one, also Linux's id of the process namespace."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return f"{zlib.crc32(f'{platform.node()} {numbers}'.encode()):08x}"


@contextmanager
def written_whole(path: Path, waits: bool = True, needs: int = 0, within: bool = False) -> Iterator[Path]:
    """Yields a path to write to, which then replaces `path`: even after a power cut there is the old file or the new.

    If the block raises, the old file stays.  waits: until the file has been flushed to disk; otherwise a power cut, but
    nothing else, may garble it.  needs: bytes, if known.  within: for writers that create further files next to theirs,
    which are then put in a hidden folder.  Raises DiskFull, and what writing raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = aside(path)
    new = hidden / f"new{path.suffix}" if within else hidden  # short, because of Windows' limit on path lengths
    try:
        with _room_for(path, needs):
            if within:
                hidden.mkdir(exist_ok=True)
            yield new
            if waits:
                to_disk(new)
            moved(new, path)
            if waits:
                to_disk(path.parent)
    finally:
        _deleted(hidden)


@contextmanager
def folder_written_whole(folder: Path, needs: int = 0) -> Iterator[Path]:
    """Yields an empty folder to write into, which then replaces `folder` and everything in it.

    A folder cannot be replaced in one move. If a kill strikes between the two, moved_aside() finds the old one, and
    remove_leftovers() restores it.  If the block raises, the old folder stays.
    needs: bytes, if known.  Raises DiskFull, and what writing raises.
    """
    new, old = aside(folder), aside(folder, "old")
    _deleted(new)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _room_for(folder, needs):
            new.mkdir()
            yield new
            for entry in sorted(new.rglob("*"), reverse=True):
                to_disk(entry)
            if folder.exists():
                moved(folder, old)
            try:
                moved(new, folder)
            except OSError:
                if old.exists():
                    moved(old, folder)
                raise
            to_disk(folder.parent)
        _deleted(old)
    finally:
        _deleted(new)


def moved_aside(folder: Path) -> Path | None:
    """Where a folder is that was being replaced when a kill struck between the two moves."""
    if folder.exists() or not folder.parent.is_dir():
        return None
    named = ((entry, _ASIDE.fullmatch(entry.name)) for entry in folder.parent.iterdir())
    return next((entry for entry, is_ in named if is_ and (is_["name"], is_["kind"]) == (folder.name, "old")), None)


@contextmanager
def _room_for(path: Path, needs: int) -> Iterator[None]:
    """Refuse to start without enough room, and turn libraries' errors about a full disk into one."""
    free = _free(path.parent)
    if free is not None and free < needs:
        raise DiskFull(path, needs, free)
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        left = _free(path.parent)
        if is_for_want_of_room(error) or (left is not None and left < NEXT_TO_NOTHING):
            raise DiskFull(path, needs, free or 0) from error
        raise


def _free(folder: Path) -> int | None:
    """Free bytes; None if the file system does not say, as with some network ones."""
    try:
        total, _, free = shutil.disk_usage(folder)
    except OSError:
        return None
    return free if total else None


def removed(path: Path) -> None:
    """Delete a file or a folder, if it is there.  A kill leaves it whole, or hidden for remove_leftovers()."""
    if path.is_dir() and not path.is_symlink():
        hidden = aside(path)
        _deleted(hidden)
        moved(path, hidden)
        path = hidden
    _deleted(path)


def _deleted(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def moved(source: Path, target: Path) -> None:
    """Rename; on Windows retry for a while if another program, such as a virus scanner, has the file open."""
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
    """Why a file could not be written or read, in a few words to end a sentence."""
    if isinstance(error, UnicodeEncodeError):
        return "a field contains an incomplete character"
    if isinstance(error, DiskFull):
        return error.words.replace("The", "the", 1).rstrip(".")
    return getattr(error, "strerror", None) or str(error)


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, has been flushed to disk.

    Folders cannot be flushed on Windows, where renaming is safe without it.
    """
    if path.is_dir():
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Network and container file systems may refuse this for a folder; they have their own guarantees.
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes had started to write in a folder; restore a folder that they were replacing."""
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        named = _ASIDE.fullmatch(entry.name)
        if not named:
            continue
        with suppress(OSError):  # another user's, or gone meanwhile
            if _is_at_work(named, entry):
                continue
            if named["kind"] == "old" and not (folder / named["name"]).exists():
                moved(entry, folder / named["name"])
            else:
                _deleted(entry)


def _is_at_work(named: re.Match[str], entry: Path) -> bool:
    """Whether the process that started an entry may still be writing it."""
    if named["machine"] != _this_machine():
        return _age(entry) < LEFT_BEHIND
    try:
        process = psutil.Process(int(named["process"]))
        started = process.create_time() if process.status() != psutil.STATUS_ZOMBIE else 0.0
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.Error:
        return True
    return abs(started - int(named["start"])) <= SAME_START


def _age(entry: Path) -> float:
    """Seconds since a file or folder was written or, if the system records that, moved here."""
    found = entry.lstat()
    return time.time() - max(found.st_mtime, found.st_ctime if os.name != "nt" else 0.0)
