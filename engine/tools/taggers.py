"""Taggers: danbooru tags for pictures by ONNX files, in the two forms in which they are published."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from PIL import Image

from engine.failure import Failure
from engine.reading import small_bytes, small_json
from engine.settings.paths import typed_path
from engine.tools.hub import files_of
from engine.tools.onnx_file import OnnxFile

MODEL_FILES = ("model.onnx", "selected_tags.csv")
MAPPED_FILES = ("model_optimized.onnx", "tag_mapping.json")

USUAL_SIZE = 448
"""Pixels of a side where the model does not say it."""

Category = Literal["rating", "general", "character", "copyright", "artist", "meta", "model", "quality"]
CATEGORIES: dict[str, Category] = {"9": "rating", "0": "general", "4": "character"}
"""Danbooru's numbers for them; 9 is SmilingWolf's own."""

LARGEST_LIST = 2**26
"""Bytes of a list of tags; danbooru's hundred thousand take 4 MB."""

LONGEST_NAME = 1000
"""Letters; danbooru allows 170."""

MOST_NUMBERS = 10
"""Times as many as there are tags, beyond which a mapping's numbers are none of a model's answer."""


@dataclass(frozen=True)
class Tag:
    """name: as danbooru has it.  category: None for one that is never written."""

    name: str
    category: Category | None


UNLISTED = Tag("", None)
"""In the place of a number that a mapping leaves out."""


def load_tagger(source: str) -> Tagger:
    """source: a folder, OWNER/MODEL, or OWNER/MODEL/FOLDER for the form of cl_tagger.  Raises Failure."""
    folder = typed_path(source)
    mapped = (folder / MAPPED_FILES[1]).is_file() if folder.is_dir() else source.count("/") == 2
    if mapped and folder.is_dir() and not (folder / MAPPED_FILES[0]).is_file():
        return Tagger(*files_of(source, (MODEL_FILES[0], MAPPED_FILES[1]), "repo_id"))
    return Tagger(*files_of(source, MAPPED_FILES if mapped else MODEL_FILES, "repo_id"))


class Tagger:
    """A tagger as SmilingWolf publishes them, (N, size, size, 3) BGR in 0–255 → (N, tags) probabilities; or as
    cella110n's cl_tagger, (N, 3, size, size) BGR in −1 … 1 → (N, tags) logits, as sd-scripts feeds it.

    by_likelihood: whether the likelier tags are to come first, as with the latter; else the list's order holds.
    """

    def __init__(self, model: Path, tags: Path) -> None:
        """Raises Failure where the files are not a tagger's."""
        self.by_likelihood = tags.suffix == ".json"
        self.tags = read_mapping(tags) if self.by_likelihood else read_tags(tags)
        self._file = OnnxFile(model, "repo_id")
        given, answer = self._file.given, self._file.answer
        channels, side = (1, 2) if self.by_likelihood else (3, 1)
        if len(given) != 4 or given[channels] != 3:
            raise Failure(f"{model} expects pictures of shape {given}.", "Choose a WD14 tagger.", "repo_id")
        if isinstance(answer[-1], int) and answer[-1] != len(self.tags):
            raise Failure(
                f"{model} has {answer[-1]} tags, but {tags.name} lists {len(self.tags)}.",
                "Use both files from the same model.",
                "repo_id",
            )
        self.size = given[side] if isinstance(given[side], int) else USUAL_SIZE

    def probabilities(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """pictures: each (size, size, 3) as prepared() makes them.  Returns (N, tags)."""
        shown = np.stack(pictures)
        if not self.by_likelihood:
            return self._file.answers(shown)
        shown = np.ascontiguousarray(shown.transpose(0, 3, 1, 2) / np.float32(127.5) - np.float32(1))
        return 1 / (1 + np.exp(-self._file.answers(shown)))


def prepared(image: Image.Image, size: int) -> np.ndarray:
    """An RGB picture as the taggers were trained to see it: (size, size, 3), float32, BGR, 0–255.

    Padded with white to a square around the centre, then scaled (bicubic).
    Source: SmilingWolf's own wd-tagger, huggingface.co/spaces/SmilingWolf/wd-tagger.
    """
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), "white")
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    if longest != size:
        square = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square, dtype=np.float32)[:, :, ::-1])


def read_mapping(file: Path) -> list[Tag]:
    """cl_tagger's tag_mapping.json, {"NUMBER": {"tag": …, "category": …}, …}, in the order of the model's answer.

    A number that is not listed is a tag that is never written.  Raises Failure.
    """
    try:
        listed = {int(number): entry for number, entry in small_json(file, LARGEST_LIST).items()}
        tags = {number: _tag(entry["tag"], str(entry["category"]).lower()) for number, entry in listed.items()}
        first, last = min(tags), max(tags)
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        raise _no_list(file, "it needs a tag and a category for each number") from None
    if first < 0 or last >= MOST_NUMBERS * len(tags):  # a list with a place for each number might fill the memory
        raise _no_list(file, f"it lists {len(tags)} tags, but numbers them from below 0 or far beyond that")
    return [tags.get(number, UNLISTED) for number in range(last + 1)]


def read_tags(file: Path) -> list[Tag]:
    """The rows in the order of the model's answer; a category of a kind unknown here is never written.

    Raises Failure.
    """
    try:
        listed = io.TextIOWrapper(io.BytesIO(small_bytes(file, LARGEST_LIST)), "utf-8-sig", newline="")
        tags = [_tag(row["name"], CATEGORIES.get(row["category"], "")) for row in csv.DictReader(listed)]
    except (OSError, KeyError, ValueError, csv.Error):
        raise _no_list(file, "it needs the columns name and category, filled in each row") from None
    if not tags:
        raise _no_list(file, "it has no row")
    return tags


def _tag(name: object, category: str) -> Tag:
    """Raises ValueError where the name cannot be one: it would be written into captions, whose lines have a meaning."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME or len(name.splitlines()) > 1:
        raise ValueError
    is_written = name.strip() and category in get_args(Category)
    return Tag(name, cast(Category, category) if is_written else None)


def _no_list(file: Path, why: str) -> Failure:
    return Failure(f"{file} is not a tag list: {why}.", "Download it again.", "repo_id")
