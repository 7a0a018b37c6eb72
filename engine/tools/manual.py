"""Captions written by hand: one picture after the other, each saved as it is left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from engine.data.opening import opened
from engine.disk import why_not, write_text_whole
from engine.settings.paths import usable_path
from engine.tools.caption_files import CaptionFiles, keep, read_caption
from engine.tools.pictures import PictureFolder, pictures_of, unreadable, upright

LARGEST = 1024
"""Pixels of the longer side of a picture as it is shown."""


@dataclass(frozen=True)
class Page:
    """One picture and the caption that it had when it was shown; problem: why either cannot be read, in words."""

    picture: Path
    caption: str
    problem: str = ""

    def image(self) -> Image.Image | None:
        """The picture, no larger than it is shown; None where it cannot be read."""
        try:
            image = upright(self.picture)
        except Exception:  # pillow's decoders raise many kinds; read_page() has said why
            return None
        image.thumbnail((LARGEST, LARGEST))
        return image


def listed(folder: str, extension: str, recursive: bool) -> list[str]:
    """The pictures of a folder, as a person typed it.  Raises ValueError with a sentence."""
    if not folder.strip():
        raise ValueError("Enter the folder's path.")
    chosen = PictureFolder(train_data_dir=str(usable_path("The folder", folder).absolute()), recursive=recursive)
    if not Path(chosen.train_data_dir).is_dir():
        raise ValueError(f"There is no folder {chosen.train_data_dir}.")
    for failure in (*CaptionFiles(caption_extension=extension).failures(), *chosen.failures()):
        raise ValueError(f"{failure.what} {failure.mend}")
    return [str(picture) for picture in pictures_of(chosen, lambda folder, why: None)]


def read_page(picture: str, extension: str) -> Page:
    """A picture with its caption as it stands now."""
    file = Path(picture)
    problem = ""
    try:
        with opened(file):
            pass
    except Exception as error:  # pillow's decoders raise many kinds
        problem = f"{file.name} {unreadable(error)}."
    try:
        caption = read_caption(CaptionFiles(caption_extension=extension).file_of(file)) or ""
    except (OSError, ValueError) as error:
        return Page(file, "", f"The caption of {file.name} cannot be read: {error}.")
    return Page(file, caption, problem)


def caption_of(picture: Path, extension: str) -> str:
    """What stands in its caption file; nothing where there is none, or none that can be read."""
    try:
        return read_caption(CaptionFiles(caption_extension=extension).file_of(picture)) or ""
    except (OSError, ValueError):
        return ""


def save(page: Page, extension: str, text: str) -> str:
    """Write what was made of a caption; nothing where it was not changed.  Returns a sentence, or nothing.

    What another program wrote in the meantime is kept beside it.  Raises ValueError with a sentence.
    """
    if text.strip() == page.caption:
        return ""
    file = CaptionFiles(caption_extension=extension).file_of(page.picture)
    try:
        now = read_caption(file) or ""
        was_changed = now not in (page.caption, text.strip())
        if was_changed:
            keep(file)
        write_text_whole(file, text.strip() + "\n")
    except OSError as error:
        raise ValueError(f"{file} cannot be written: {why_not(error)}.") from None
    except UnicodeEncodeError:
        raise ValueError("The caption contains a broken character.") from None
    other = " Another program had changed it; that version is kept as a .bak file." if was_changed else ""
    return f"Saved {file.name}.{other}"


def next_without_caption(pictures: list[str], extension: str, place: int) -> int:
    """The place of the first picture after this one that has no caption, going round; this one where all have."""
    files = CaptionFiles(caption_extension=extension)
    after = [*range(place + 1, len(pictures)), *range(place)]
    return next((number for number in after if not files.file_of(Path(pictures[number])).exists()), place)
