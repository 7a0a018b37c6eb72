"""T5's outputs for captions, remembered while another text encoder next to it is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5EncoderModel

from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress


class Remembering(nn.Module):
    """A T5 that returns remembered outputs without computing.  device: where the outputs are wanted."""

    def __init__(self, t5: T5EncoderModel, device: torch.device) -> None:
        super().__init__()
        self.t5, self.device = t5, device
        self._said: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor]:
        """(B, n) → (B, n, channels), of its last layer."""
        rows = [tokens] if attention_mask is None else [tokens, attention_mask]
        keys = [row.numpy().tobytes() for row in torch.cat(rows, dim=1).cpu()]
        new = [place for place, key in enumerate(keys) if key not in self._said]
        if new:
            mask = None if attention_mask is None else attention_mask[new].to(self.t5.device)
            said = self.t5(tokens[new].to(self.t5.device), attention_mask=mask)[0].cpu()
            self._said |= {keys[place]: states for place, states in zip(new, said, strict=True)}
        return (torch.stack([self._said[key] for key in keys]).to(self.device),)


@torch.no_grad()
def remember_t5(
    encoder: CaptionEncoder,
    texts: Iterable[str],
    device: torch.device,
    progress: CaptionProgress,
    *,
    further: Iterable[str] = (),
) -> None:
    """Have the model's T5, if it has a frozen one, encode everything in advance, and leave the device.

    further: additional texts, encoded separately, so that they do not affect the others.  Raises Stopped.
    """
    encoders: list[Any] = encoder.parts.text_encoders
    places = [place for place, one in enumerate(encoders) if isinstance(one, T5EncoderModel)]
    if not places:
        return
    for place in places:
        encoders[place] = Remembering(encoders[place], device)
    for group in (texts, further):
        for some in progress.portions(list(dict.fromkeys(group))):
            encoder.encode(some)
        progress.check()
    for place in places:
        encoders[place].t5.to("cpu")
