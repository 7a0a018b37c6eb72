"""The LoRA method: the base model stays as it is, a network attached to it is trained and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from engine.models.family import Family, Parts
from engine.networks.kohya_format import save_lora
from engine.networks.lora import LoraNetwork
from engine.networks.network import Network
from engine.settings.training import TrainingSettings
from engine.training.metadata import DTYPES


class LoraMethod:
    """What is trained and what is saved; train.py asks nothing else of a method."""

    def __init__(self, family: Family, parts: Parts, settings: TrainingSettings) -> None:
        unet_lr, text_encoder_lr = settings.optimizer.rates()
        self.rates = {"unet": unet_lr, "text_encoder": text_encoder_lr}
        targets = [target for target in family.lora_targets(parts) if self.rates[target.group] > 0]
        self.network: Network = LoraNetwork(
            parts, targets, settings.network.network_dim, settings.network.network_alpha
        )
        self._dtype = DTYPES[settings.source_model.save_precision]

    @property
    def trains_text_encoder(self) -> bool:
        return self.rates["text_encoder"] > 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups, each with its name and learning rate."""
        return [
            {"name": group, "params": self.network.parameters(group), "lr": rate}
            for group, rate in self.rates.items()
            if rate > 0
        ]

    def group_names(self) -> list[str]:
        return [group["name"] for group in self.parameter_groups()]

    def parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.parameter_groups() for parameter in group["params"]]

    def metadata(self) -> dict[str, Any]:
        return self.network.metadata()

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        save_lora(self.network.state_dict(), metadata, file, self._dtype)

    def state_dict(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        self.network.load_state_dict(weights)
