"""Words that a CLIP text encoder did not know: read as tokens of their own, whose embeddings are trained (Gal et al.
2022, arXiv:2208.01618).  All that it knew stays as it is, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.failure import Failure
from engine.models.clip import words_of
from engine.settings.textual_inversion import as_a_word, folded


@dataclass(frozen=True)
class NewWord:
    """text: as it stands in captions and prompts.  vectors: how many tokens it is.  begins_as: what these begin as."""

    text: str
    vectors: int = 1
    begins_as: str = "*"


class WordTable(nn.Module):
    """A text encoder's table of token embeddings, with trained rows for new tokens behind its own."""

    def __init__(self, known: nn.Embedding, rows: Tensor) -> None:
        super().__init__()
        self.known, self.rows = known, nn.Parameter(rows)

    @property
    def weight(self) -> Tensor:
        """The frozen table; text encoders look at it for their number format."""
        return self.known.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: of any shape, below the known rows + the new ones.  Returns (…, width), in the known rows' format."""
        first = self.known.num_embeddings
        is_new = tokens >= first
        known: Tensor = self.known(tokens.masked_fill(is_new, 0))
        new = F.embedding((tokens - first).clamp(min=0), self.rows).to(known.dtype)
        return torch.where(is_new[..., None], new, known)


class TokenizerWithWords:
    """A tokenizer that reads new words as tokens of theirs, wherever they stand as words; in any case, as CLIP does."""

    def __init__(self, tokenizer: Any, tokens: Mapping[str, Sequence[int]]) -> None:
        self._tokenizer = tokenizer
        self._tokens = {folded(word): list(numbers) for word, numbers in tokens.items()}
        self._word = as_a_word(*self._tokens)

    def __call__(self, texts: Sequence[str], *, add_special_tokens: bool, **options: Any) -> Any:
        """Tokens without start and end, as `input_ids`: what is read here is not padded."""
        assert not add_special_tokens
        split = [self._word.split(folded(text)) for text in texts]  # what stands between the words, and each of these
        between = [piece for pieces in split for piece in pieces[::2]]
        read = iter(self._tokenizer(between, add_special_tokens=False, **options).input_ids)
        ids: list[list[int]] = []
        for pieces in split:
            tokens = [*next(read)]
            for word in pieces[1::2]:
                tokens += [*self._tokens[word], *next(read)]
            ids.append(tokens)
        return SimpleNamespace(input_ids=ids)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_tokenizer":
            raise AttributeError(name)
        return getattr(self._tokenizer, name)


def taught(encoder: Any, tokenizer: Any, words: Sequence[NewWord]) -> tuple[WordTable, TokenizerWithWords]:
    """The encoder's table with rows for the words, which takes the place of its own, and a tokenizer that reads them.

    A row begins as that of a token of the word's begins_as, in turn, as in sd-scripts.  Raises Failure where a word is
    known, or nothing can be begun as.
    """
    known = encoder.get_input_embeddings()
    tokens: dict[str, list[int]] = {}
    begun: list[Tensor] = []
    for word in words:
        if len(words_of(tokenizer, [word.text])[0]) == 1:
            raise Failure(
                f'The text encoder already knows "{word.text}" as a single token, and other prompts would lose it.',
                "Choose a word that does not exist.",
                "token_string",
            )
        begins_as = words_of(tokenizer, [word.begins_as])[0]
        if not begins_as:
            raise Failure(
                "Init word is empty.", "Enter an existing word that is near to the new one, such as cat.", "init_word"
            )
        first = known.num_embeddings + len(begun)
        tokens[word.text] = [*range(first, first + word.vectors)]
        begun += [known.weight[begins_as[number % len(begins_as)]] for number in range(word.vectors)]
    table = WordTable(known, torch.stack(begun).detach().float().clone())
    encoder.set_input_embeddings(table)
    _find_ends(encoder, tokenizer.eos_token_id)
    return table, TokenizerWithWords(tokenizer, tokens)


def _find_ends(encoder: Any, end: int) -> None:
    """Old configs of CLIP have a wrong end token, for which transformers takes the largest number: now a new word's."""
    for module in encoder.modules():
        if hasattr(module, "eos_token_id"):
            module.eos_token_id = end
