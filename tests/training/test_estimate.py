"""How much memory a run will need, and what would bring it down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import nn

from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models.skeleton import without_weights
from engine.settings.training import TrainingSettings
from engine.training.estimate import Estimate, estimate
from engine.training.ledger import counted, without_contents
from engine.training.optimizers import make_optimizer
from engine.training.savings import ways_down
from tests.models.loading import loaded
from tests.models.small import FAMILIES, SETTINGS, pipeline
from tests.pictures import draw_pictures


def needed(model: Path, method: Any = "lora", device: Any = "cuda", **changes: Any) -> Estimate:
    values = {"pretrained_model_name_or_path": str(model), "max_resolution": "128,128", "mixed_precision": "bf16"}
    return estimate(TrainingSettings().for_method(method).with_values({**values, **changes}), device)


def test_the_ledger_knows_what_is_alive_at_once():
    layer = nn.Linear(1000, 500, bias=False)
    with counted() as ledger, without_contents([layer]):
        assert ledger.live == 4 * 1000 * 500
        x = torch.empty(64, 1000)
        y = layer(x).relu()
        del x  # autograd holds it for the weight's gradient
        assert ledger.live == 4 * (1000 * 500 + 64 * 1000 + 64 * 500)
        y.sum().backward()
        assert ledger.peak >= 4 * (2 * 1000 * 500 + 64 * 1000)  # the gradient beside the weight
    assert layer.weight.grad is None
    assert layer.weight.shape == (500, 1000)  # as it was


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_measured(family: str, tmp_path: Path):
    made = pipeline(family)
    made.save_pretrained(tmp_path / "model")
    switches = SETTINGS[family]
    _, parts = loaded(tmp_path / "model", **switches)
    denoiser = sum(p.numel() for p in parts.denoiser.parameters())
    tables = sum(buffer.nbytes for buffer in parts.denoiser.buffers())
    stays = 0 if switches.get("cache_latents", True) else sum(p.numel() for p in parts.vae.parameters())
    lora = needed(tmp_path / "model", **switches, text_encoder_lr=0)
    assert 2 * (denoiser + stays) <= lora.phases["training"].weights <= 2 * (denoiser + stays) + tables
    assert lora.phases["training"].activations > 0
    assert lora.phases["captions"].weights >= 2 * sum(p.numel() for e in parts.text_encoders for p in e.parameters())
    whole = needed(tmp_path / "model", "finetune", learning_rate_te=0, learning_rate_te1=0, learning_rate_te2=0,
                   optimizer="AdamW", **switches)  # fmt: skip
    training = whole.phases["training"]
    assert 4 * denoiser + 2 * stays <= training.weights <= 4 * denoiser + 2 * stays + tables
    assert training.gradients == pytest.approx(4 * denoiser, rel=0.02)
    assert training.optimizer == pytest.approx(8 * denoiser, rel=0.02)


@pytest.mark.parametrize(
    ("name", "arguments"), [("Adafactor", "relative_step=False"), ("AdamW", ""), ("AdamW8bit", "")]
)
def test_what_an_optimizer_remembers_is_known_before_it_does(name: str, arguments: str):
    """Of convolutions, Adafactor keeps far more than of matrices."""
    told = {"optimizer": name, "optimizer_args": arguments, "learning_rate_te": 0}
    said = needed(MODEL_FOLDER, "finetune", mixed_precision="no", **told).phases["training"].optimizer
    learned = list(loaded()[1].denoiser.parameters())
    for parameter in learned:
        parameter.requires_grad_(True).grad = torch.full_like(parameter, 1e-3)
    settings = TrainingSettings().with_values(told)
    optimizer = make_optimizer([{"params": learned, "lr": 1e-4}], settings.optimizer)
    optimizer.step()
    states = (tensor for state in optimizer.state.values() for tensor in state.values())
    kept = sum(tensor.nbytes for tensor in states if isinstance(tensor, torch.Tensor))
    # bitsandbytes keeps small tensors in 32 bits, of which a small model has more than a large one.
    assert said == pytest.approx(kept, rel=0.1 if name != "AdamW8bit" else 0.2)


def test_what_encodes_anew_at_each_step_is_counted_there(tmp_path: Path):
    pipeline("sd2-inpainting").save_pretrained(tmp_path / "model")
    told = {"v2": True, "train_inpainting": True, "cache_latents": False, "gradient_checkpointing": True}
    steps = [needed(tmp_path / "model", max_resolution=size, **told).phases for size in ("128,128", "512,512")]
    for one in steps:  # of the activations, those are taken that are there beside all gradients
        training = one["training"]
        assert training.activations + training.gradients >= one["latents"].activations > 0


def test_what_saves_memory_lowers_its_own_part():
    plain = needed(MODEL_FOLDER, train_batch_size=4).phases["training"]
    assert needed(MODEL_FOLDER, train_batch_size=8).phases["training"].activations > 1.7 * plain.activations
    checkpointed = needed(MODEL_FOLDER, train_batch_size=4, gradient_checkpointing=True).phases["training"]
    assert checkpointed.activations < 0.8 * plain.activations
    assert checkpointed.weights == plain.weights
    narrow = needed(MODEL_FOLDER, train_batch_size=4, base_weights="nf4").phases["training"]
    assert narrow.weights < 0.9 * plain.weights
    ranks = needed(MODEL_FOLDER, train_batch_size=4, network_dim=64).phases["training"]
    assert ranks.network == pytest.approx(8 * plain.network)
    assert ranks.optimizer == pytest.approx(8 * plain.optimizer)


def test_a_fused_update_holds_one_gradient_at_a_time():
    options = {"optimizer": "Adafactor", "optimizer_args": "relative_step=False"}
    plain = needed(MODEL_FOLDER, "finetune", **options).phases["training"]
    fused = needed(MODEL_FOLDER, "finetune", fused_backward_pass=True, **options).phases["training"]
    assert fused.gradients < plain.gradients / 10
    assert fused.optimizer == plain.optimizer
    assert plain.optimizer < 0.6 * plain.weights  # rows and columns alone; of 3×3 kernels those are two thirds


def test_swapped_blocks_are_away(tmp_path: Path):
    pipeline("flux").save_pretrained(tmp_path / "model")
    options = {"flux1_checkbox": True, "gradient_checkpointing": True, "text_encoder_lr": 0}
    all_here = needed(tmp_path / "model", **options).phases["training"]
    swapped = needed(tmp_path / "model", **options, blocks_to_swap=4).phases["training"]
    assert swapped.weights < 0.8 * all_here.weights


def test_on_a_cpu_all_parts_share_the_memory_and_are_loaded_wide():
    gpu, cpu = needed(MODEL_FOLDER, base_weights="nf4"), needed(MODEL_FOLDER, device="cpu", base_weights="nf4")
    assert cpu.phases["training"].weights > gpu.phases["training"].weights
    assert cpu.phases["loading"].weights > cpu.phases["training"].weights
    assert "loading" not in gpu.phases
    whole = needed(MODEL_FOLDER, "finetune", device="cpu", save_precision="float", mixed_precision="no").phases
    assert whole["saving"].activations == pytest.approx(whole["saving"].weights, rel=0.01)
    assert cpu.program > 100 * 2**20


def test_ways_down_save_what_they_say(tmp_path: Path):
    pipeline("sd2").save_pretrained(tmp_path / "model")
    values = {"pretrained_model_name_or_path": str(tmp_path / "model"), "max_resolution": "1024,1024",
              "train_batch_size": 16, "optimizer": "AdamW", "mixed_precision": "bf16", "network_dim": 128,
              **SETTINGS["sd2"]}  # fmt: skip
    settings = TrainingSettings().with_values(values)
    now = estimate(settings, "cuda")
    ways = {way.words: way for way in ways_down(settings, now, "cuda")}
    assert {"Turn on Gradient checkpointing", "Batch size 1, accumulated over 16 passes"} <= set(ways)
    assert not any("Swap" in words for words in ways)  # nothing to swap in a UNet
    for way in ways.values():
        assert way.saves == now.total - estimate(settings.with_values(way.changes), "cuda").total > 0


def test_a_model_that_is_not_to_be_had_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Failure, match="is not on this machine, and the Hugging Face hub cannot be reached"):
        needed(Path("owner/model"))


def test_what_a_run_keeps_on_the_gpu_is_counted(tmp_path: Path):
    """Text encoders where captions vary, the VAE where latents are made at each step."""
    frozen = needed(MODEL_FOLDER, text_encoder_lr=0).phases["training"].weights
    varying = needed(MODEL_FOLDER, text_encoder_lr=0, shuffle_caption=True).phases["training"].weights
    in_files = needed(MODEL_FOLDER, text_encoder_lr=0, cache_latents=False, cache_latents_to_disk=True)
    anew = needed(MODEL_FOLDER, text_encoder_lr=0, cache_latents=False)
    assert varying > frozen
    assert in_files.phases["training"].weights == frozen < anew.phases["training"].weights


def test_the_largest_batch_of_a_dataset_config_counts(tmp_path: Path):
    for name in ("a", "b"):
        draw_pictures(tmp_path / name, 1)
    config = tmp_path / "sets.toml"
    config.write_text(
        f"""
[[datasets]]
resolution = 64
batch_size = 2
[[datasets.subsets]]
image_dir = '{tmp_path / "a"}'
[[datasets]]
resolution = 256
batch_size = 3
[[datasets.subsets]]
image_dir = '{tmp_path / "b"}'
"""
    )
    plain = needed(MODEL_FOLDER, max_resolution="256,256", train_batch_size=3).phases["training"].activations
    assert needed(MODEL_FOLDER, dataset_config=str(config)).phases["training"].activations == plain
    small = needed(MODEL_FOLDER, max_resolution="64,64", train_batch_size=2).phases["training"]
    config.write_text(config.read_text().replace("resolution = 256", "resolution = 256\nvalidation_split = 1.0"))
    apart = needed(MODEL_FOLDER, dataset_config=str(config)).phases
    assert apart["training"] == small
    assert small.activations < apart["validation"].activations < plain  # nothing is remembered for gradients
    assert apart["validation"].gradients == 0


def test_weights_that_are_shared_count_once(tmp_path: Path):
    """T5's table of tokens is one tensor in two places: the skeleton has as many weights as the loaded model."""
    pipeline("flux").save_pretrained(tmp_path / "model")
    _, parts = loaded(tmp_path / "model", **SETTINGS["flux"])
    with without_weights():
        _, empty = loaded(tmp_path / "model", **SETTINGS["flux"])
    for module, skeleton in zip(parts.modules(), empty.modules(), strict=True):
        assert sum(p.numel() for p in skeleton.parameters()) == sum(p.numel() for p in module.parameters())


def test_samples_of_a_model_in_fp16_are_measured_with_the_vae_in_full_precision():
    """As they are drawn: float16 breaks some VAEs."""
    prompts = {"sample_prompts": "a red circle --w 128 --h 128"}
    half, wide = (needed(MODEL_FOLDER, mixed_precision=form, **prompts).phases["samples"] for form in ("fp16", "bf16"))
    _, parts = loaded()
    vae = sum(p.numel() for p in parts.vae.parameters())
    assert half.weights == wide.weights + 2 * vae
