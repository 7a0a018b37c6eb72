"""The words that go with a picture."""

from __future__ import annotations

import random
from pathlib import Path

from engine.failure import Failure
from engine.settings.captions import Captions


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


def varied(caption: str, settings: Captions, epoch: int, rng: random.Random) -> str:
    """The caption as one batch is shown it: dropped, or with its parts between commas in another order.

    epoch: counted from 1; every so many epochs are trained without captions.
    """
    every = settings.caption_dropout_every_n_epochs
    if rng.random() < settings.caption_dropout_rate or (every and epoch % every == 0):
        return ""
    if not settings.shuffle_caption:
        return caption
    parts = [part.strip() for part in caption.split(",")]
    kept, rest = parts[: settings.keep_tokens], parts[settings.keep_tokens :]
    rng.shuffle(rest)
    return ", ".join([*kept, *rest])


def unreadable_captions(pictures: list[Path], ending: str) -> list[Path]:
    """The caption files of these pictures that caption_of() refuses."""

    def is_unreadable(picture: Path) -> bool:
        try:
            caption_of(picture, ending, "")
        except (Failure, OSError):
            return True
        return False

    return [picture.with_name(picture.stem + ending) for picture in pictures if is_unreadable(picture)]
