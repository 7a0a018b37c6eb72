"""The new words that a run teaches: rows behind the text encoders' tables, and the files that they are saved in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.data.output_names import word_ending, word_suffix
from engine.failure import Failure
from engine.models.bundled_words import bundled_words
from engine.models.embedding_files import read_embeddings, write_embeddings
from engine.models.family import Family
from engine.models.new_words import NewWord, WordTable, taught
from engine.models.parts import Parts
from engine.models.pickled import header_of
from engine.settings.textual_inversion import NEGATIVE
from engine.settings.training import TrainingSettings
from engine.training.metadata import DTYPES


def new_words(settings: TrainingSettings) -> list[NewWord]:
    s, texts = settings.textual_inversion, settings.new_words()
    words = [NewWord(text, s.num_vectors_per_token, s.init_word) for text in texts]
    if settings.applied("dreamartist"):
        words[-1] = NewWord(texts[-1], s.negative_vectors, s.negative_init_word)
    return words


class Words:
    """A few rows for each text encoder: float32, whatever the model is in.

    From then on the parts' tokenizers read the words.  goes_on: whether a state follows, so that no file is needed to
    begin from.  bundled: a LoRA file whose words the same ones begin as.  Raises Failure.
    """

    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, *, goes_on: bool, bundled: Path | None = None
    ) -> None:
        s = settings.textual_inversion
        self._words = new_words(settings)
        ends = [*accumulate(word.vectors for word in self._words)]
        self._places = {word: slice(end - word.vectors, end) for word, end in zip(self._words, ends, strict=True)}
        self._suffixes = {word.text: word_suffix(word.text, settings) for word in self._words}
        self._dtype = DTYPES[settings.source_model.save_precision]
        self._tables: dict[str, WordTable] = {}
        for number, name in enumerate(family.word_tables):
            encoder, tokenizer = parts.text_encoders[number], parts.tokenizers[number]
            self._tables[name], parts.tokenizers[number] = taught(encoder, tokenizer, self._words)
        if goes_on:
            return
        if s.embedding_weights:
            file = Path(s.embedding_weights)
            self._begin_from(file, self._words[0])  # the check has seen to it that it is alone
            beside = file.with_name(f"{file.stem}{NEGATIVE}{file.suffix}")
            if settings.applied("dreamartist") and beside.is_file():
                self._begin_from(beside, self._words[-1])
        elif bundled:
            for word in self._words:
                if word.text in bundled_words(header_of(bundled).shapes):
                    self._begin_from(bundled, word, word.text)

    def group(self, rate: float) -> dict[str, Any]:
        """Of the optimizer."""
        return {"name": "words", "params": [table.rows for table in self._tables.values()], "lr": rate}

    def metadata(self) -> dict[str, Any]:
        return {"ss_new_words": ", ".join(word.text for word in self._words)}

    def by_word(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """(vectors, width) by the encoders' names, in the number format of files."""
        for word, rows in self._places.items():
            yield word.text, {name: self._in_file(table.rows[rows]) for name, table in self._tables.items()}

    def save(self, file: Path, metadata: Mapping[str, str], *, first_in_it: bool) -> None:
        """A file for each word, NAME-WORD: see output_names.beside_names().

        first_in_it: that of the first word is `file`.
        """
        for number, (word, tables) in enumerate(self.by_word()):
            place = (
                file
                if first_in_it and number == 0
                else file.with_name(f"{file.stem}{self._suffixes[word]}{word_ending(file.suffix)}")
            )
            write_embeddings(place, word, tables, metadata)

    def state_dict(self) -> dict[str, Tensor]:
        """By word and encoder, so that none goes on as another."""
        return {
            f"{word.text}.{name}": table.rows[rows].detach()
            for word, rows in self._places.items()
            for name, table in self._tables.items()
        }

    @torch.no_grad()
    def load_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        for word, rows in self._places.items():
            for name, table in self._tables.items():
                found = weights[f"{word.text}.{name}"]
                if found.shape != table.rows[rows].shape:
                    raise RuntimeError(
                        f"{word.text} is of shape {tuple(found.shape)}, not {tuple(table.rows[rows].shape)}"
                    )
                table.rows[rows] = found

    def _in_file(self, rows: Tensor) -> Tensor:
        return rows.detach().to("cpu", self._dtype).contiguous()

    @torch.no_grad()
    def _begin_from(self, file: Path, word: NewWord, bundled: str = "") -> None:
        """bundled: as what the word is in a LoRA file."""
        tables = read_embeddings(file, {name: table.rows.shape[1] for name, table in self._tables.items()}, bundled)
        for name, table in self._tables.items():
            if len(tables[name]) != word.vectors:
                raise Failure(
                    f"{file.name} has {len(tables[name])} vectors, but Vectors is {word.vectors}.",
                    f"Set it to {len(tables[name])}, or clear the field.",
                    "num_vectors_per_token" if word is self._words[0] else "negative_vectors",
                )
            table.rows[self._places[word]] = tables[name]
