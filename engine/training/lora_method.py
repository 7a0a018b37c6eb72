"""The LoRA method: the base model stays as it is, a network attached to it is trained and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.family import Family, Parts
from engine.networks.dropout import Dropouts
from engine.networks.kohya_format import load_lora, save_lora
from engine.networks.lora import LoraNetwork, rank_and_alpha
from engine.networks.network import Network
from engine.settings.network import PARTS
from engine.settings.network import Network as NetworkSettings
from engine.settings.training import TrainingSettings
from engine.training.metadata import DTYPES


class LoraMethod:
    adapter = "lora"

    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, total_steps: int, dtype: torch.dtype
    ) -> None:
        s = settings.network
        unet_lr, text_encoder_lr = settings.optimizer.rates()
        targets = family.lora_targets(parts)
        there = {target.group for target in targets}  # of some families no text encoder is trained
        self.rates = {"unet": unet_lr, "text_encoder": text_encoder_lr if "text_encoder" in there else 0.0}
        self._ratios: dict[str, float] = {part: s.loraplus_ratio(part)[1] for part in PARTS}
        self._text_encoder_stops = settings.optimizer.text_encoder_steps(total_steps)
        self._largest_norm = s.scale_weight_norms
        targets = [target for target in targets if self.rates[target.group] > 0]
        weights = _weights_to_begin_from(s)
        rank, alpha = (s.dim_from_weights and rank_and_alpha(weights)) or (s.network_dim, s.network_alpha)
        dropouts = Dropouts(s.network_dropout, s.rank_dropout, s.module_dropout)
        self.network: Network = LoraNetwork(targets, rank, alpha, dropouts, family.network_module, dtype)
        if weights:
            _begin_from(self.network, weights, s)
        self._dtype = DTYPES[settings.source_model.save_precision]

    @property
    def trains_text_encoder(self) -> bool:
        return self.rates["text_encoder"] > 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups, each with its name and learning rate."""
        groups = []
        for name, rate in self.rates.items():
            if rate == 0:
                continue
            parameters, ratio = self.network.parameters(name), self._ratios[name]
            if ratio != 1:
                fast = self.network.fast_parameters(name)
                groups.append({"name": f"{name}_up", "params": fast, "lr": rate * ratio})
                chosen = {id(parameter) for parameter in fast}
                parameters = [parameter for parameter in parameters if id(parameter) not in chosen]
            groups.append({"name": name, "params": parameters, "lr": rate})
        return groups

    def before_step(self, step: int) -> None:
        """Called before every step, which counts from 1, also by a run that goes on at a later one."""
        if self.trains_text_encoder and step > self._text_encoder_stops:
            for parameter in self.network.parameters("text_encoder"):
                parameter.requires_grad_(False)

    def after_step(self) -> None:
        """Called after every step of the optimizer."""
        if self._largest_norm:
            self.network.limit_norms(self._largest_norm)

    def metadata(self) -> dict[str, Any]:
        return {**self.network.metadata(), "ss_scale_weight_norms": self._largest_norm or None}

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        save_lora(self.network.state_dict(), metadata, file, self._dtype)

    def state_dict(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        self.network.load_state_dict(weights)


def _weights_to_begin_from(settings: NetworkSettings) -> dict[str, Tensor]:
    if not settings.network_weights:
        return {}
    try:
        weights = load_lora(Path(settings.network_weights))
    except Exception as error:  # a damaged file can fail in any of its format's ways
        raise Failure(f"{settings.network_weights} cannot be read: {error}.", option="network_weights") from error
    if rank_and_alpha(weights) is None:
        raise Failure(f"{settings.network_weights} is no LoRA file.", "Choose one.", "network_weights")
    return weights


def _begin_from(network: Network, weights: dict[str, Tensor], settings: NetworkSettings) -> None:
    try:
        begun = network.begin_from(weights)
    except RuntimeError as error:
        found = rank_and_alpha(weights)
        if found and not settings.dim_from_weights and found[0] != settings.network_dim:
            raise Failure(
                f"{settings.network_weights} has rank {found[0]}, not {settings.network_dim}.",
                "Turn on DIM from weights, or set Network Rank to it.",
                "network_dim",
            ) from error
        raise Failure(
            f"{settings.network_weights} does not fit this model: {error}.",
            "It has several ranks, or was trained on a model of another size. Choose another file.",
            "network_weights",
        ) from error
    if not begun:
        raise Failure(
            f"{settings.network_weights} has nothing for this model: it was trained for another family.",
            "Choose another file.",
            "network_weights",
        )
