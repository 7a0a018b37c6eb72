"""What a hub model that is not here has of blocks, by its name."""

from __future__ import annotations

import pytest

from engine.models.published import published
from engine.models.sizes import sizes_of
from engine.settings.training import TrainingSettings
from engine.training.counting import Counter
from ui.network_line import blocks_of

BY_NAME = {
    # Weights of the transformer, as Stability AI publishes them; layers with queries, keys and values as one, of which
    # the last block's text has only these, and 3.5 medium's first thirteen blocks a second attention.
    "stable-diffusion-3-medium-diffusers": (2_028_328_000, 24, 24 * 10 - 3),
    "stable-diffusion-3.5-medium": (2_243_171_520, 24, 24 * 10 - 3 + 13 * 2),
    "stable-diffusion-3.5-large": (8_056_627_520, 38, 38 * 10 - 3),
    "stable-diffusion-3.5-large-turbo": (8_056_627_520, 38, 38 * 10 - 3),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_stable_diffusion_3_has_its_own_blocks(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    weights, blocks, layers = BY_NAME[name]
    parts = published("sd3", f"stabilityai/{name}")
    assert parts
    assert sum(one.numel() for one in parts.denoiser.parameters()) == weights
    of_checks = sizes_of(f"stabilityai/{name}", "sd3")  # which have no torch
    assert of_checks
    assert of_checks.denoiser == weights
    given = {"pretrained_model_name_or_path": f"stabilityai/{name}", "sd3_checkbox": True, "text_encoder_lr": 0}
    settings = TrainingSettings().with_values(given)
    answer = Counter().answer(settings)
    assert (answer["layers"], answer["blocks"]) == (layers, {"joint": blocks})
    other = settings.with_values({"block_dims": ",".join("4" * (62 - blocks))})
    refused = Counter().answer(other)
    assert refused["blocks"] == {"joint": blocks}
    assert blocks_of(refused) == f'<span hidden data-blocks="{{&quot;joint&quot;:{blocks}}}"></span>'
