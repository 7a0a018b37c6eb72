"""The pictures of a folder: choosing it, listing them, and decoding them ahead of whoever looks at them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from engine.data.folders import PICTURE_ENDINGS, is_hidden
from engine.data.opening import TooManyPixels, opened
from engine.disk import why_not
from engine.failure import Failure
from engine.settings.option import Group, option

READERS = 4
"""Threads that decode; pillow lets go of Python's lock while it does."""

T = TypeVar("T")


class PictureFolder(Group):
    train_data_dir: str = option(
        "",
        label="Image folder to caption",
        section="Pictures",
        widget="folder",
        must_be="folder",
        help="The folder with the pictures. Captions are written next to them.",
    )
    recursive: bool = option(
        False,
        label="Recursive",
        section="Pictures",
        help="Include pictures in all sub-folders.",
    )

    def failures(self) -> Iterator[Failure]:
        """What stands against beginning: a folder without a picture."""
        folder = Path(self.train_data_dir)
        try:
            if any(_listed(folder, self.recursive)):
                return
            within = not self.recursive and any(_listed(folder, recursive=True))
        except OSError as error:
            yield Failure(f"{folder} cannot be read: {why_not(error)}.", "Choose another folder.", "train_data_dir")
            return
        mend = "Its sub-folders contain some: turn on Recursive." if within else "Choose another folder."
        yield Failure(f"There are no pictures in {folder}.", mend, "recursive" if within else "train_data_dir")


def pictures_of(settings: PictureFolder, left_out: Callable[[Path, str], None]) -> list[Path]:
    """The pictures in the order of names; folders that cannot be read are told to `left_out`."""
    folder = Path(settings.train_data_dir)
    return sorted(_listed(folder, settings.recursive, left_out))


def upright(file: Path) -> Image.Image:
    """A picture as people see it, in RGB: turned by its EXIF, and on white where it is transparent.

    Raises what pillow raises; unreadable() has words for it.
    """
    with opened(file) as image:
        return on_white(ImageOps.exif_transpose(image))


def on_white(image: Image.Image) -> Image.Image:
    """In RGB, with white where it is transparent."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def unreadable(error: Exception) -> str:
    """Why a picture cannot be decoded, in words that follow its name."""
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture that can be read"
    if isinstance(error, TooManyPixels):
        return "is too large: it has more than 178 million pixels"
    if isinstance(error, MemoryError):
        return "is too large to fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be opened: {error.strerror}"
    return f"cannot be decoded: {error}"


def decoded_ahead(files: Sequence[Path], decode: Callable[[Path], T], ahead: int) -> Iterator[tuple[Path, T | str]]:
    """Each file with what `decode` made of it, or why it could not, in order.

    At most `ahead` files are decoded before they are asked for, so that memory stays bounded.
    """
    waiting: deque[tuple[Path, Future[T | str]]] = deque()

    def attempt(file: Path) -> T | str:
        try:
            return decode(file)
        except Exception as error:  # pillow's decoders raise many kinds
            return unreadable(error)

    with ThreadPoolExecutor(READERS, thread_name_prefix="decode") as pool:
        try:
            for file in files:
                waiting.append((file, pool.submit(attempt, file)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _listed(
    folder: Path, recursive: bool, left_out: Callable[[Path, str], None] = lambda folder, why: None
) -> Iterator[Path]:
    """Hidden files and folders are none of the user's pictures, as kohya_ss has it."""

    def unlisted(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        left_out(Path(error.filename), f"cannot be read: {why_not(error)}")

    for parent, folders, names in os.walk(folder, onerror=unlisted):
        folders[:] = sorted(name for name in folders if not is_hidden(name)) if recursive else []
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_ENDINGS:
                yield Path(parent, name)
