"""What the families that read captions through T5 have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def t5_states(t5: Any, tokenizer: Any, captions: list[str], tokens: int, masked: bool) -> tuple[Tensor, Tensor]:
    """T5's last layer for captions, truncated or padded to `tokens` tokens, and which positions belong to a caption.

    masked: T5 does not attend to the padding.
    Returns (B, tokens, channels), and (B, tokens) of 0 and 1.
    """
    read = tokenizer(captions, padding="max_length", max_length=tokens, truncation=True, return_tensors="pt")
    mask = read.attention_mask.to(t5.device)
    with torch.autocast(t5.device.type, enabled=False):  # float16 is too narrow for what T5 computes
        states: Tensor = t5(read.input_ids.to(t5.device), attention_mask=mask if masked else None)[0]
    return states, mask
