"""Textual inversion: the model learns new words, and nothing else in it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.embedding_files import read_embeddings, write_embeddings
from engine.models.family import Family
from engine.models.new_words import NewWord, WordTable, taught
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.denoising import Denoising
from engine.training.metadata import DTYPES


class TextualInversionMethod(Denoising):
    """What is trained is a few rows for each text encoder: float32, whatever the model is in."""

    adapter = "textual-inversion"
    trains_text_encoder = True

    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, *, goes_on: Mapping[str, Tensor] | None = None
    ) -> None:
        """goes_on: a state that the run resumes from, which then needs no file of embeddings."""
        self._settings = settings
        self._words = new_words(settings)
        self._tables: dict[str, WordTable] = {}
        for number, name in enumerate(family.word_tables):
            encoder, tokenizer = parts.text_encoders[number], parts.tokenizers[number]
            self._tables[name], parts.tokenizers[number] = taught(encoder, tokenizer, self._words)
        if settings.textual_inversion.embedding_weights and not goes_on:
            self._begin_from(Path(settings.textual_inversion.embedding_weights))
        self._dtype = DTYPES[settings.source_model.save_precision]

    def parameter_groups(self) -> list[dict[str, Any]]:
        rows = [table.rows for table in self._tables.values()]
        return [{"name": "words", "params": rows, "lr": self._settings.optimizer.learning_rate}]

    def metadata(self) -> dict[str, Any]:
        return {"ss_new_words": ", ".join(word.text for word in self._words)}

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        """A file for each word, of the first under the run's name: see output_names.beside_names()."""
        for number, (word, rows) in enumerate(self._rows()):
            place = file.with_name(f"{file.stem}-{word.text}{file.suffix}") if number else file
            tables = {
                name: table.rows[rows].detach().to("cpu", self._dtype).contiguous() for name, table in self._named()
            }
            write_embeddings(place, word.text, tables, metadata)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: table.rows.detach() for name, table in self._named()}

    @torch.no_grad()
    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        for name, table in self._named():
            if weights[name].shape != table.rows.shape:
                raise RuntimeError(f"{name} is of shape {tuple(weights[name].shape)}, not {tuple(table.rows.shape)}")
            table.rows.copy_(weights[name])

    def _named(self) -> Iterator[tuple[str, WordTable]]:
        yield from self._tables.items()

    def _rows(self) -> Iterator[tuple[NewWord, slice]]:
        """Which rows of the tables are a word's."""
        first = 0
        for word in self._words:
            yield word, slice(first, first + word.vectors)
            first += word.vectors

    @torch.no_grad()
    def _begin_from(self, file: Path) -> None:
        (word,) = self._words  # the check has seen to that
        tables = read_embeddings(file, {name: table.rows.shape[1] for name, table in self._named()})
        for name, table in self._named():
            if len(tables[name]) != word.vectors:
                raise Failure(
                    f"{file.name} has {len(tables[name])} vectors, but Vectors is {word.vectors}.",
                    f"Set it to {len(tables[name])}, or clear the field.",
                    "num_vectors_per_token",
                )
            table.rows.copy_(tables[name])


def new_words(settings: TrainingSettings) -> list[NewWord]:
    s = settings.textual_inversion
    return [NewWord(word, s.num_vectors_per_token, s.init_word) for word in s.words()]
