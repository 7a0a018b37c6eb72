"""What the families that read captions through CLIP have in common."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.conditioning import Reading
from engine.models.emphasis import weighted_parts

T = TypeVar("T")

CHUNK = 75
"""Tokens that CLIP's text encoder reads at a time, between the start and end tokens."""


def tokens_in_chunks(tokenizer: Any, captions: list[str], tokens: int, padding: int | None = None) -> Tensor:
    """Captions truncated to `tokens` tokens, in chunks of 75 between the start and end tokens.

    padding: the token that a chunk is padded with after its end; None for the end token again.
    Returns (B, tokens / 75, 77), int64.
    """
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    fill = end if padding is None else padding
    return torch.tensor(_in_chunks(words_of(tokenizer, captions), tokens, begin, end, fill))


def read(tokenizer: Any, captions: list[str], reading: Reading, padding: int | None = None) -> tuple[Tensor, Tensor]:
    """(tokens as from tokens_in_chunks(), the weight of each, 1 without weighted captions).

    Returns (B, reading.tokens / 75, 77) both, int64 and float32. The parts of a weighted caption are tokenised
    separately, as in sd-scripts.
    """
    if not reading.weighted:
        chunks = tokens_in_chunks(tokenizer, captions, reading.tokens, padding)
        return chunks, torch.ones(chunks.shape)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids: list[list[int]] = []
    weights: list[list[float]] = []
    for caption in captions:
        parts = weighted_parts(caption)
        words = words_of(tokenizer, [text for text, _ in parts]) if parts else []
        ids.append([word for part in words for word in part])
        weights.append([weight for (_, weight), part in zip(parts, words, strict=True) for _ in part])
    fill = end if padding is None else padding
    return (
        torch.tensor(_in_chunks(ids, reading.tokens, begin, end, fill)),
        torch.tensor(_in_chunks(weights, reading.tokens, 1.0, 1.0, 1.0)),
    )


def words_of(tokenizer: Any, captions: list[str]) -> list[list[int]]:
    """All tokens of each caption, without start and end."""
    ids: list[list[int]] = tokenizer(captions, add_special_tokens=False, verbose=False).input_ids
    return ids


def _in_chunks(captions: list[list[T]], tokens: int, begin: T, end: T, fill: T) -> list[list[list[T]]]:
    def chunk(words: list[T]) -> list[T]:
        return [begin, *words, end, *[fill] * (CHUNK - len(words))]

    return [[chunk(words[:tokens][at : at + CHUNK]) for at in range(0, tokens, CHUNK)] for words in captions]


def hidden_states(encoder: Any, chunks: Tensor, clip_skip: int) -> tuple[Tensor, Any]:
    """(hidden state `clip_skip` layers from the end, the encoder's whole output) for chunks (B, N, 77).

    clip_skip: 0 and 1 for the last layer.  The state is (B · N, 77, channels), before the last layer norm.
    Raises Failure if the encoder does not have that many layers.
    """
    said = encoder(chunks.flatten(0, 1).to(encoder.device), output_hidden_states=True)
    states = said.hidden_states
    if clip_skip >= len(states):
        raise Failure(
            f"Clip skip is {clip_skip}, but this model's text encoder has only {len(states) - 1} layers.",
            "Lower it; 0, 1 and 2 are common.",
            "clip_skip",
        )
    return states[-max(1, clip_skip)], said


def emphasised(states: Tensor, weights: Tensor) -> Tensor:
    """States of a sequence, each times its token's weight; start and end stay as they are.

    states: (B, 75 · N + 2, channels), joined.  weights: (B, N, 77).  As in sd-scripts' training, the mean over a
    caption changes with its weights; other programs restore it.
    """
    return states * joined(weights.flatten(0, 1)[:, :, None], weights.shape[1]).to(states)


def last_norm(encoder: Any, state: Tensor) -> Tensor:
    """The layer norm that ends the encoder; older transformers keep the layers below a text_model."""
    normed: Tensor = getattr(encoder, "text_model", encoder).final_layer_norm(state)
    return normed


def joined(state: Tensor, count: int) -> Tensor:
    """The outputs of `count` chunks per caption, joined to one sequence with a single start and end.

    state: (B · count, 77, channels).  Returns (B, 75 · count + 2, channels).
    """
    state = state.unflatten(0, (-1, count))
    words = state[:, :, 1:-1].flatten(1, 2)
    return torch.cat([state[:, 0, :1], words, state[:, -1, -1:]], dim=1)
