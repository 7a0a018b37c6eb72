"""What a network file contains, from the names and shapes of its tensors alone: its kind, and its naming scheme.

Files are read under any of these names: kohya's (lora_unet_….lora_down), LyCORIS's (lycoris_…), diffusers' and peft's
(transformer.….lora_A, unet.….processor.to_q_lora.down), ComfyUI's and ai-toolkit's (diffusion_model.…) and OneTrainer's
(lora_transformer_…).  A place in the model is its part and its path, with _ for every dot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.models.bundled_words import PREFIX, bundled_words
from engine.networks.signs import (
    LOCON,
    LORA,
    NORM,
    Shapes,
    has_core,
    is_complete,
    is_of_several,
    is_wide,
    kind_of_layer,
    rank_of_layer,
    sizes_of_layer,
)  # fmt: skip


class Place(NamedTuple):
    """part: unet, whatever the denoiser is, te1 to te3, or t5.  path: within it, with _ for every dot."""

    part: str
    path: str


@dataclass
class Found:
    """A file's tensors for one module, by how kohya's files end their names: the names here, and the shapes."""

    names: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return kind_of_layer(self.shapes)

    @property
    def has_magnitude(self) -> bool:
        """DoRA's."""
        return "dora_scale" in self.shapes

    @property
    def has_magnitude_on_input(self) -> bool:
        """Whether DoRA's is of the weight's columns; peft has it of rows alone, in a flat tensor."""
        shape = self.shapes.get("dora_scale", ())
        one_row = len(shape) > 1 and shape[0] == 1 < sizes_of_layer(self.shapes).rows
        return one_row and "magnitude_vector" not in self.names["dora_scale"]

    @property
    def down_shape(self) -> tuple[int, ...]:
        """() of kinds without such a matrix."""
        return self.shapes.get("lora_down.weight", ())

    @property
    def rank(self) -> int:
        return rank_of_layer(self.shapes)


@dataclass
class NetworkFile:
    """modules: those of kinds that can be trained here.  kinds: other tensors, by the kind they indicate, in words.

    words: new ones that come with the network, each with how many vectors it is.  unknown: unrecognised names.
    doubled: names that duplicate another tensor.  namings: number of modules' tensors per naming scheme.
    """

    modules: dict[Place, Found] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    words: Mapping[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    namings: Counter[str] = field(default_factory=Counter)

    @property
    def is_network(self) -> bool:
        return bool(self.modules or self.kinds)

    @property
    def foreign(self) -> str:
        """The kind that most tensors indicate of those that cannot be read here, "" if none."""
        return self.kinds.most_common(1)[0][0] if self.kinds else ""

    @property
    def kind(self) -> str:
        """One of signs.py's; of several, the one of most modules; "" if none."""
        counted = self.kinds_of_modules()
        if LOCON in counted:
            counted[LOCON] += counted.pop(LORA, 0)
        return counted.most_common(1)[0][0] if counted else ""

    def kinds_of_modules(self) -> Counter[str]:
        """How many modules are of each; norms are trained beside any."""
        return Counter(found.kind for found in self.modules.values() if found.kind != NORM)

    @property
    def has_magnitudes(self) -> bool:
        """DoRA's."""
        return any(found.has_magnitude for found in self.modules.values())

    @property
    def has_magnitudes_on_input(self) -> bool:
        """In most layers that have any."""
        found = [found.has_magnitude_on_input for found in self.modules.values() if found.has_magnitude]
        return sum(found) * 2 > len(found)

    @property
    def has_norms(self) -> bool:
        return any(found.kind == NORM for found in self.modules.values())

    @property
    def has_biases(self) -> bool:
        """Of native fine-tuning."""
        return any("diff_b" in found.shapes for found in self.modules.values())

    @property
    def has_cores(self) -> bool:
        """Of wide convolutions decomposed after Tucker."""
        return any(has_core(found.shapes) for found in self.modules.values())

    @property
    def naming(self) -> str:
        return self.namings.most_common(1)[0][0] if self.namings else ""

    @property
    def halves(self) -> list[Place]:
        """Modules for which the file does not have all that their kind needs."""
        return [place for place, found in self.modules.items() if not is_complete(found.shapes)]

    @property
    def mixed(self) -> list[Place]:
        """Modules that tensors of several kinds change."""
        return [place for place, found in self.modules.items() if is_of_several(found.shapes)]

    def ranks(self, wide: bool | None = None) -> Counter[int]:
        """wide: only of convolutions of more than one pixel, or only of everything else."""
        return Counter(
            found.rank
            for place, found in self.modules.items()
            if found.rank and (wide is None or wide == self.is_wide(place))
        )

    def is_wide(self, place: Place) -> bool:
        """A convolution of more than one pixel: by its shapes, or by its name where its factors are flat."""
        return is_wide(self.modules[place].shapes) or bool(place.part == "unet" and _WIDE.search(place.path))


_WIDE = re.compile(r"(^conv_(in|out)|^(input_blocks_0_0|out_2)|_(conv[12]?|op|in_layers_2|out_layers_3))$")

_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"\.oft_(diag|R|r)\b", "OFT"),
        (r"\.boft_", "BOFT"),
        (r"\.bm\.weight$", "GLoRA with Tucker decomposition"),
        (r"\.ia3_l\b", "(IA)³"),
        (r"\.vera_lambda_", "VeRA"),
        (r"\.(lora_t[12]|lokr_t1)\b", "LoCon with Tucker decomposition"),
        (r"\.([qp]_layer\.weight|lambda_layer)$", "T-LoRA (LyCORIS)"),
        (r"\.lora_(up|B)(\.[\w-]+)?\.bias$|\.lora_(down|A)(\.[\w-]+)?\.bias$", "LoRA with biases"),
        (r"\.set_weight$", "file of whole weights"),
        (r"^lllite_", "ControlNet-LLLite"),
        (r"\.processor\.(qkv|proj)_lora[12]?\.", "LoRA of XLabs"),
    )
)
"""Marks that no kind has that is trained here."""

_PARTS = tuple(
    (re.compile(pattern), part, naming)
    for pattern, part, naming in (
        (r"lora_unet_", "unet", "kohya"),
        (r"lora_te_", "te1", "kohya"),
        (r"lora_te([123])_", r"te\1", "kohya"),
        (r"oft_unet_", "unet", "kohya"),
        (r"lora_transformer_", "unet", "OneTrainer"),
        (r"lycoris_(?=(text_model_)?encoder_layers_\d)", "te1", "LyCORIS"),
        (r"lycoris_", "unet", "LyCORIS"),
        (r"(base_model\.model\.)?(unet|transformer)\.", "unet", "diffusers"),
        (r"(base_model\.model\.)?text_encoder\.", "te1", "diffusers"),
        (r"(base_model\.model\.)?text_encoder_([23])\.", r"te\2", "diffusers"),
        (r"(model\.)?diffusion_model\.", "unet", "ComfyUI"),
        (r"(text_encoders\.)?clip_[lh]\.(transformer\.)?", "te1", "ComfyUI"),
        (r"(text_encoders\.)?gemma2_2b\.(transformer\.)?(model\.)?", "te1", "ComfyUI"),
        (r"(text_encoders\.)?clip_g\.(transformer\.)?", "te2", "ComfyUI"),
        (r"(text_encoders\.)?t5xxl\.(transformer\.)?", "t5", "ComfyUI"),
        (r"base_model\.model\.(?=(encoder|text_model)\.)", "te1", "peft"),
        (r"(?=text_model\.)", "te1", "diffusers"),
        (r"base_model\.model\.", "unet", "peft"),
    )
)
"""Name prefixes, with the model part they mean and who uses them; other names belong to the unet."""

_ENDS = tuple(
    (re.compile(pattern), end)
    for pattern, end in (
        (r"\.lora_(down|A)(\.[\w-]+)?\.weight$", "lora_down.weight"),
        (r"\.lora_(up|B)(\.[\w-]+)?\.weight$", "lora_up.weight"),
        (r"(\.lora|_lora|\.lora_linear_layer)\.down\.weight$", "lora_down.weight"),
        (r"(\.lora|_lora|\.lora_linear_layer)\.up\.weight$", "lora_up.weight"),
        (r"\.lora_magnitude_vector(\.[\w-]+)?(\.weight)?$", "dora_scale"),
        (
            r"\.(lora_mid\.weight|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|[ab][12]\.weight|on_input|"
            r"oft_blocks(?:\.\d)?|rescale|diff(?:_b)?|[wb]_norm|dora_scale|alpha)$",
            "",
        ),
    )
)
"""How names end, and what kohya's files have there, "" for the same."""

_BESIDE = ("alpha", "dora_scale", "rescale", "diff_b")
"""What no module consists of alone."""


def dialect_of(shapes: Shapes) -> NetworkFile:
    """Identify tensors by these names and shapes."""
    file = NetworkFile(words=bundled_words(shapes))
    scaled = {name.removesuffix(".on_input") for name in shapes if name.endswith(".on_input")}
    beside: list[tuple[Place, str, str]] = []
    for name, shape in shapes.items():
        if name.startswith(PREFIX):
            continue
        if kind := next((kind for pattern, kind in _KINDS if pattern.search(name)), None):
            file.kinds[kind] += 1
            continue
        # Any layer of any model has a weight; (IA)³'s says by a mark beside it that it is one.
        end, stem = ("weight", name[:-7]) if name.endswith(".weight") and name[:-7] in scaled else _end_of(name)
        place, naming = _placed(stem)
        if not end:
            file.unknown.append(name)
        elif end in _BESIDE:
            beside.append((place, end, name))
        elif end in (found := file.modules.setdefault(place, Found())).names:
            file.doubled.append(name)
        else:
            file.namings[naming] += 1
            found.names[end], found.shapes[end] = name, tuple(shape)
    for place, end, name in beside:
        owner = file.modules.get(place)
        if owner and end in owner.names:
            file.doubled.append(name)
        elif owner:
            owner.names[end], owner.shapes[end] = name, tuple(shapes[name])
        elif not file.kinds:
            file.unknown.append(name)
    return file


def place_named(name: str) -> Place:
    """The place that a module name in kohya's files refers to."""
    return _placed(name)[0]


def flattened(path: str) -> str:
    return path.replace(".", "_")


def _end_of(name: str) -> tuple[str, str]:
    """(how it ends in kohya's files, what stands before); ("", name) if that is unknown."""
    for pattern, end in _ENDS:
        if match := pattern.search(name):
            return end or match[1], name[: match.start()]
    return "", name


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
