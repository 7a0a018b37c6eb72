"""The network that the settings ask for, on a model's layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch

from engine.models.targets import STANDARD, Listed, Reach, Target, shape_of
from engine.networks.begun_from import usual
from engine.networks.dropout import Dropouts
from engine.networks.held import Held
from engine.networks.kind import Kind
from engine.networks.kinds import kinds
from engine.networks.network import Network
from engine.networks.shares import Share, Shares, alpha_for, has_wide, preset_at
from engine.networks.weight_network import WeightNetwork
from engine.settings.lycoris_preset import is_file
from engine.settings.network import PARTS
from engine.settings.sd_networks import LYCORIS, TYPES
from engine.settings.training import TrainingSettings

_CONVOLUTIONS = ("conv_in", "conv_out")
_EDGES = (*_CONVOLUTIONS, "time_embedding.linear_1", "time_embedding.linear_2")

PRESETS: Mapping[str, Reach] = {
    "full": Reach(resnets=True, edges=_EDGES),
    "full-lin": Reach(resnets=True, edges=_EDGES),
    "attn-mlp": STANDARD,
    "attn-only": Reach(attention_only=True),
    "unet-only": Reach(resnets=True, edges=_EDGES, text_encoders=False),
    "unet-transformer-only": Reach(text_encoders=False),
    "unet-convblock-only": Reach(transformers=False, resnets=True, edges=_CONVOLUTIONS, text_encoders=False),
    "ia3": Reach(ends=("to_k", "to_v", "ff.net.2", "k_proj", "v_proj", "mlp.fc2")),
}
"""LyCORIS's, by name."""


def reach_of(settings: TrainingSettings) -> Reach:
    """Which layers the settings' network is put on."""
    kind = kind_of(settings)
    if kind is not None and kind.reach is not None:
        return kind.reach
    if TYPES[settings.network.lora_type][0] == LYCORIS:
        return replace(_of_preset(settings.lycoris.lycoris_preset), norms=settings.lycoris.train_norm)
    return Reach(resnets=True) if has_wide(settings) else STANDARD


def _of_preset(preset: str) -> Reach:
    """Raises Failure where it is a file that cannot be followed."""
    if not is_file(preset):
        return PRESETS[preset]  # that there is such a one is checked before a start
    file = preset_at(preset)
    return Reach(listed=Listed(file.modules, file.names, file.text_modules, file.text_names, file.excluded))


def kind_of(settings: TrainingSettings) -> Kind | None:
    """None for a LoRA of two matrices, which changes no weight but adds to what a layer gives."""
    maker = kinds().get(settings.network.lora_type)
    return maker(settings) if maker else None


def dropouts_of(settings: TrainingSettings) -> Dropouts:
    s = settings.network
    return Dropouts(s.network_dropout, s.rank_dropout, s.module_dropout, settings.applied("rank_dropout_scale"))


def rated(targets: Iterable[Target], settings: TrainingSettings) -> list[Target]:
    """Those of parts with a learning rate."""
    rates = dict(zip(PARTS, settings.network_rates(), strict=True))
    return [target for target in targets if rates[target.group] > 0]


def trained_layers(targets: list[Target], shares: Shares) -> tuple[list[Target], dict[str, Share]]:
    """The targets with only those layers that are trained, none without any, and the share of each by its name."""
    kept, found = [], {}
    for target in targets:
        for attachment in target.attachments:
            if (share := shares.at(attachment.name, shape_of(target, attachment))) is not None:
                found[attachment.name] = share
        kept.append(replace(target, attachments=tuple(one for one in target.attachments if one.name in found)))
    return [target for target in kept if target.attachments], found


def network_of(
    settings: TrainingSettings,
    kind: Kind,
    targets: list[Target],
    shares: Mapping[str, Share],
    dtype: torch.dtype,
    sizes: Mapping[str, Held] | None = None,
) -> Network:
    """Of a kind that changes weights.  targets, shares: from trained_layers().  sizes: a file's, by attachment name."""
    s = settings.network
    of_file = usual((held.rank, held.alpha) for held in (sizes or {}).values() if held.rank)
    lycoris = TYPES[s.lora_type][0] == LYCORIS
    # LyCORIS's arguments say that the strength is stabilised by rank; of others the alpha says it.
    own = s.network_alpha if lycoris else alpha_for(settings.applied("rs_lora"), s.network_dim, s.network_alpha)
    rank, alpha = of_file or (s.network_dim, own)
    told = {
        "ss_network_module": TYPES[s.lora_type][0],
        "ss_network_dim": rank,
        "ss_network_alpha": float(alpha),
        "ss_network_dropout": s.network_dropout or None,
    }
    given = {name: (share.rank, share.alpha) for name, share in shares.items()}
    return WeightNetwork(targets, kind, given, told=told, dropouts=dropouts_of(settings), dtype=dtype, sizes=sizes)
