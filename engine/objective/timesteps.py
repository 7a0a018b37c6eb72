"""Drawing the timesteps that a batch is trained at."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_timesteps(count: int, least: int, most: int, device: torch.device) -> Tensor:
    """`count` integers, each of least … most − 1 equally likely, or all the same if the two are equal.

    Returns (count,), int64.  Source: Ho et al. 2020, arXiv:2006.11239, algorithm 1.
    """
    if least == most:
        return torch.full((count,), least, device=device)
    return torch.randint(least, most, (count,), device=device)
