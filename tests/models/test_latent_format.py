"""What each model's latents look like in a file: as sd-scripts' VAE of that model answers, scaled or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data.buckets import Placed
from engine.data.kept import OnDisk
from engine.data.latent_files import Wanted
from engine.data.source import Source
from engine.models.fingerprint import OF_THE_DECODER, fingerprint
from engine.models.vae import to_latents
from tests.models.loading import loaded
from tests.models.small import pipeline


@pytest.mark.parametrize(("name", "switch", "file", "key"), [
    ("sdxl", "sdxl", "a_0064x0048_sdxl.npz", "latents"),
    ("sd3", "sd3_checkbox", "a_0064x0048_sd3.npz", "latents_{h}x{w}"),
    ("flux", "flux1_checkbox", "a_0064x0048_flux.npz", "latents_{h}x{w}"),
])  # fmt: skip
def test_latents_are_kept_as_sd_scripts_keeps_them(name: str, switch: str, file: str, key: str, tmp_path: Path):
    pipeline(name).save_pretrained(tmp_path / "model")
    family, parts = loaded(tmp_path / "model", **{switch: True})
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    source = Source(tmp_path / "a.png", Placed((64, 48), (64, 48), original=(64, 48)))
    pixels = torch.rand(1, 3, 48, 64) * 2 - 1
    with torch.no_grad():
        encoded = to_latents(parts.vae, pixels, [torch.Generator().manual_seed(3)])
        drawn = parts.vae.encode(pixels).latent_dist.sample([torch.Generator().manual_seed(3)])
    kept = OnDisk(family.latent_format(parts), Wanted("a"))
    kept.keep(source, encoded[0], None, None)
    height, width = encoded.shape[-2:]
    with np.load(tmp_path / file) as written:
        latents = written[key.format(h=height, w=width)]
    config = parts.vae.config
    # sd-scripts' VAE for FLUX.1 shifts and scales where it encodes; of the others, the training does.
    expected = (drawn - config.shift_factor) * config.scaling_factor if name == "flux" else drawn
    np.testing.assert_allclose(latents, expected[0].numpy(), rtol=1e-5, atol=1e-5)
    assert kept.lacking([source]) == []
    torch.testing.assert_close(kept.get(source, False)[0], encoded[0], rtol=1e-5, atol=1e-5)


def test_a_fingerprint_tells_encoders_apart_and_passes_over_the_decoder(tmp_path: Path):
    vae = pipeline("sdxl").vae

    def of(module: torch.nn.Module) -> str:
        return fingerprint([module], without=OF_THE_DECODER)

    before = of(vae)
    with torch.no_grad():
        vae.decoder.conv_in.weight += 1
        assert of(vae) == before
        vae.encoder.conv_in.weight += 0.01
    after = of(vae)
    assert after != before
    assert of(vae.to(torch.bfloat16)) != after
