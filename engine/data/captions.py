"""A picture's caption, and how it varies each time the picture is shown.

All conventions are sd-scripts': the order of the steps, the markers, and what counts from 0 or from 1.
"""

from __future__ import annotations

import io
import math
import os
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.disk import why_not
from engine.failure import Failure
from engine.reading import small_bytes
from engine.settings.captions import Captions

USUAL_ENDINGS = (".txt", ".caption", ".cap")
"""Extensions of caption files, in lower case."""

_WILDCARD = re.compile(r"\{([^}]+)\}")

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Stand for plain braces while wildcards are resolved: Unicode reserves these two for such internal use."""


LONGEST_CAPTION = 2**20
"""Bytes of a caption file: a thousand wildcard lines of a thousand letters; text encoders read 512 words at most."""


@dataclass(frozen=True)
class Moment:
    """When a picture is shown.  epoch: counted from 1.  step: optimizer steps before it.  steps: of the whole run."""

    epoch: int = 1
    step: int = 0
    steps: int = 1


def caption_of(picture: Path, ending: str, words: str, all_lines: bool = False) -> str:
    """The caption in the file next to the picture, or the folder's words if there is none.

    all_lines: every line that is not empty, joined by line breaks; otherwise only the first line.
    Raises Failure if the file cannot be read.
    """
    file = caption_file(picture, ending)
    if file is None:
        return words
    lines = caption_lines(file)
    return "\n".join(filter(None, lines)) if all_lines else lines[0]


def caption_lines(file: Path) -> list[str]:
    """All lines of a caption file, at least one, stripped.  Raises Failure as caption_of() does."""
    try:
        text = caption_text(file)
    except UnicodeDecodeError:
        raise Failure(f"The caption {file} is not UTF-8 text.", "Save it as UTF-8.", "train_data_dir") from None
    except OSError as error:
        what = f"The caption {file} cannot be read: {why_not(error)}."
        raise Failure(what, "Correct the file, or remove it.", "train_data_dir") from None
    # Not splitlines(), which also cuts at form feeds and at line separators within a sentence.
    return [line.strip() for line in text.split("\n")]


def caption_text(file: Path) -> str:
    """The text of a caption file.  Raises OSError, also if it is too large, and UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(small_bytes(file, LONGEST_CAPTION)), "utf-8-sig").read()


def caption_file(picture: Path, ending: str) -> Path | None:
    """The caption file of a picture, None if there is none.

    A picture cropped by sd-scripts' face detection, NAME_N_N_N_N, may share that of the original, NAME.
    """
    files = (picture.with_name(name + ending) for name in caption_stems(picture))
    return next((file for file in files if file.is_file()), None)


def caption_stems(picture: Path) -> list[str]:
    """Possible beginnings of its caption file's name."""
    whole = "_".join(picture.stem.split("_")[:-4])
    return [picture.stem, *([whole] if whole else [])]


def is_ending(text: str) -> bool:
    """Whether a file name can end like this."""
    return not any(character in text for character in "/\\\0")


def is_usual(ending: str) -> bool:
    """Whether this means real captions, also as .TXT or .*.txt, rather than an extension that no file has."""
    return ending.casefold().endswith(USUAL_ENDINGS)


def other_endings(pictures: Iterable[Path]) -> dict[Path, str]:
    """For pictures without a caption of the expected extension: that of a caption next to them, such as .TXT, .caption
    or .png.txt.
    """
    beside: dict[Path, dict[str, str]] = {}
    found: dict[Path, str] = {}
    for picture in pictures:
        if picture.parent not in beside:
            beside[picture.parent] = _by_beginning(picture.parent)
        ending = next(
            (beside[picture.parent][name] for name in caption_stems(picture) if name in beside[picture.parent]), ""
        )
        if ending:
            found[picture] = ending
    return found


def _by_beginning(folder: Path) -> dict[str, str]:
    """The extension of each caption file by the possible stem of its picture: a.b.txt belongs to a.b, if there is such
    a picture, otherwise to a.
    """
    files = [file for file in sorted(os.listdir(folder)) if not file.startswith(".")]
    captions = [file for file in files if file.casefold().endswith(USUAL_ENDINGS)]
    others = {file.rpartition(".")[0] for file in set(files).difference(captions)}
    found: dict[str, str] = {}
    for file in captions:
        beginnings = [file[:place] for place in range(len(file) - 1, 0, -1) if file[place] == "."]
        owner = next((name for name in beginnings if name in others), None)
        for name in [owner] if owner else beginnings:
            found.setdefault(name, file[len(name) :])
    return found


def varied(caption: str, settings: Captions, moment: Moment, rng: random.Random) -> str:
    """The caption as shown at one moment: empty if it is dropped, otherwise from worded()."""
    every, rate = settings.caption_dropout_every_n_epochs, settings.caption_dropout_rate
    if rng.random() < rate or (every and moment.epoch % every == 0):
        return ""
    return worded(caption, settings, moment, rng)


def worded(caption: str, settings: Captions, moment: Moment, rng: random.Random) -> str:
    """The caption after prefix and suffix, wildcards, and what happens to its parts.

    The caption is only split to be shuffled, warmed up or thinned out. Then the markers of keep_tokens_separator are
    removed, and the parts are joined again by their separator and a space: sd-scripts does so since June 2026
    (pull request 2390), and joined them by commas before.
    """
    if settings.caption_prefix:
        caption = f"{settings.caption_prefix} {caption}"
    if settings.caption_suffix:
        caption = f"{caption} {settings.caption_suffix}"
    caption = with_wildcards(caption, rng) if settings.enable_wildcard else caption.partition("\n")[0]
    if settings.shuffle_caption or settings.token_warmup_step or settings.caption_tag_dropout_rate:
        separator = settings.caption_separator or ","
        front, between, end = _parts(caption, settings, separator)
        between = between[: _shown_parts(len(between), settings, moment)]
        if settings.shuffle_caption:
            rng.shuffle(between)
        between = [part for part in between if rng.random() >= settings.caption_tag_dropout_rate]
        caption = f"{separator} ".join([*front, *between, *end])
    if settings.secondary_separator:
        caption = caption.replace(settings.secondary_separator, settings.caption_separator)
    return caption


def settled(caption: str, settings: Captions, rng: random.Random) -> str:
    """The caption with only its wildcards random: never dropped, with all its parts, in order."""
    apart = settings.shuffle_caption or settings.token_warmup_step or settings.caption_tag_dropout_rate
    steady = {"shuffle_caption": False, "caption_tag_dropout_rate": 0.0, "token_warmup_step": 1.0 if apart else 0.0}
    return worded(caption, settings.model_copy(update=steady), Moment(step=1), rng)


def may_vary(caption: str, settings: Captions) -> bool:
    """Whether the caption can have several wordings during a run."""
    chosen = settings.enable_wildcard and any(mark in caption + _around(settings) for mark in "\n{")
    return bool(settings.shuffle_caption or settings.token_warmup_step or settings.caption_tag_dropout_rate or chosen)


def with_wildcards(caption: str, rng: random.Random) -> str:
    """One of the caption's lines, and in it one of a, b, c for each {a|b|c}.

    {{ and }} are plain braces. Wildcards do not nest: the innermost closing brace ends the outermost one, so that
    {a|{b|c} d} is one of "a d}", "{b d}", "c d}".
    """
    line = rng.choice(caption.split("\n")).replace("{{", _OPEN).replace("}}", _CLOSE)
    line = _WILDCARD.sub(lambda found: rng.choice(found[1].split("|")), line)
    return line.replace(_OPEN, "{").replace(_CLOSE, "}")


def _around(settings: Captions) -> str:
    return settings.caption_prefix + settings.caption_suffix


def _parts(caption: str, settings: Captions, separator: str) -> tuple[list[str], list[str], list[str]]:
    """(parts kept at the front, those in between, parts kept at the end)."""
    mark = settings.keep_tokens_separator
    if mark and mark in caption:
        front, between, end = [*caption.split(mark, 2), ""][:3]
        return _split(front, separator), _split(between, separator), _split(end, separator)
    # Without a marker empty parts stay, and Keep n tokens counts them.
    parts = [part.strip() for part in caption.split(separator)]
    return parts[: settings.keep_tokens], parts[settings.keep_tokens :], []


def _split(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _shown_parts(count: int, settings: Captions, moment: Moment) -> int:
    """How many of `count` parts a token warmup shows: ⌊step · (count − min) / warmup⌋ + min."""
    warmup = settings.token_warmup_step
    warmup = math.floor(warmup * moment.steps) if warmup < 1 else warmup
    if moment.step >= warmup:
        return count
    least = settings.token_warmup_min
    return math.floor(moment.step * ((count - least) / warmup)) + least


def vary(captions: Sequence[str], variations: Sequence[Captions]) -> bool:
    """Whether any caption has several wordings, apart from being dropped."""
    return any(may_vary(caption, variation) for caption, variation in zip(captions, variations, strict=True))


def only_wordings(captions: Sequence[str], variations: Sequence[Captions]) -> list[str]:
    """The only wordings of captions that do not vary."""
    each = zip(captions, variations, strict=True)
    return [worded(caption, variation, Moment(), random.Random(0)) for caption, variation in each]
