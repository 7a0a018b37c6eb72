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
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return words
    except UnicodeDecodeError:
        raise Failure(f"The caption {file} is not UTF-8 text.", "Save it as UTF-8.", "train_data_dir") from None
    return lines[0].strip() if lines else ""
