"""Training the whole model, as DreamBooth and fine-tuning do: no network, the model's own weights are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.data.output_names import is_folder, saved_as
from engine.disk import folder_written_whole
from engine.failure import Failure
from engine.models.diffusers_folder import converted, folder_bytes, save_folder
from engine.models.family import Family
from engine.models.layouts.unet import original_name
from engine.models.parts import Parts
from engine.models.weights_file import write_weights
from engine.settings.block_lists import block_of
from engine.settings.training import TrainingSettings
from engine.training.denoising import Denoising
from engine.training.metadata import DTYPES


class WholeModelMethod(Denoising):
    """Trained weights are best kept in full precision: steps are smaller than half precision can represent."""

    adapter = ""

    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, *, total_steps: int, dtype: torch.dtype
    ) -> None:
        self._family, self._parts = family, parts
        rates = settings.whole_model_rates(len(parts.text_encoders) if family.trains_text_encoders else 0)
        try:
            self._rates_by_block = settings.rates_by_block()
        except ValueError as error:
            raise Failure(str(error), option="block_lr") from error
        if self._rates_by_block:
            rates["unet"] = max(self._rates_by_block.values())
        modules = [parts.denoiser, *parts.text_encoders]
        self._trained: dict[str, tuple[nn.Module, float]] = {
            name: (module, rate) for (name, rate), module in zip(rates.items(), modules, strict=False) if rate > 0
        }
        if not self._trained:
            raise Failure(
                "Every learning rate that applies to this model is 0, so nothing would be learned.",
                "1e-5 is a common value.",
                "learning_rate",
            )
        for module, _ in self._trained.values():
            module.to(dtype).requires_grad_(True)
        for group in self._groups_of_unet():
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)
        self._text_encoder_stops = settings.optimizer.text_encoder_steps(total_steps)
        self._dtype = DTYPES[settings.source_model.save_precision]
        self._saved_as, self._is_folder = saved_as(settings), is_folder(settings)

    @property
    def trains_text_encoder(self) -> bool:
        return any(name != "unet" for name in self._trained)

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = []
        for name, (module, rate) in self._trained.items():
            if name == "unet" and self._rates_by_block:
                groups += [group for group in self._groups_of_unet() if group["lr"] > 0]
            else:
                groups.append({"name": name, "params": list(module.parameters()), "lr": rate})
        return groups

    def _groups_of_unet(self) -> list[dict[str, Any]]:
        """One for all blocks with the same rate; none where the blocks have none of their own."""
        groups: dict[float, dict[str, Any]] = {}
        for name, parameter in self._parts.denoiser.named_parameters() if self._rates_by_block else ():
            block = block_of(original_name(self._parts.denoiser, name).replace(".", "_"))
            if block not in self._rates_by_block:
                raise Failure(
                    "Block LR (SDXL) is for SDXL's own UNet; this model has other blocks.", "Clear it.", "block_lr"
                )
            rate = self._rates_by_block[block]
            group = groups.setdefault(rate, {"name": f"unet at {rate:g}", "params": [], "lr": rate})
            group["params"].append(parameter)
        return list(groups.values())

    def before_step(self, step: int) -> None:
        if step > self._text_encoder_stops:
            for name, (module, _) in self._trained.items():
                if name != "unet":
                    module.requires_grad_(False)

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        """The whole model: a single file in the original layout, or a folder for diffusers, which holds no metadata."""
        if self._is_folder:
            with folder_written_whole(file, needs=folder_bytes(self._parts, self._dtype)) as new:
                save_folder(new, self._family.pipeline, self._parts, self._dtype, self._saved_as != "diffusers")
            return
        for part, tensors in self._family.encoder_files(self._parts).items():
            self._write(file.with_name(f"{file.stem}{part}{file.suffix}"), tensors, {})
        self._write(file, self._family.to_original(self._parts), metadata)

    def _write(self, file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
        weights = {}
        for name in list(tensors):  # each is freed once it is converted: there is no room for both with a large model
            weights[name] = converted(tensors.pop(name), self._dtype)
        write_weights(file, weights, metadata, pickled={"state_dict": weights})

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
