"""The words that go with a picture."""

from __future__ import annotations

from pathlib import Path

from engine.failure import Failure


def caption_of(picture: Path, ending: str, words: str) -> str:
    """The first line of the caption file beside the picture, or the folder's words without one.

    Raises Failure where the file is not UTF-8 text.
    """
    file = picture.with_name(picture.stem + ending)
    try:
        # Not splitlines(), which also cuts at form feeds and at line separators within a sentence.
        first, _, _ = file.read_text(encoding="utf-8-sig").partition("\n")
    except FileNotFoundError:
        return words
    except UnicodeDecodeError:
        raise Failure(f"The caption {file} is not UTF-8 text.", "Save it as UTF-8.", "train_data_dir") from None
    return first.strip()


def unreadable_captions(pictures: list[Path], ending: str) -> list[Path]:
    """The caption files of these pictures that caption_of() refuses."""

    def is_unreadable(picture: Path) -> bool:
        try:
            caption_of(picture, ending, "")
        except (Failure, OSError):
            return True
        return False

    return [picture.with_name(picture.stem + ending) for picture in pictures if is_unreadable(picture)]
