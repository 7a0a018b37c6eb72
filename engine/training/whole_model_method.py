"""Training the whole model, as DreamBooth and fine-tuning do: no network is attached, the model's own weights move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.disk import written_whole
from engine.models.family import Family, Parts
from engine.settings.training import TrainingSettings
from engine.training.metadata import DTYPES


class WholeModelMethod:
    """What is trained had better be kept in full precision: steps are smaller than half precision can tell apart."""

    adapter = ""

    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, total_steps: int, dtype: torch.dtype
    ) -> None:
        self._family, self._parts = family, parts
        rates = settings.whole_model_rates(len(parts.text_encoders) if family.trains_text_encoders else 0)
        modules = [parts.denoiser, *parts.text_encoders]
        self._trained: dict[str, tuple[nn.Module, float]] = {
            name: (module, rate) for (name, rate), module in zip(rates.items(), modules, strict=False) if rate > 0
        }
        for module, _ in self._trained.values():
            module.to(dtype).requires_grad_(True)
        self._text_encoder_stops = settings.optimizer.text_encoder_steps(total_steps)
        self._dtype = DTYPES[settings.source_model.save_precision]

    @property
    def trains_text_encoder(self) -> bool:
        return any(name != "unet" for name in self._trained)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "params": list(module.parameters()), "lr": rate}
            for name, (module, rate) in self._trained.items()
        ]

    def before_step(self, step: int) -> None:
        if step > self._text_encoder_stops:
            for name, (module, _) in self._trained.items():
                if name != "unet":
                    module.requires_grad_(False)

    def after_step(self) -> None:
        pass

    def metadata(self) -> dict[str, Any]:
        return {}

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        """The whole model, as a single file in the original layout."""
        weights = {name: _saved(tensor, self._dtype) for name, tensor in self._family.to_original(self._parts).items()}
        with written_whole(file) as new:
            if file.suffix == ".safetensors":
                save_file(weights, new, metadata=metadata)
            else:
                torch.save({"state_dict": weights}, new)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": tensor.detach()
            for name, (module, _) in self._trained.items()
            for key, tensor in module.state_dict().items()
        }

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        for name, (module, _) in self._trained.items():
            own = {key.removeprefix(f"{name}."): t for key, t in weights.items() if key.startswith(f"{name}.")}
            module.load_state_dict(own)


def _saved(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
