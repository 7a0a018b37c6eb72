"""What a network file contains, from the names and shapes of its tensors alone: its kind, and its naming scheme.

A standard LoRA has the same matrices everywhere and is read under any of these names: kohya's (lora_unet_….lora_down),
diffusers' and peft's (transformer.….lora_A, unet.….processor.to_q_lora.down), ComfyUI's (diffusion_model.…) and
OneTrainer's (lora_transformer_…).  A place in the model is its part and its path, with _ for every dot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]


class Place(NamedTuple):
    """part: unet, whatever the denoiser is, te1 to te3, or t5.  path: within it, with _ for every dot."""

    part: str
    path: str


@dataclass
class Found:
    """A file's tensors for one module: their names, and the shapes of the two matrices, () if missing."""

    down: str = ""
    up: str = ""
    alpha: str = ""
    down_shape: tuple[int, ...] = ()
    up_shape: tuple[int, ...] = ()
    rank: int = 0

    @property
    def is_wide(self) -> bool:
        """Whether it belongs to a convolution larger than 1×1."""
        return any(side > 1 for side in self.down_shape[2:])


@dataclass
class NetworkFile:
    """modules: those of a standard LoRA.  kinds: other tensors, by the kind they indicate, in words.

    unknown: unrecognised names.  doubled: names that duplicate another tensor.  namings: number of tensors per naming
    scheme.
    """

    modules: dict[Place, Found] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    namings: Counter[str] = field(default_factory=Counter)

    @property
    def is_network(self) -> bool:
        return bool(self.modules or self.kinds)

    @property
    def kind(self) -> str:
        """The kind for people: the one that most tensors indicate, if it is not a standard LoRA."""
        wide = sum(found.is_wide for found in self.modules.values())
        if self.kinds:
            return self.kinds.most_common(1)[0][0]
        return f"LoCon, with {wide} convolution{'s' * (wide > 1)} of 3×3 pixels" if wide else ""

    @property
    def naming(self) -> str:
        return self.namings.most_common(1)[0][0] if self.namings else ""

    @property
    def halves(self) -> list[Place]:
        """Modules for which the file has only one of the two matrices."""
        return [place for place, found in self.modules.items() if not (found.down and found.up)]

    def ranks(self) -> Counter[int]:
        return Counter(found.rank for found in self.modules.values() if found.rank)


_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"\.dora_scale$|\.lora_magnitude_vector\b", "DoRA"),
        (r"\.hada_", "LoHa"),
        (r"\.lokr_", "LoKr"),
        (r"\.oft_(diag|R|r)\b|\.oft_blocks$", "OFT"),
        (r"\.boft_", "BOFT"),
        (r"\.[ab][12]\.weight$|\.bm\.weight$", "GLoRA"),
        (r"\.on_input$|\.ia3_l\b", "(IA)³"),
        (r"\.vera_lambda_", "VeRA"),
        (r"\.lora_(mid|t[12])\b", "LoCon with Tucker decomposition"),
        (r"\.lora_(up|B)(\.[\w-]+)?\.bias$|\.lora_(down|A)(\.[\w-]+)?\.bias$", "LoRA with biases"),
        (r"\.diff(_b)?$|\.set_weight$", "file of whole weights (LyCORIS/Native Fine-Tuning)"),
        (r"\.[wb]_norm$", "LoRA with trained norms (LyCORIS, train_norm)"),
        (r"^lllite_", "ControlNet-LLLite"),
        (r"^bundle_emb\.", "LoRA with embeddings (OneTrainer)"),
        (r"\.processor\.(qkv|proj)_lora[12]?\.", "LoRA of XLabs"),
    )
)
"""Marks that no standard LoRA has."""

_PARTS = tuple(
    (re.compile(pattern), part, naming)
    for pattern, part, naming in (
        (r"lora_unet_", "unet", "kohya"),
        (r"lora_te_", "te1", "kohya"),
        (r"lora_te([123])_", r"te\1", "kohya"),
        (r"lora_transformer_", "unet", "OneTrainer"),
        (r"lycoris_", "unet", "LyCORIS"),
        (r"(base_model\.model\.)?(unet|transformer)\.", "unet", "diffusers"),
        (r"(base_model\.model\.)?text_encoder\.", "te1", "diffusers"),
        (r"(base_model\.model\.)?text_encoder_([23])\.", r"te\2", "diffusers"),
        (r"(model\.)?diffusion_model\.", "unet", "ComfyUI"),
        (r"(text_encoders\.)?clip_l\.(transformer\.)?", "te1", "ComfyUI"),
        (r"(text_encoders\.)?clip_g\.(transformer\.)?", "te2", "ComfyUI"),
        (r"(text_encoders\.)?t5xxl\.(transformer\.)?", "t5", "ComfyUI"),
        (r"base_model\.model\.(?=(encoder|text_model)\.)", "te1", "peft"),
        (r"(?=text_model\.)", "te1", "diffusers"),
        (r"base_model\.model\.", "unet", "peft"),
    )
)
"""Name prefixes, with the model part they mean and who uses them; other names belong to the unet."""

_ROLES = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"\.lora_(down|A)(\.[\w-]+)?\.weight$", "down"),
        (r"\.lora_(up|B)(\.[\w-]+)?\.weight$", "up"),
        (r"(\.lora|_lora|\.lora_linear_layer)\.down\.weight$", "down"),
        (r"(\.lora|_lora|\.lora_linear_layer)\.up\.weight$", "up"),
        (r"\.alpha$", "alpha"),
    )
)


def dialect_of(shapes: Shapes) -> NetworkFile:
    """Identify tensors by these names and shapes."""
    file, alphas = NetworkFile(), {}
    for name, shape in shapes.items():
        kind = next((kind for pattern, kind in _KINDS if pattern.search(name)), None)
        if kind == "OFT" and len(shape) == 4:
            kind = "BOFT"
        if kind:
            file.kinds[kind] += 1
            continue
        role, place, naming = _read(name)
        if role == "alpha" and place not in alphas:
            alphas[place] = name
        elif role == "alpha" or (place in file.modules and getattr(file.modules[place], role)):
            file.doubled.append(name)
        elif role:
            file.namings[naming] += 1
            found = file.modules.setdefault(place, Found())
            setattr(found, role, name)
            setattr(found, f"{role}_shape", tuple(shape))
            found.rank = (found.down_shape or (0,))[0]
        else:
            file.unknown.append(name)
    for place, name in alphas.items():
        if place in file.modules:
            file.modules[place].alpha = name
        elif not file.kinds:
            file.unknown.append(name)
    return file


def place_named(name: str) -> Place:
    """The place that a module name in kohya's files refers to."""
    return _placed(name)[0]


def flattened(path: str) -> str:
    return path.replace(".", "_")


def _read(name: str) -> tuple[str, Place, str]:
    for pattern, role in _ROLES:
        if match := pattern.search(name):
            place, naming = _placed(name[: match.start()])
            return role, place, naming
    return "", Place("", name), ""


def _placed(stem: str) -> tuple[Place, str]:
    part, naming, rest = "unet", "diffusers", stem
    for pattern, meant, who in _PARTS:
        if match := pattern.match(stem):
            part, naming, rest = match.expand(meant), who, stem[match.end() :]
            break
    # In diffusers' older files the matrices belong to the processor, where the last Linear is one of several.
    rest = rest.replace(".processor.", ".")
    return Place(part, flattened(re.sub(r"\.to_out$", ".to_out.0", rest))), naming


def shortened(places: Iterable[Place]) -> str:
    """The first of some places, for people."""
    part, path = next(iter(places))
    return path if part == "unet" else f"{part}_{path}"
