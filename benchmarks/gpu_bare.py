"""What one writes by hand with diffusers and peft, and nothing of ours: the loop that the engine is measured beside.

The model, the places of the LoRA and the shapes are the engine's; latents and captions are noise of their shapes, for
they are made before the loop in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler, FluxPipeline
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from benchmarks.gpu_meter import Meter

TOKENS, RATE = 77, 1e-4
HALF = torch.bfloat16


def bare_loop(family: Any, parts: Any, settings: Any, device: str, meter: Meter) -> None:
    """Step until the meter has seen enough.  Raises Stopped."""
    denoiser, size = parts.denoiser, settings.network.network_dim
    paths = [
        path
        for target in family.lora_targets(parts)
        if target.group == "unet"
        for place in target.attachments
        for path in place.paths
    ]
    inject_adapter_in_model(LoraConfig(r=size, lora_alpha=size, target_modules=paths), denoiser)
    denoiser.to(device).train()
    learned = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.data = parameter.data.float()
    if settings.hardware.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(learned, lr=RATE)
    loss_of = _flow(parts, settings, device) if parts.prediction == "flow" else _noise(parts, settings, device)
    meter.stage("training")
    while True:
        with torch.autocast(device, HALF, enabled=settings.hardware.mixed_precision == "bf16"):
            loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        meter.step()


def _latents(parts: Any, settings: Any, device: str) -> Tensor:
    width, height = settings.dataset.size()
    shape = settings.optimizer.train_batch_size, parts.channels, height // parts.stride, width // parts.stride
    return torch.randn(shape, device=device)


def _noise(parts: Any, settings: Any, device: str) -> Callable[[], Tensor]:
    """Of a UNet that predicts noise."""
    unet, clean = parts.denoiser, _latents(parts, settings, device)
    scheduler, config = DDPMScheduler(beta_schedule="scaled_linear"), unet.config
    states = torch.randn(len(clean), TOKENS, config.cross_attention_dim, device=device, dtype=unet.dtype)
    more = None
    if config.addition_embed_type:
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        more = {
            "text_embeds": torch.randn(len(clean), pooled, device=device, dtype=unet.dtype),
            "time_ids": torch.full((len(clean), 6), float(settings.dataset.size()[0]), device=device),
        }

    def loss_of() -> Tensor:
        noise = torch.randn_like(clean)
        t = torch.randint(0, 1000, (len(clean),), device=device)
        noisy = scheduler.add_noise(clean, noise, t).to(unet.dtype)
        prediction = unet(noisy, t, encoder_hidden_states=states, added_cond_kwargs=more).sample
        return torch.nn.functional.mse_loss(prediction.float(), noise)

    return loss_of


def _flow(parts: Any, settings: Any, device: str) -> Callable[[], Tensor]:
    """Of FLUX.1's transformer, which predicts the way from picture to noise."""
    transformer, clean = parts.denoiser, _latents(parts, settings, device)
    config, (batch, channels, height, width) = transformer.config, clean.shape
    half = {"device": device, "dtype": HALF}
    states = torch.randn(batch, settings.flux.t5xxl_max_token_length, config.joint_attention_dim, **half)
    pooled = torch.randn(batch, config.pooled_projection_dim, **half)
    text_ids = torch.zeros(states.shape[1], 3, **half)
    image_ids = FluxPipeline._prepare_latent_image_ids(batch, height // 2, width // 2, device, HALF)
    guidance = torch.ones(batch, device=device)

    def loss_of() -> Tensor:
        noise = torch.randn_like(clean)
        t = torch.sigmoid(torch.randn(batch, device=device))
        noisy = (1 - t)[:, None, None, None] * clean + t[:, None, None, None] * noise
        prediction = transformer(
            hidden_states=FluxPipeline._pack_latents(noisy.to(HALF), batch, channels, height, width),
            timestep=t.to(HALF), guidance=guidance, encoder_hidden_states=states, pooled_projections=pooled,
            txt_ids=text_ids, img_ids=image_ids,
        ).sample  # fmt: skip
        wanted = FluxPipeline._pack_latents(noise - clean, batch, channels, height, width)
        return torch.nn.functional.mse_loss(prediction.float(), wanted)

    return loss_of
