"""The LoRA files of the families beyond Stable Diffusion 1, as other programs read them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import FluxPipeline, FluxTransformer2DModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from engine.models import checkpoint
from engine.models.family import Parts, Reading, Target
from engine.models.flux import Flux
from engine.models.sdxl import StableDiffusionXL
from engine.models.vae import to_latents
from engine.networks.kohya_format import save_lora
from engine.networks.lora import LoraNetwork
from engine.settings.flux import Flux as FluxSettings
from engine.settings.training import TrainingSettings
from tests.models.loading import loaded
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
        return checkpoint.maker(kind, checkpoint.CONFIGS / "sdxl" / name)()

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


def flux_of_full_width(doubles: int, singles: int) -> list[Target]:
    with init_empty_weights():
        transformer = FluxTransformer2DModel(num_layers=doubles, num_single_layers=singles, guidance_embeds=True)
        clip = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12))
    return Flux(FluxSettings()).lora_targets(Parts(transformer, nn.Identity(), [clip], [None]))


def test_at_fluxs_size_there_are_sd_scripts_304_and_72_modules():
    """sd-scripts says as it begins: 72 modules for CLIP-L, 304 for FLUX: 10 a double block, 3 a single one."""
    clip, transformer = flux_of_full_width(19, 38)
    assert len(clip.attachments) == 72
    assert len(transformer.attachments) == 19 * 10 + 38 * 3 == 304


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


@pytest.mark.parametrize("family_name", ["sd2", "sdxl", "sd3", "flux"])
def test_a_denoiser_learns_one_picture(family_name: str, tmp_path: Path):
    """Its loss on one noisy picture falls below a tenth: the objective asks for something that can be learned."""
    small(family_name).save_pretrained(tmp_path)
    switches = {"model_prediction_type": "raw", "weighting_scheme": "uniform"}
    family, parts = loaded(tmp_path, **switches)
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(tmp_path), **switches})
    objective = family.objective(settings, parts)
    torch.manual_seed(0)
    with torch.no_grad():
        latents = to_latents(parts.vae, torch.rand(1, 3, 64, 64) * 2 - 1, None)
        encoded = family.encode_text(parts, ["a red circle"], Reading())
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
