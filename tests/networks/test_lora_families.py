"""The LoRA files of the families beyond Stable Diffusion 1, as other programs read them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import (
    ChromaTransformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    Lumina2Transformer2DModel,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, Gemma2Config, Gemma2Model

from engine.models import makers
from engine.models.chroma import Chroma
from engine.models.conditioning import Reading
from engine.models.flux import Flux
from engine.models.lumina import LuminaImage2
from engine.models.parts import Parts
from engine.models.sdxl import StableDiffusionXL
from engine.models.targets import Target
from engine.networks.kohya_format import save_lora
from engine.networks.lora import LoraNetwork
from engine.settings.training import TrainingSettings
from tests.models.loading import loaded
from tests.models.small import FAMILIES
from tests.models.small import pipeline as small


def test_an_sdxl_lora_changes_diffusers_answer_as_training_saw_it(tmp_path: Path):
    pipeline = small("sdxl")
    pipeline.save_pretrained(tmp_path / "model")
    family, parts = loaded(tmp_path / "model")
    plain = copy.copy(parts)
    plain.denoiser = copy.deepcopy(parts.denoiser)
    network = LoraNetwork(family.lora_targets(parts), rank=4, alpha=2)
    torch.manual_seed(1)
    for parameter in network.parameters("unet"):
        nn.init.normal_(parameter, std=0.1)
    save_lora(network.state_dict(), {}, tmp_path / "lora.safetensors", torch.float32)
    pipeline.load_lora_weights(tmp_path / "lora.safetensors")
    theirs = copy.copy(parts)
    theirs.denoiser = pipeline.unet

    def answer(of: Parts) -> torch.Tensor:
        torch.manual_seed(2)
        noisy, sizes = torch.randn(1, 4, 8, 8), torch.tensor([[64, 64, 0, 0, 64, 64]])
        with torch.no_grad():
            encoded = family.encode_text(of, ["a red circle"], Reading())
            return family.predict(of, noisy, torch.tensor([500]), encoded, sizes)

    torch.testing.assert_close(answer(parts), answer(theirs), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(answer(parts), answer(plain), atol=1e-3)


def sdxl_on_meta() -> Parts:
    def make(name: str, kind: Any) -> Any:
        return makers.maker(kind, makers.CONFIGS / "sdxl" / name)()

    with torch.device("meta"):
        unet = make("unet", UNet2DConditionModel)
        first, second = make("text_encoder", CLIPTextModel), make("text_encoder_2", CLIPTextModelWithProjection)
    return Parts(unet, nn.Identity(), [first, second], [None, None])


def test_at_sdxls_size_there_are_sd_scripts_722_and_264_modules():
    """sd-scripts says as it begins: 72 modules for text encoder 1, 192 for text encoder 2, 722 for the U-Net."""
    targets = StableDiffusionXL().lora_targets(sdxl_on_meta())
    assert [len(target.attachments) for target in targets] == [72, 192, 722]
    names = {attachment.name for target in targets for attachment in target.attachments}
    assert len(names) == 72 + 192 + 722
    assert {
        "lora_unet_input_blocks_4_1_proj_in",
        "lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj",
        "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_out_0",
        "lora_te1_text_model_encoder_layers_11_mlp_fc2",
        "lora_te2_text_model_encoder_layers_31_self_attn_q_proj",
    } <= names


def flux_on_meta(doubles: int = 19, singles: int = 38) -> Parts:
    with init_empty_weights():
        transformer = FluxTransformer2DModel(num_layers=doubles, num_single_layers=singles, guidance_embeds=True)
        sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        clip = CLIPTextModel(CLIPTextConfig(**sizes))
    return Parts(transformer, nn.Identity(), [clip], [None])


def flux_of_full_width(doubles: int, singles: int) -> list[Target]:
    return Flux(TrainingSettings()).lora_targets(flux_on_meta(doubles, singles))


def test_at_fluxs_size_there_are_sd_scripts_304_and_72_modules():
    """sd-scripts says as it begins: 72 modules for CLIP-L, 304 for FLUX: 10 a double block, 3 a single one."""
    clip, transformer = flux_of_full_width(19, 38)
    assert len(clip.attachments) == 72
    assert len(transformer.attachments) == 19 * 10 + 38 * 3 == 304


def test_at_chromas_size_there_are_228_modules_with_fluxs_names():
    """What sd-scripts' rule leaves of FLUX.1's 304 without modulations of the blocks' own: 8 and 2 a block."""
    with init_empty_weights():
        transformer = ChromaTransformer2DModel()
    (target,) = Chroma(TrainingSettings()).lora_targets(Parts(transformer, nn.Identity(), [], []))
    names = {attachment.name for attachment in target.attachments}
    assert len(names) == len(target.attachments) == 19 * 8 + 38 * 2 == 228
    assert names <= {attachment.name for attachment in flux_of_full_width(19, 38)[1].attachments}


def test_at_luminas_size_there_are_sd_scripts_182_and_180_modules():
    """7 matrices a layer of Gemma 2's 26; 6 a block of 28, 5 of each of 2 that are not told the time, 2 at the end."""
    with init_empty_weights():
        transformer, gemma = Lumina2Transformer2DModel(cap_feat_dim=2304), Gemma2Model(Gemma2Config())
    targets = LuminaImage2(TrainingSettings()).lora_targets(Parts(transformer, nn.Identity(), [gemma], [None]))
    assert [len(target.attachments) for target in targets] == [26 * 7, 28 * 6 + 2 * 5 + 2]
    names = {attachment.name for target in targets for attachment in target.attachments}
    assert len(names) == 182 + 180
    assert {
        "lora_unet_context_refiner_1_attention_qkv",
        "lora_unet_noise_refiner_0_adaLN_modulation_1",
        "lora_unet_layers_25_feed_forward_w3",
        "lora_unet_layers_0_attention_out",
        "lora_unet_final_layer_linear",
        "lora_unet_final_layer_adaLN_modulation_1",
        "lora_te_layers_25_self_attn_o_proj",
        "lora_te_layers_0_mlp_gate_proj",
    } <= names


def test_a_flux_lora_is_taken_apart_by_diffusers_as_it_was_put_together():
    """diffusers knows FLUX.1's own width alone, so the blocks are of it, but only two."""
    _, target = flux_of_full_width(1, 1)
    torch.manual_seed(0)
    weights: dict[str, torch.Tensor] = {}
    shapes = {path: m.weight.shape for path, m in target.module.named_modules() if isinstance(m, nn.Linear)}
    for attachment in target.attachments:
        rows = sum(shapes[path][0] for path in attachment.paths)
        weights[f"{attachment.name}.lora_down.weight"] = torch.randn(4, shapes[attachment.paths[0]][1])
        weights[f"{attachment.name}.lora_up.weight"] = torch.randn(rows, 4)
        weights[f"{attachment.name}.alpha"] = torch.tensor(4.0)
    read = FluxPipeline.lora_state_dict(dict(weights))
    seen = 0
    for attachment in target.attachments:
        up = weights[f"{attachment.name}.lora_up.weight"]
        parts = up.split([shapes[path][0] for path in attachment.paths])
        for path, part in zip(attachment.paths, parts, strict=True):
            down = read[f"transformer.{path}.lora_A.weight"]
            assert torch.equal(down, weights[f"{attachment.name}.lora_down.weight"]), path
            assert torch.equal(read[f"transformer.{path}.lora_B.weight"], part), path
            seen += 2
    assert seen == len(read)


@pytest.mark.parametrize("family_name", FAMILIES)
def test_a_denoiser_learns_one_picture(family_name: str, tmp_path: Path):
    """Its loss on one noisy picture falls below a tenth: the objective asks for something that can be learned."""
    small(family_name).save_pretrained(tmp_path)
    switches = {"model_prediction_type": "raw", "weighting_scheme": "uniform", "lumina_timestep_sampling": "sigma"}
    family, parts = loaded(tmp_path, **switches)
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(tmp_path), **switches})
    objective = family.objective(settings, parts)
    torch.manual_seed(0)
    with torch.no_grad():
        latents, beside = parts.split_channels(parts.encode(torch.rand(1, 3, 64, 64) * 2 - 1, None))
        encoded = family.encode_text(parts, ["a red circle"], Reading()) | beside
    parts.denoiser.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(parts.denoiser.parameters(), lr=3e-3)
    losses = []
    for _ in range(120):
        torch.manual_seed(7)
        batch = objective.corrupt(latents)
        answer = family.predict(parts, batch.noisy, batch.timesteps, encoded, torch.tensor([[64, 64, 0, 0, 64, 64]]))
        loss = objective.loss(answer, batch).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert min(losses[-10:]) < losses[0] / 10
