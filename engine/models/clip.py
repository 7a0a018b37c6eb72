"""What the families that read captions through CLIP have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure

CHUNK = 75
"""Tokens that CLIP's text encoder reads at a time, between begin and end."""


def tokens_in_chunks(tokenizer: Any, captions: list[str], tokens: int, padding: int | None = None) -> Tensor:
    """Captions cut to `tokens` tokens, in chunks of 75 between begin and end.

    padding: the token that a chunk is filled up with behind its end; None for the end again.
    Returns (B, tokens / 75, 77), int64.
    """
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    fill = end if padding is None else padding
    cut = [words[:tokens] for words in tokenizer(captions, add_special_tokens=False, verbose=False).input_ids]
    return torch.tensor(
        [
            [
                [begin, *(chunk := words[at : at + CHUNK]), end, *[fill] * (CHUNK - len(chunk))]
                for at in range(0, tokens, CHUNK)
            ]
            for words in cut
        ]
    )


def hidden_states(encoder: Any, chunks: Tensor, clip_skip: int) -> tuple[Tensor, Any]:
    """(hidden state `clip_skip` layers from the end, all that the encoder said) of chunks (B, N, 77).

    clip_skip: 0 and 1 for the last layer.  The state is (B · N, 77, channels), before the last layer norm.
    Raises Failure where the encoder has not so many layers.
    """
    said = encoder(chunks.flatten(0, 1).to(encoder.device), output_hidden_states=True)
    states = said.hidden_states
    if clip_skip >= len(states):
        raise Failure(
            f"Clip skip is {clip_skip}, but this model's text encoder has only {len(states) - 1} layers.",
            "Lower it; 0, 1 and 2 are usual.",
            "clip_skip",
        )
    return states[-max(1, clip_skip)], said


def last_norm(encoder: Any, state: Tensor) -> Tensor:
    """The layer norm that ends the encoder; older transformers keep the layers below a text_model."""
    normed: Tensor = getattr(encoder, "text_model", encoder).final_layer_norm(state)
    return normed


def joined(state: Tensor, count: int) -> Tensor:
    """What was said of `count` chunks each as one sequence with a single begin and end.

    state: (B · count, 77, channels).  Returns (B, 75 · count + 2, channels).
    """
    state = state.unflatten(0, (-1, count))
    words = state[:, :, 1:-1].flatten(1, 2)
    return torch.cat([state[:, 0, :1], words, state[:, -1, -1:]], dim=1)
