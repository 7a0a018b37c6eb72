"""The original files' names and shapes, both ways: against diffusers' converters, and at full size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKL,
    ChromaTransformer2DModel,
    FluxTransformer2DModel,
    Lumina2Transformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.loaders import single_file_utils as converters
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from engine.models import makers
from engine.models.layouts.clip import clip_entries, open_clip_entries
from engine.models.layouts.entry import Entry, from_original, to_original
from engine.models.layouts.flux import flux_entries
from engine.models.layouts.lumina import lumina_entries
from engine.models.layouts.mmdit import mmdit_entries
from engine.models.layouts.unet import PREFIX as UNET
from engine.models.layouts.unet import unet_entries
from engine.models.layouts.vae import vae_entries
from tests.models.small import pipeline


def unet_by_diffusers(weights: dict[str, torch.Tensor], unet: Any) -> Any:
    return converters.convert_ldm_unet_checkpoint(weights, dict(unet.config))


def mmdit_by_diffusers(weights: dict[str, torch.Tensor], transformer: Any) -> Any:
    return converters.convert_sd3_transformer_checkpoint_to_diffusers(weights)


CONVERTERS = {
    "sd2": ("unet", unet_entries, unet_by_diffusers),
    "sdxl": ("unet", unet_entries, unet_by_diffusers),
    "sd3": ("transformer", mmdit_entries, mmdit_by_diffusers),
}


def assert_comes_back(module: Any, entries: list[Entry]) -> dict[str, torch.Tensor]:
    """Out and in again, every tensor is what it was; returns the original's."""
    original = to_original(module, entries)
    assert len(original) == len(entries)
    state = module.state_dict()
    again = from_original(module, entries, original)
    assert again.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.items())
    return original


@pytest.mark.parametrize("family", CONVERTERS)
def test_a_denoiser_goes_out_as_diffusers_would_read_it(family: str):
    name, entries, convert = CONVERTERS[family]
    module = getattr(pipeline(family), name)
    read = convert(assert_comes_back(module, entries(module)), module)
    assert read.keys() == module.state_dict().keys()
    assert all(torch.equal(tensor, module.state_dict()[key]) for key, tensor in read.items())


@pytest.mark.parametrize(
    ("family", "entries"), [("flux", flux_entries), ("chroma", flux_entries), ("lumina", lumina_entries)]
)
def test_transformers_that_diffusers_reads_at_full_size_alone_come_back(family: str, entries: Any):
    transformer = pipeline(family).transformer
    assert_comes_back(transformer, entries(transformer))


@pytest.mark.parametrize("family", ["sdxl", "sd3"])
def test_a_vae_goes_out_as_diffusers_would_read_it(family: str):
    vae = pipeline(family).vae
    read = converters.convert_ldm_vae_checkpoint(assert_comes_back(vae, vae_entries(vae)), dict(vae.config))
    assert all(torch.equal(tensor, vae.state_dict()[key]) for key, tensor in read.items())


def test_an_open_clip_goes_out_as_diffusers_would_read_it():
    encoder = pipeline("sdxl").text_encoder_2
    prefix = "conditioner.embedders.1.model."
    original = assert_comes_back(encoder, open_clip_entries(encoder, prefix))
    read = converters.convert_open_clip_checkpoint(encoder, dict(original), prefix=prefix)
    assert read.keys() == encoder.state_dict().keys()
    assert all(torch.equal(tensor, encoder.state_dict()[key]) for key, tensor in read.items())


def of_configs(family: str, name: str, kind: Any) -> Any:
    with init_empty_weights():
        return makers.maker(kind, makers.CONFIGS / family / name)()


def test_at_full_size_sdxl_has_all_tensors_of_the_published_file():
    """sd_xl_base_1.0 has 2515: 1680, 248, 197 and 390; a table of positions and a temperature are of no use here."""
    unet = of_configs("sdxl", "unet", UNet2DConditionModel)
    first = of_configs("sdxl", "text_encoder", CLIPTextModel)
    second = of_configs("sdxl", "text_encoder_2", CLIPTextModelWithProjection)
    vae = of_configs("sdxl", "vae", AutoencoderKL)
    entries = (unet_entries(unet), vae_entries(vae), clip_entries(first, ""), open_clip_entries(second, ""))
    assert [len(one) for one in entries] == [1680, 248, 197 - 1, 390 - 1]
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684  # as Podell et al.'s 2.6 billion, exactly


@pytest.mark.parametrize(
    ("family", "channels", "sizes"),
    [
        ("sdxl-refiner", 4, {"label_emb.0.0.weight": (1536, 2560), "middle_block.1.proj_in.weight": (1536, 1536)}),
        ("sdxl", 9, {"input_blocks.0.0.weight": (320, 9, 3, 3)}),
        ("sd1", 9, {"input_blocks.0.0.weight": (320, 9, 3, 3)}),
        ("sd2", 9, {"input_blocks.0.0.weight": (320, 9, 3, 3)}),
        ("sd2", 5, {"input_blocks.0.0.weight": (320, 5, 3, 3)}),
    ],
)
def test_at_full_size_variants_of_unets_map_onto_diffusers(
    family: str, channels: int, sizes: dict[str, tuple[int, ...]]
):
    config = makers.CONFIGS / family / "unet"
    with init_empty_weights(include_buffers=True):
        unet = makers.maker(UNet2DConditionModel, config, in_channels=channels)()
    original = to_original(unet, unet_entries(unet))
    assert {name: tuple(original[UNET + name].shape) for name in sizes} == sizes
    read = unet_by_diffusers(dict(original), unet)
    assert {name: t.shape for name, t in read.items()} == {n: t.shape for n, t in unet.state_dict().items()}


def test_at_full_size_fluxs_transformer_has_all_780_tensors_of_the_published_file():
    with init_empty_weights():
        transformer = FluxTransformer2DModel(guidance_embeds=True)
    entries = flux_entries(transformer)
    assert len({entry.original for entry in entries}) == len(entries) == 780
    with torch.device("meta"):
        original = to_original(transformer, entries)
    assert original["double_blocks.18.img_attn.qkv.weight"].shape == (9216, 3072)
    assert original["single_blocks.37.linear1.weight"].shape == (21504, 3072)
    read = converters.convert_flux_transformer_checkpoint_to_diffusers(dict(original))
    assert {name: t.shape for name, t in read.items()} == {n: t.shape for n, t in transformer.state_dict().items()}


def test_at_full_size_chromas_transformer_has_all_643_tensors_of_the_published_file():
    """20 a double block, 6 a single one, 29 of the network that makes the modulations, 6 at the ends."""
    with init_empty_weights():
        transformer = ChromaTransformer2DModel()
    entries = flux_entries(transformer)
    assert len({entry.original for entry in entries}) == len(entries) == 19 * 20 + 38 * 6 + 29 + 6
    with torch.device("meta"):
        original = to_original(transformer, entries)
    assert original["distilled_guidance_layer.in_proj.weight"].shape == (5120, 64)
    assert original["distilled_guidance_layer.norms.4.scale"].shape == (5120,)
    assert original["single_blocks.37.linear1.weight"].shape == (21504, 3072)
    read = converters.convert_chroma_transformer_checkpoint_to_diffusers(dict(original))
    assert {name: t.shape for name, t in read.items()} == {n: t.shape for n, t in transformer.state_dict().items()}


def test_at_full_size_luminas_transformer_has_all_tensors_of_the_published_file():
    """400: 13 a block of 28, 11 of each of 2 that are not told the time, 13 at the ends, and one that nothing uses."""
    with init_empty_weights():
        transformer = Lumina2Transformer2DModel(cap_feat_dim=2304)
    entries = lumina_entries(transformer)
    assert len({entry.original for entry in entries}) == len(entries) == 28 * 13 + 2 * 11 + 13 == 400 - 1
    with torch.device("meta"):
        original = to_original(transformer, entries)
    assert original["layers.25.attention.qkv.weight"].shape == (2304 + 2 * 768, 2304)
    assert original["context_refiner.1.attention_norm1.weight"].shape == (2304,)
    read = converters.convert_lumina2_to_diffusers(dict(original))
    assert {name: t.shape for name, t in read.items()} == {n: t.shape for n, t in transformer.state_dict().items()}


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "qk_norm": "rms_norm"},
        {"qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13)), "pos_embed_max_size": 384},
    ],
    ids=["3-medium", "3.5-large", "3.5-medium"],
)
def test_at_full_size_sd3s_transformers_map_onto_diffusers(kind: dict[str, Any]):
    plain = {
        "sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64,
        "joint_attention_dim": 4096, "caption_projection_dim": 1536, "pooled_projection_dim": 2048,
        "out_channels": 16, "pos_embed_max_size": 192,
    }  # fmt: skip
    with init_empty_weights(include_buffers=True):
        transformer = SD3Transformer2DModel(**(plain | kind))
    original = to_original(transformer, mmdit_entries(transformer))
    read = converters.convert_sd3_transformer_checkpoint_to_diffusers(dict(original))
    assert {name: t.shape for name, t in read.items()} == {n: t.shape for n, t in transformer.state_dict().items()}


def test_at_full_size_sd2_reads_with_23_layers():
    encoder = of_configs("sd2", "text_encoder", CLIPTextModel)
    names = {entry.original for entry in open_clip_entries(encoder, "")}
    assert len(names) == 23 * 12 + 4
    assert isinstance(encoder.config, CLIPTextConfig)
    assert encoder.config.hidden_size == 1024
