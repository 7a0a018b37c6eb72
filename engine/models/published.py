"""Each family's published models without their weights: what a model that is not here yet will have of layers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from torch import nn

from engine.models import makers
from engine.models.parts import Parts
from engine.models.sizes import edition_of
from engine.settings.families import FamilyName

_CLIP_L = ("transformers:CLIPTextModel", "sdxl/text_encoder")
_CLIP_G = ("transformers:CLIPTextModelWithProjection", "sdxl/text_encoder_2")
_UNET = "diffusers:UNet2DConditionModel"
_SD3_MEDIUM = {"sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536,
               "joint_attention_dim": 4096, "pooled_projection_dim": 2048, "pos_embed_max_size": 192}  # fmt: skip
_SD35_MEDIUM = _SD3_MEDIUM | {"pos_embed_max_size": 384, "qk_norm": "rms_norm", "dual_attention_layers": range(13)}
_SD35_LARGE = _SD3_MEDIUM | {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432,
                             "qk_norm": "rms_norm"}  # fmt: skip

_PUBLISHED: dict[FamilyName, tuple[tuple[str, Any], ...]] = {
    "sd1": ((_UNET, "sd1/unet"), ("transformers:CLIPTextModel", "sd1/text_encoder")),
    "sd2": ((_UNET, "sd2/unet"), ("transformers:CLIPTextModel", "sd2/text_encoder")),
    "sdxl": ((_UNET, "sdxl/unet"), _CLIP_L, _CLIP_G),
    "sdxl-refiner": ((_UNET, "sdxl-refiner/unet"), _CLIP_G),
    "sd3": (("diffusers:SD3Transformer2DModel", _SD3_MEDIUM), _CLIP_L, _CLIP_G),
    "flux": (("diffusers:FluxTransformer2DModel", {"guidance_embeds": True}), _CLIP_L),
    "chroma": (("diffusers:ChromaTransformer2DModel", {}),),
    "lumina": (("diffusers:Lumina2Transformer2DModel", {"cap_feat_dim": 2304}), ("transformers:Gemma2Model", {})),
}
"""The denoiser, then the text encoders that are trained: their classes, and their configurations as a folder of ours or
as what differs from the library's defaults.
"""


_EDITIONS: Mapping[str, tuple[str, Any]] = {
    "3.5-large": ("diffusers:SD3Transformer2DModel", _SD35_LARGE),
    "3.5-medium": ("diffusers:SD3Transformer2DModel", _SD35_MEDIUM),
}
"""The denoisers of the families' other models: see sizes.edition_of()."""


def published(family: FamilyName, name: str = "") -> Parts | None:
    """On the meta device, without VAE and tokenizers; None for a family that is not trained here.

    name: of the model, which says which of the family's it is, if there are several.
    """
    if family not in _PUBLISHED:
        return None
    usual, *others = _PUBLISHED[family]
    own = _EDITIONS.get(edition_of(name, family), usual)
    with init_empty_weights():
        denoiser, *encoders = (_made(kind, config) for kind, config in (own, *others))
    return Parts(denoiser, nn.Identity(), encoders, [None] * len(encoders))


def _made(kind: str, config: str | dict[str, Any]) -> Any:
    library, _, name = kind.partition(":")
    made_by = getattr(importlib.import_module(library), name)
    if isinstance(config, str):
        return makers.maker(made_by, Path(makers.CONFIGS / config))()
    return made_by(**config) if library == "diffusers" else made_by(made_by.config_class(**config))
