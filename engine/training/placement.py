"""Which part of a model is on the device, and in what number format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from engine.models.parts import Parts
from engine.models.quantize import quantize
from engine.settings.training import TrainingSettings
from engine.training.block_swap import BlockSwap, how_many


class Placement:
    """Moves the parts to where they work, according to the memory settings.

    dtype: of frozen weights that the settings do not quantize.
    Call it after trained weights have been set to require gradients.
    """

    def __init__(self, parts: Parts, settings: TrainingSettings, device: torch.device, dtype: torch.dtype) -> None:
        self._parts, self._settings, self._device = parts, settings, device
        # T5, which the flow families use, needs more than float16's range.
        is_too_narrow = parts.prediction == "flow" and dtype == torch.float16
        self._dtype = torch.bfloat16 if is_too_narrow else dtype

    def text_encoders(self) -> None:
        for encoder in self._parts.text_encoders:
            self._prepare(encoder)
            if form := self._settings.memory.encoder_format():
                quantize(encoder, form, self._device)
            encoder.to(self._device)

    def text_encoders_away(self) -> None:
        for encoder in self._parts.text_encoders:
            encoder.to("cpu")

    def denoiser(self) -> None:
        denoiser, memory = self._parts.denoiser, self._settings.memory
        self._prepare(denoiser)
        swaps = how_many(self._settings, self._parts)
        if form := memory.base_format():
            quantize(denoiser, form, torch.device("cpu") if swaps else self._device)
        if swaps:
            BlockSwap(denoiser, swaps, self._device)
        else:
            denoiser.to(self._device)

    def backward_memory(self) -> AbstractContextManager[object]:
        """A context for a forward pass: offloads what the backward pass needs."""
        settings = self._settings
        if not (settings.flux.cpu_offload_checkpointing and settings.hardware.gradient_checkpointing):
            return nullcontext()
        return torch.autograd.graph.save_on_cpu(pin_memory=self._device.type == "cuda")

    def _prepare(self, module: nn.Module) -> None:
        """T5 applies 10 % dropout in training mode, so frozen encoders run in eval mode."""
        learns = any(parameter.requires_grad for parameter in module.parameters())
        if self._settings.trains_whole_model and not learns:
            module.to(self._dtype)
        module.train(learns)
