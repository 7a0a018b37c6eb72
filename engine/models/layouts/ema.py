"""The moving average that Latent Diffusion's training keeps of a model, in the same file.  Needs no torch."""

from __future__ import annotations

from collections.abc import Collection

TRAINED, AVERAGED = "model.", "model_ema."
DENOISER = "model.diffusion_model."

OPTION = "start_from_ema"
MEND = "Turn off Start from the checkpoint's EMA weights, or choose a file that has them."


def averages(names: Collection[str]) -> dict[str, str]:
    """The names of averaged tensors by those of the trained ones that they are of; empty for a file without any.

    Latent Diffusion registers them as buffers, whose names may have no dots, so these are left out.  What was frozen
    in training has no average.
    """
    there = set(names)
    denoiser = [name for name in there if name.startswith(DENOISER)]
    named = {name: AVERAGED + name.removeprefix(TRAINED).replace(".", "") for name in denoiser}
    return {name: average for name, average in named.items() if average in there}


def none_in(source: str) -> str:
    return f'"{source}" has no EMA weights (model_ema) beside its own.'
