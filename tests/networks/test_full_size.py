"""At full size, every tensor of a file has the name and shape that LyCORIS's own wrapper gives it, and sd-scripts."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate import init_empty_weights
from lycoris.config import PRESET
from torch import nn

from engine.models.family import Family
from engine.models.flux import Flux
from engine.models.parts import Parts
from engine.models.sd import StableDiffusion
from engine.models.sdxl import StableDiffusionXL
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.networks.test_lora import sd15_on_meta
from tests.networks.test_lora_families import flux_on_meta, sdxl_on_meta

Shapes = Mapping[str, tuple[int, ...]]

RANKS = {"network_dim": 8, "network_alpha": 4, "conv_dim": 4, "conv_alpha": 2}

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "LoCon": ({"lora_type": "LyCORIS/LoCon"}, {"algo": "lora"}),
    "LoCon, Tucker": ({"lora_type": "LyCORIS/LoCon", "use_tucker": True}, {"algo": "lora", "use_tucker": True}),
    "LoCon, DoRA on input": (
        {"lora_type": "LyCORIS/LoCon", "dora_wd": True, "wd_on_output": False},
        {"algo": "lora", "dora_wd": True, "wd_on_output": False},
    ),
    "LoCon, DoRA": ({"lora_type": "LyCORIS/LoCon", "dora_wd": True}, {"algo": "lora", "dora_wd": True}),
    "LoHa": ({"lora_type": "LyCORIS/LoHa"}, {"algo": "loha"}),
    "LoHa, Tucker": ({"lora_type": "LyCORIS/LoHa", "use_tucker": True}, {"algo": "loha", "use_tucker": True}),
    "LoKr": ({"lora_type": "LyCORIS/LoKr"}, {"algo": "lokr"}),
    "LoKr, factor 8, both": (
        {"lora_type": "LyCORIS/LoKr", "lokr_factor": 8, "decompose_both": True, "use_tucker": True},
        {"algo": "lokr", "factor": 8, "decompose_both": True, "use_tucker": True},
    ),
    "LoKr, full": ({"lora_type": "LyCORIS/LoKr", "full_matrix": True}, {"algo": "lokr", "full_matrix": True}),
    "LoKr, unbalanced": (
        {"lora_type": "LyCORIS/LoKr", "unbalanced_factorization": True, "lokr_factor": 4},
        {"algo": "lokr", "unbalanced_factorization": True, "factor": 4},
    ),
    "(IA)³": ({"lora_type": "LyCORIS/iA3", "train_on_input": False}, {"algo": "ia3"}),
    "GLoRA": ({"lora_type": "LyCORIS/GLoRA"}, {"algo": "glora"}),
    "Native": ({"lora_type": "LyCORIS/Native Fine-Tuning"}, {"algo": "full"}),
    "Diag-OFT": ({"lora_type": "LyCORIS/Diag-OFT"}, {"algo": "diag-oft"}),
}
"""What our settings say, and what LyCORIS's maker is told."""

CASES = (
    [("sd15", kind, "full") for kind in KINDS]
    + [("sd15", "(IA)³", "ia3")]
    + [
        (family, kind, preset)
        for family, presets in {
            "sd15": ("attn-mlp",),
            "sdxl": ("full", "attn-mlp"),
            "flux": ("full", "attn-mlp"),
        }.items()
        for preset in presets
        for kind in ("LoCon", "LoHa", "LoKr")
    ]
)
"""What a kind makes of a shape hangs on no family."""

TIMES = {"lora_unet_time_embedding_linear_1", "lora_unet_time_embedding_linear_2"}


class Tree(nn.Module):
    """A module whose children have these names, which may have dots."""

    def __init__(self, children: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for path, child in children.items():
            *outer, name = path.split(".")
            inner: nn.Module = self
            for part in outer:
                if not hasattr(inner, part):
                    inner.add_module(part, nn.Module())
                inner = inner.get_submodule(part)
            inner.add_module(name, child)


def of_class(name: str, children: Mapping[str, nn.Module]) -> nn.Module:
    """LyCORIS knows blocks by the names of their classes."""
    made: nn.Module = type(name, (Tree,), {})(children)
    return made


def resnet(into: int, out: int) -> nn.Module:
    layers: dict[str, nn.Module] = {
        "in_layers.2": nn.Conv2d(into, out, 3), "emb_layers.1": nn.Linear(1280, out),
        "out_layers.3": nn.Conv2d(out, out, 3),
    }  # fmt: skip
    if into != out:
        layers["skip_connection"] = nn.Conv2d(into, out, 1)
    return of_class("ResnetBlock2D", layers)


def transformer(width: int, depth: int) -> nn.Module:
    layers: dict[str, nn.Module] = {"proj_in": nn.Linear(width, width), "proj_out": nn.Linear(width, width)}
    for number in range(depth):
        block: dict[str, nn.Module] = {"ff.net.0.proj": nn.Linear(width, 8 * width)}
        block["ff.net.2"] = nn.Linear(4 * width, width)
        for name, told in (("attn1", width), ("attn2", 2048)):
            block |= {f"{name}.to_q": nn.Linear(width, width), f"{name}.to_k": nn.Linear(told, width),
                      f"{name}.to_v": nn.Linear(told, width), f"{name}.to_out.0": nn.Linear(width, width)}  # fmt: skip
        layers |= {f"transformer_blocks.{number}.{name}": layer for name, layer in block.items()}
    return of_class("Transformer2DModel", layers)


def sdxl_unet() -> nn.Module:
    """As the original file and sd-scripts have it: by what Podell et al. 2023 (arXiv:2307.01952) say of it."""
    with torch.device("meta"):
        down, up = (
            lambda width: of_class("Downsample2D", {"op": nn.Conv2d(width, width, 3)}),
            lambda width: of_class("Upsample2D", {"conv": nn.Conv2d(width, width, 3)}),
        )
        layers: dict[str, nn.Module] = {
            "time_embed.0": nn.Linear(320, 1280), "time_embed.2": nn.Linear(1280, 1280),
            "label_emb.0.0": nn.Linear(2816, 1280), "label_emb.0.2": nn.Linear(1280, 1280),
            "input_blocks.0.0": nn.Conv2d(4, 320, 3), "out.2": nn.Conv2d(320, 4, 3),
            "input_blocks.1.0": resnet(320, 320), "input_blocks.2.0": resnet(320, 320), "input_blocks.3.0": down(320),
            "input_blocks.4.0": resnet(320, 640), "input_blocks.4.1": transformer(640, 2),
            "input_blocks.5.0": resnet(640, 640), "input_blocks.5.1": transformer(640, 2),
            "input_blocks.6.0": down(640),
            "input_blocks.7.0": resnet(640, 1280), "input_blocks.7.1": transformer(1280, 10),
            "input_blocks.8.0": resnet(1280, 1280), "input_blocks.8.1": transformer(1280, 10),
            "middle_block.0": resnet(1280, 1280), "middle_block.1": transformer(1280, 10),
            "middle_block.2": resnet(1280, 1280),
            "output_blocks.0.0": resnet(2560, 1280), "output_blocks.0.1": transformer(1280, 10),
            "output_blocks.1.0": resnet(2560, 1280), "output_blocks.1.1": transformer(1280, 10),
            "output_blocks.2.0": resnet(1920, 1280), "output_blocks.2.1": transformer(1280, 10),
            "output_blocks.2.2": up(1280),
            "output_blocks.3.0": resnet(1920, 640), "output_blocks.3.1": transformer(640, 2),
            "output_blocks.4.0": resnet(1280, 640), "output_blocks.4.1": transformer(640, 2),
            "output_blocks.5.0": resnet(960, 640), "output_blocks.5.1": transformer(640, 2),
            "output_blocks.5.2": up(640),
            "output_blocks.6.0": resnet(960, 320), "output_blocks.7.0": resnet(640, 320),
            "output_blocks.8.0": resnet(640, 320),
        }  # fmt: skip
        return Tree(layers)


def flux_transformer() -> nn.Module:
    """As the original file has it, whose attention is one matrix of queries, keys and values."""
    with torch.device("meta"):
        width, wide = 3072, 4 * 3072
        double, single = {}, {"linear1": nn.Linear(width, 3 * width + wide), "linear2": nn.Linear(width + wide, width)}
        for side in ("img", "txt"):
            double |= {
                f"{side}_mod.lin": nn.Linear(width, 6 * width), f"{side}_attn.qkv": nn.Linear(width, 3 * width),
                f"{side}_attn.proj": nn.Linear(width, width), f"{side}_mlp.0": nn.Linear(width, wide),
                f"{side}_mlp.2": nn.Linear(wide, width),
            }  # fmt: skip
        single["modulation.lin"] = nn.Linear(width, 3 * width)
        layers = {f"double_blocks.{n}": of_class("DoubleStreamBlock", copies(double)) for n in range(19)}
        layers |= {f"single_blocks.{n}": of_class("SingleStreamBlock", copies(single)) for n in range(38)}
        return Tree({"img_in": nn.Linear(64, width), "final_layer.linear": nn.Linear(width, 64), **layers})


def copies(layers: Mapping[str, nn.Linear]) -> dict[str, nn.Module]:
    return {name: nn.Linear(layer.in_features, layer.out_features) for name, layer in layers.items()}


def as_of_old(encoder: nn.Module) -> nn.Module:
    """transformers 4 kept a CLIP's layers below a text_model, by which the files call them."""
    return encoder if hasattr(encoder, "text_model") else Tree({"text_model": encoder})


@dataclass(frozen=True)
class FullSize:
    """Without weights.  text_encoders, denoiser: as sd-scripts gives them to LyCORIS."""

    family: Family
    parts: Parts
    text_encoders: Any
    denoiser: nn.Module


def _sd15() -> FullSize:
    parts = sd15_on_meta()
    # sd-scripts' UNet of Stable Diffusion 1 has diffusers' names.
    return FullSize(StableDiffusion(), parts, as_of_old(parts.text_encoders[0]), parts.denoiser)


def _sdxl() -> FullSize:
    parts = sdxl_on_meta()
    return FullSize(StableDiffusionXL(), parts, [as_of_old(encoder) for encoder in parts.text_encoders], sdxl_unet())


def _flux() -> FullSize:
    parts = flux_on_meta(19, 38)
    return FullSize(Flux(TrainingSettings()), parts, [as_of_old(parts.text_encoders[0])], flux_transformer())


MODELS = {"sd15": _sd15, "sdxl": _sdxl, "flux": _flux}


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> FullSize:
    return MODELS[request.param]()


@pytest.fixture(autouse=True)
def lycoris_as_it_was(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """It keeps the preset that it was last given in a class, and lists every class of a preset that it did not meet."""
    from lycoris.kohya import LycorisNetworkKohya

    caplog.set_level(logging.ERROR, "LyCORIS")
    before = {name: value for name, value in vars(LycorisNetworkKohya).items() if name.isupper()}
    yield
    for name, value in before.items():
        setattr(LycorisNetworkKohya, name, value)


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """On the meta device torch takes a millisecond for each tensor of random numbers that have no place there."""
    with mock.patch.object(torch.Tensor, "normal_", lambda tensor, *_, **__: tensor):
        yield


def ours(model: FullSize, **given: Any) -> Shapes:
    settings = TrainingSettings().with_values(RANKS | given)
    parts = copy.deepcopy(model.parts)
    with torch.device("meta"), nothing_drawn():
        method = LoraMethod(model.family, parts, settings, total_steps=1, dtype=torch.float32)
        return {name: tuple(tensor.shape) for name, tensor in method.network.file_weights().items()}


def theirs(model: FullSize, **told: Any) -> Shapes:
    from lycoris.kohya import create_network

    # DoRA's sizes begin as those of a copy of the weights, which have no contents to copy.
    with init_empty_weights(), nothing_drawn(), mock.patch.object(torch.Tensor, "cpu", torch.Tensor.detach):
        network = create_network(
            1.0, 8, 4, None, model.text_encoders, model.denoiser, conv_dim=4, conv_alpha=2, warn_on_unmatched=False,
            **told,
        )  # fmt: skip
        return {
            f"{module.lora_name}.{end}": tuple(tensor.shape)
            for module in network.loras
            for end, tensor in module.state_dict().items()
        }


def places(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.fixture
def without_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """LyCORIS 4.1 lists a class TimestepEmbedding for Anima's sake, and SD 1's has that name too: see below."""
    for preset in PRESET.values():
        classes = [name for name in preset["unet_target_module"] if name != "TimestepEmbedding"]
        monkeypatch.setitem(preset, "unet_target_module", classes)


@pytest.fixture
def by_whole_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """LyCORIS 4.1 compares whole paths, and its preset ia3 has their ends: it meets no layer of any model."""
    preset = PRESET["ia3"]
    for names in ("unet_target_name", "text_encoder_target_name"):
        monkeypatch.setitem(preset, names, [f".*{name}" for name in preset[names]])
    algorithms = {f".*{name}": told for name, told in preset["name_algo_map"].items()}
    monkeypatch.setitem(preset, "name_algo_map", algorithms)


@pytest.mark.usefixtures("without_times", "by_whole_paths")
@pytest.mark.parametrize(("model", "kind", "preset"), CASES, indirect=["model"])
def test_names_and_shapes_are_those_of_lycoris_s_own_wrapper(model: FullSize, kind: str, preset: str):
    ours_given, told = KINDS[kind]
    found, expected = ours(model, lycoris_preset=preset, **ours_given), theirs(model, preset=preset, **told)
    assert places(found) == places(expected)
    assert found == expected


def test_of_sd_1_lycoris_4_1_hits_the_time_embedding_with_a_rule_for_another_model():
    """Once by the class that Anima's has as well, and in the full preset once more by its name, which it refuses."""
    model = _sd15()
    more = places(theirs(model, preset="attn-mlp", algo="lora"))
    assert more - places(ours(model, lora_type="LyCORIS/LoCon", lycoris_preset="attn-mlp")) == TIMES
    with pytest.raises(AssertionError, match="duplicated lora name: lora_unet_time_embedding_linear_1"):
        theirs(model, preset="full", algo="lora")
    assert places(ours(model, lora_type="LyCORIS/LoCon")) > TIMES


STANDARD = {
    "sd15": (528, "60edf0b7f830b06adf65239debb44038a9be2cda888bc68b9a70e8dc89a7a516"),
    "sdxl": (1972, "51b6b760a251884082d493d6f0f03aff60cfbef3046357e65a09ff2c52bb8dd7"),
    "flux": (752, "66447a3f98a9faa63f6ec9d74e86af27e0f7c0cb5136acf558fc43b2c20d52ba"),
}
"""Matrices in a rank 8 file that sd-scripts wrote, and the SHA-256 of their sorted lines NAME<tab>SHAPE; FLUX's without
T5's 336, which is not trained here."""


@pytest.mark.parametrize("family", STANDARD)
def test_a_standard_lora_is_the_file_that_sd_scripts_writes(family: str):
    shapes = ours(MODELS[family](), lora_type="Standard")
    matrices = {name: shape for name, shape in shapes.items() if not name.endswith(".alpha")}
    lines = sorted(f"{name}\t{'x'.join(map(str, shape))}" for name, shape in matrices.items())
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()) == STANDARD[family]
    assert {f"{place}.alpha" for place in places(matrices)} == set(shapes) - set(matrices)
