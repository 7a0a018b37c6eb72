"""Which modules of a model a LoRA attaches to, by family: what the families' lora_targets() say of a loaded model, as
patterns that the checks can use without one. Both the original's names and diffusers' count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from engine.networks.dialects import Found, Place
from engine.networks.signs import sizes_of_layer
from engine.settings.families import FamilyName

_CLIP = r"(text_model_)?encoder_layers_\d+_(self_attn_([qkv]|out)_proj|mlp_fc[12])"
_ATTENTION = r"(proj_in|proj_out|transformer_blocks_\d+_(attn[12]_to_([qkv]|out_0)|ff_net_(0_proj|2)))"
_UNET = (
    rf"(down_blocks_\d+|mid_block|up_blocks_\d+)_attentions_\d+_{_ATTENTION}",
    rf"((input|output)_blocks_\d+|middle_block)_1_{_ATTENTION}",
)
_RESNET = r"(conv[12]|time_emb_proj|conv_shortcut|in_layers_2|emb_layers_1|out_layers_3|skip_connection)"
_EDGES = r"conv_in|conv_out|input_blocks_0_0|out_2|time_embedding_linear_[12]|time_embed_[02]"
_BEYOND = (
    rf"(down_blocks_\d+|mid_block|up_blocks_\d+)_resnets_\d+_{_RESNET}",
    r"(down_blocks_\d+_down|up_blocks_\d+_up)samplers_0_conv",
    rf"((input|output)_blocks_\d+_0|middle_block_[02])_{_RESNET}",
    r"input_blocks_\d+_0_op|output_blocks_\d+_[12]_conv",
    _EDGES,
)
"""Of UNets, what networks with convolutions are put on besides."""

_OF_STREAMS = r"attn_(to_[qkv]|to_out_0|add_[qkv]_proj|to_add_out)|ff(_context)?_net_(0_proj|2)"
_FLUX = (
    r"double_blocks_\d+_(img|txt)_(attn_(qkv|proj)|mlp_[02])",
    r"single_blocks_\d+_linear[12]",
    rf"transformer_blocks_\d+_({_OF_STREAMS})",
    r"single_transformer_blocks_\d+_(attn_to_[qkv]|proj_mlp|proj_out)",
)
_FLUXS_MODULATION = (
    r"double_blocks_\d+_(img|txt)_mod_lin",
    r"single_blocks_\d+_modulation_lin",
    r"transformer_blocks_\d+_norm1(_context)?_linear",
    r"single_transformer_blocks_\d+_norm_linear",
)
_SD3 = (
    r"joint_blocks_\d+_(x|context)_block_(attn2?_(qkv|proj)|mlp_fc[12]|adaLN_modulation_1)",
    rf"transformer_blocks_\d+_({_OF_STREAMS}|attn2_to_([qkv]|out_0)|norm1(_context)?_linear)",
)
_LUMINA = (
    r"(layers|noise_refiner|context_refiner)_\d+_(attention_(qkv|out)|feed_forward_w[123]|adaLN_modulation_1)",
    r"final_layer_(linear|adaLN_modulation_1)",
    r"(layers|noise_refiner|context_refiner)_\d+_(attn_to_([qkv]|out_0)|feed_forward_linear_[123]|norm1_linear)",
    r"norm_out_linear_[12]",
)
_GEMMA = r"(model_)?layers_\d+_(self_attn_[qkvo]_proj|mlp_(gate|up|down)_proj)"

_TRAINED: Mapping[FamilyName, Mapping[str, tuple[str, ...]]] = {
    "sd1": {"unet": _UNET, "te1": (_CLIP,)},
    "sd2": {"unet": _UNET, "te1": (_CLIP,)},
    "sdxl": {"unet": _UNET, "te1": (_CLIP,), "te2": (_CLIP,)},
    "sdxl-refiner": {"unet": _UNET, "te1": (_CLIP,), "te2": (_CLIP,)},
    "sd3": {"unet": _SD3, "te1": (_CLIP,), "te2": (_CLIP,)},
    "flux": {"unet": (*_FLUX, *_FLUXS_MODULATION), "te1": (_CLIP,)},
    "chroma": {"unet": _FLUX},
    "lumina": {"unet": _LUMINA, "te1": (_GEMMA,)},
}
_PATTERNS = {
    family: {part: re.compile("|".join(f"(?:{one})" for one in patterns)) for part, patterns in parts.items()}
    for family, parts in _TRAINED.items()
}

_FURTHER = re.compile("|".join(f"(?:{one})" for one in _BEYOND))

_LAST = r"final_layer_(linear|adaLN_modulation_1)|norm_out_linear|proj_out"
_LABELS = r"label_emb_0_[02]|add_embedding_linear_[12]"
_OF_TIME = r"time_(text|caption)_embed_\w+"
_ELSEWHERE: Mapping[FamilyName, str] = {
    "sd1": "", "sd2": "", "sdxl": _LABELS, "sdxl-refiner": _LABELS,
    "sd3": rf"[ty]_embedder_mlp_[02]|context_embedder|{_OF_TIME}|{_LAST}",
    "flux": rf"(img|txt)_in|(time|guidance|vector)_in_(in|out)_layer|(x|context)_embedder|{_OF_TIME}|{_LAST}",
    "chroma": rf"(img|txt)_in|distilled_guidance_layer_\w+|(x|context)_embedder|{_LAST}",
    "lumina": rf"x_embedder|t_embedder_mlp_[02]|cap_embedder_1|{_OF_TIME}",
}  # fmt: skip
"""What only the names in a LyCORIS preset file put a network on."""

UNETS: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl", "sdxl-refiner")

OWN_BLOCKS = re.compile(r"(?P<double>double_blocks|transformer_blocks)_|(?P<single>single_)(?:transformer_)?blocks_")
"""FLUX.1's two kinds of blocks; a run may train only one of them."""

_WITH_ONE_ENCODER: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl-refiner", "lumina")
"""Families whose only text encoder has no number in kohya's files."""

_CROSS_ATTENTION: Mapping[FamilyName, int] = {"sd1": 768, "sd2": 1024, "sdxl": 2048, "sdxl-refiner": 1280}
"""Width of a UNet's text conditioning: the only difference between files of Stable Diffusion 1 and 2."""

_SAME_SHAPES: tuple[frozenset[FamilyName], ...] = (frozenset({"flux", "chroma"}),)
"""Families with the same matrices wherever both have modules: a file of one fits the other if it has no more."""

_APART = re.compile(r"(single_)?transformer_blocks_\d+_attn2?_(to_[qkv]|add_[qkv]_proj)|.*_attn_to_[qkv]|.*_proj_mlp")
"""Names for parts of one matrix in the original transformers."""


def trains(family: FamilyName, place: Place, further: bool = False) -> bool:
    """Whether a LoRA of this family may have a module there.  further: also one with convolutions."""
    pattern = _PATTERNS.get(family, {}).get(place.part)
    if further and family in UNETS and is_further(place):
        return not (is_edge(place) and family.startswith("sdxl"))  # whose edges LyCORIS's presets do not find
    return bool(pattern and pattern.fullmatch(place.path))


def may_train(family: FamilyName, place: Place) -> bool:
    """The same, also where LyCORIS's preset files can put a network."""
    if place.part != "unet":
        return trains(family, place) or (place.part in _PATTERNS.get(family, {}) and place.path == "text_projection")
    beyond = (family in UNETS and is_further(place)) or re.fullmatch(_ELSEWHERE.get(family, ""), place.path)
    return bool(beyond) or trains(family, place)


def name_in_file(family: FamilyName, place: Place) -> str:
    """What a module is called in kohya's files; place: by its name there, or in another program's."""
    numbered = place.part == "unet" or family not in _WITH_ONE_ENCODER
    return f"lora_{place.part if numbered else 'te'}_{place.path}"


def is_further(place: Place) -> bool:
    """Whether it is outside of a UNet's transformer blocks."""
    return bool(place.part == "unet" and _FURTHER.fullmatch(place.path))


def is_edge(place: Place) -> bool:
    """Whether it is outside of all of a UNet's blocks."""
    return bool(place.part == "unet" and re.fullmatch(_EDGES, place.path))


def families_of(modules: Mapping[Place, Found]) -> list[FamilyName]:
    """The families that train most of these modules; several if equally likely."""
    fitting = {family: sum(may_train(family, place) for place in modules) for family in _PATTERNS}
    most = max(fitting.values(), default=0)
    both = {"te1", "te2"} <= {place.part for place in modules}  # the refiner has one, which others call the second
    likely = [
        family for family, count in fitting.items() if count == most > 0 and (family != "sdxl-refiner" or not both)
    ]
    told = next(
        (sizes_of_layer(found.shapes).columns for place, found in modules.items()
         if place.path.endswith("attn2_to_k") and place.part == "unet"), 0
    )  # fmt: skip
    by_width = [family for family in likely if _CROSS_ATTENTION.get(family) == told]
    return by_width if told in _CROSS_ATTENTION.values() and by_width else likely


def has_shapes_of(family: FamilyName, other: FamilyName) -> bool:
    """Whether both families have the same shape at a place."""
    return any({family, other} <= alike for alike in _SAME_SHAPES)


def has_parts_apart(places: Iterable[Place]) -> bool:
    """Whether queries, keys and values have separate matrices where the original has one."""
    return any(place.part == "unet" and _APART.fullmatch(place.path) for place in places)
