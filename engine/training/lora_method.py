"""The LoRA method: the base model is frozen; a network attached to it is trained and saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.family import Family
from engine.models.parts import Parts
from engine.models.targets import Target, shape_of
from engine.models.trained import name_of
from engine.networks import refusals
from engine.networks.begun_from import fitted, held_in, read, unplaced, usual
from engine.networks.ggpo import GGPO
from engine.networks.held import Apart, Held, Otherwise
from engine.networks.kind import Kind
from engine.networks.kohya_format import save_lora
from engine.networks.lora import LoraNetwork
from engine.networks.made import dropouts_of, kind_of, network_of, rated, reach_of, trained_layers
from engine.networks.network import Network
from engine.networks.refusals import Refusal
from engine.networks.saved_names import SavedNames
from engine.networks.shares import Share, Shares, alpha_for
from engine.networks.signs import looks_wide
from engine.networks.strength import WHOLE, Strength
from engine.objective.objective import Corrupted
from engine.settings.network import PARTS, WITH_FROZEN_DOWN
from engine.settings.network import Network as NetworkSettings
from engine.settings.sd_networks import LYCORIS, TYPES, network_arguments
from engine.settings.training import TrainingSettings
from engine.training.denoising import Denoising
from engine.training.metadata import DTYPES
from engine.training.model import Examples, Model

OPTION = "network_weights"


class LoraMethod(Denoising):
    adapter = "lora"

    def __init__(
        self,
        family: Family,
        parts: Parts,
        settings: TrainingSettings,
        *,
        total_steps: int,
        dtype: torch.dtype,
        goes_on: Mapping[str, Tensor] | None = None,
    ) -> None:
        """goes_on: the weights of the state that the run resumes from; it then needs no file."""
        s = settings.network
        targets = family.lora_targets(parts, reach_of(settings))
        there = {target.group for target in targets if target.attachments}  # some families' text encoders have none
        rates = zip(PARTS, settings.network_rates(), strict=True)
        self.rates = {part: rate if part in there or part == "unet" else 0.0 for part, rate in rates}
        self._ratios: dict[str, float] = {part: s.loraplus_ratio(part)[1] for part in PARTS}
        self._text_encoder_stops = settings.optimizer.text_encoder_steps(total_steps)
        module = TYPES[s.lora_type][0]
        self._module = family.network_module if module == TYPES["Standard"][0] else module
        self._largest_norm = s.scale_weight_norms
        self._network_args = network_arguments(settings)
        of_parts = rated(targets, settings)
        trained, self._shares = trained_layers(of_parts, Shares(settings))
        if not self._shares:
            raise _nothing_trained(settings)
        self._names, self._dialect = SavedNames(name_of(type(family)), trained), settings.source_model.lora_file_dialect
        begun = (
            None
            if goes_on
            else _begun_from(settings, targets, of_parts, trained, shares=self._shares, family=family.name)
        )
        kind = kind_of(settings)
        sizes = _sizes(s, kind, begun, goes_on)
        if kind is not None:
            self.network: Network = network_of(settings, kind, trained, self._shares, dtype, sizes)
        else:
            self.network = _lora(settings, family, trained, self._shares, dtype=dtype, sizes=sizes)
        if begun:
            try:
                self.network.begin_from(begun)
            except RuntimeError as error:
                why = refusals.otherwise if isinstance(error, Otherwise) else refusals.other_sizes
                raise _refused(why(Path(s.network_weights).name, str(error))) from error
        self._dtype = DTYPES[settings.source_model.save_precision]
        self._strength = Strength(parts.denoiser, *parts.text_encoders)

    @property
    def trains_text_encoder(self) -> bool:
        return self.rates["text_encoder"] > 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups, each with its name and learning rate: one for all layers of a part with the same rate, and
        before it one for those of their tensors that learn faster.
        """
        groups: dict[str, dict[str, Any]] = {}
        for part, of_part in self.rates.items():
            ratio = self._ratios[part]
            fast = {id(parameter) for parameter in self.network.fast_parameters(part)} if ratio != 1 else set()
            for place, parameters in self.network.by_place(part).items():
                rate = self._shares[place].learning_rate(of_part)
                name = part if rate == of_part else f"{part} at {rate:g}"
                if fast:
                    up = groups.setdefault(f"{name}_up", {"name": f"{name}_up", "params": [], "lr": rate * ratio})
                    up["params"] += [parameter for parameter in parameters if id(parameter) in fast]
                group = groups.setdefault(name, {"name": name, "params": [], "lr": rate})
                group["params"] += [parameter for parameter in parameters if id(parameter) not in fast]
        return [group for group in groups.values() if group["params"]]

    def before_step(self, step: int) -> None:
        """Called before every step, counted from 1; a resumed run starts at a later one."""
        if self.trains_text_encoder and step > self._text_encoder_stops:
            for parameter in self.network.parameters("text_encoder"):
                parameter.requires_grad_(False)

    def before_update(self) -> None:
        self.network.before_update()

    def after_step(self) -> None:
        """Called after every step of the optimizer."""
        self._strength.set(WHOLE)
        if self._largest_norm:
            self.network.limit_norms(self._largest_norm)

    def predict(self, model: Model, examples: Examples, corrupted: Corrupted) -> Tensor:
        self.network.see(corrupted.timesteps)
        self._strength.set(examples.strength)
        prediction = super().predict(model, examples, corrupted)
        if not prediction.requires_grad:  # else a part of it may be made again, at the same strength
            self._strength.set(WHOLE)
        return prediction

    def metadata(self) -> dict[str, Any]:
        said = self.network.metadata() | {"ss_network_module": self._module}
        if self._network_args:
            # sd-scripts tells the network its dropout among them, as a number.
            arguments = self._network_args | {"dropout": said["ss_network_dropout"]}
            said["ss_network_args"] = json.dumps(arguments)
        return {**said, "ss_scale_weight_norms": self._largest_norm or None}

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        save_lora(self.file_weights(), metadata, file, self._dtype)

    def file_weights(self) -> dict[str, Tensor]:
        """What a file holds, by its names there."""
        return self._names.named(self.network.file_weights(), self._dialect)

    def state_dict(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        self.network.load_state_dict(weights)


def _lora(
    settings: TrainingSettings,
    family: Family,
    trained: list[Target],
    shares: Mapping[str, Share],
    *,
    dtype: torch.dtype,
    sizes: Mapping[str, Held],
) -> LoraNetwork:
    """A network of two matrices a layer.  sizes: a file's, which go before the settings'."""
    s = settings.network
    of_file = {name: (held.rank, held.alpha) for name, held in sizes.items()}
    given = {name: (share.rank, share.alpha) for name, share in shares.items()} | of_file
    own = alpha_for(settings.applied("rs_lora"), s.network_dim, s.network_alpha)
    rank, alpha = usual(of_file.values()) or (s.network_dim, own)
    ggpo = GGPO(s.ggpo_sigma, s.ggpo_beta) if settings.applied("train_lora_ggpo") else None
    return LoraNetwork(
        trained,
        rank,
        alpha,
        dropouts_of(settings),
        family.network_module,
        dtype,
        given,
        frozen_down=s.lora_type in WITH_FROZEN_DOWN,
        ggpo=ggpo,
        apart=settings.applied("split_qkv"),
    )


def _sizes(
    settings: NetworkSettings,
    kind: Kind | None,
    begun: Mapping[str, Held] | None,
    goes_on: Mapping[str, Tensor] | None,
) -> Mapping[str, Held]:
    """What has each layer's sizes, if that is to be the file in Network weights; a resumed run's state has them."""
    if not (settings.dim_from_weights and settings.network_weights):
        return {}
    return held_in(goes_on, kind) if goes_on else begun or {}


def _nothing_trained(settings: TrainingSettings) -> Failure:
    if TYPES[settings.network.lora_type][0] == LYCORIS:
        preset = settings.lycoris.lycoris_preset
        return Failure(
            f"LyCORIS Preset {preset} reaches no layer of this model that is trained.",
            "Choose another preset, or set a learning rate for the part that it reaches.",
            "lycoris_preset",
        )
    if (kind := kind_of(settings)) and kind.reach and not settings.network_rates()[0]:
        return Failure(
            f"LoRA type {settings.network.lora_type} reaches no layer of this model that is trained.",
            "Set a learning rate for the UNet.",
            "unet_lr",
        )
    return Failure(
        "The ranks, learning rates and patterns for blocks and layers leave no layer to train.",
        "Clear them under Advanced, or give some layers a rank and a learning rate above 0.",
        "block_dims",
    )


def _begun_from(
    settings: TrainingSettings,
    targets: list[Target],
    of_parts: list[Target],
    trained: list[Target],
    *,
    shares: Mapping[str, Share],
    family: str,
) -> dict[str, Held] | None:
    """What the file to continue from holds for the trained targets.  targets: all that the family has.  of_parts:
    those with a learning rate, of which some layers may be left out of `trained`.

    Raises Failure if anything in the file would be lost.
    """
    s = settings.network
    file = Path(s.network_weights)
    if not s.network_weights:
        return None
    if not file.is_file():
        raise Failure(f'There is no file "{file}".', "Correct the path, or clear the field.", OPTION)
    weights, network_file, told = read(file)
    if refusal := refusals.of_another_kind(file.name, network_file, settings):
        raise _refused(refusal)
    count, foreign = len(network_file.modules), unplaced(network_file, targets)
    if len(foreign) == count:
        raise Failure(
            f"{file.name} does not fit {family}: it was trained for another model family.",
            "Choose another file.",
            OPTION,
        )
    if foreign:
        raise _refused(refusals.not_trained(file.name, foreign, count))
    if rateless := unplaced(network_file, of_parts):
        part = "UNet" if any(place.part == "unet" for place in rateless) else "text encoder"
        raise _refused(refusals.not_trained(file.name, rateless, count, part))
    if left_out := unplaced(network_file, trained):
        raise _refused(refusals.not_trained(file.name, left_out, count))
    try:
        begun = fitted(weights, network_file, trained, told)
    except Apart as error:
        raise _refused(refusals.not_joined(file.name, network_file)) from error
    except RuntimeError as error:
        raise _of_another_size(file, error) from error
    wide = _wide(trained)
    given = ((held.rank, shares[name], name in wide) for name, held in begun.items())
    asked = ((rank, rank if share.has_room_for(rank) else share.rank, is_wide) for rank, share, is_wide in given)
    if not s.dim_from_weights and (refusal := refusals.other_ranks(file.name, network_file.kind, asked)):
        raise _refused(refusal)
    return begun


def _wide(targets: list[Target]) -> set[str]:
    """The names of what is on convolutions of more than one pixel."""
    return {
        attachment.name
        for target in targets
        for attachment in target.attachments
        if looks_wide(shape_of(target, attachment))
    }


def _refused(refusal: Refusal) -> Failure:
    return Failure(refusal.what, refusal.mend, refusal.option)


def _of_another_size(file: Path, error: RuntimeError) -> Failure:
    return Failure(
        f"{file.name} does not fit this model: {error}.",
        "It was trained on a model of a different size. Choose another file.",
        OPTION,
    )
