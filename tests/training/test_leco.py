"""LECO and sliders: what is learned from prompts alone, resumed, saved and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engine.demo.judge import judge
from engine.demo.shapes import SHAPES, SIZE
from engine.models.conditioning import Reading
from engine.networks.strength import Strength
from engine.runs.history import History
from engine.settings.training import TrainingSettings
from engine.training.leco_method import LecoMethod
from engine.training.model import Examples, Model
from tests.models.loading import loaded
from tests.training.test_textual_inversion import pipeline

Trained = Callable[..., History]

GIVEN: dict[str, Any] = {
    "method": "leco", "output_name": "slider", "lr_scheduler": "constant", "unet_lr": 2e-3, "save_precision": "float",
    "max_denoising_steps": 8, "network_dim": 8, "network_alpha": 8, "train_data_dir": "", "max_train_steps": 2,
    "save_every_n_epochs": 1,
}  # fmt: skip

ONE = GIVEN | {"leco_target": "a circle", "leco_positive": "a red circle"}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A slider of what is green, from blue to red."""
    targets = [
        {"target_class": of("green"), "neutral": of("green"), "positive": of("red"), "negative": of("blue")}
        for of in ((lambda color, shape=shape: f"a {color} {shape} on a white background") for shape in SHAPES)
    ]
    file = tmp_path / "slider.toml"
    file.write_text(tomli_w.dumps({"slider": {"resolution": 64, "batch_size": 4, "targets": targets}}))
    return file


@pytest.mark.shows("prompts_file", "leco_denoise_guidance_scale")
def test_the_strength_of_a_slider_moves_the_colour(trained: Trained, colours: Path, tmp_path: Path):
    history = trained(**GIVEN | {"prompts_file": str(colours), "max_train_steps": 60})
    assert history.last.how == "done"
    drawn_by = pipeline()
    drawn_by.load_lora_weights(str(tmp_path / "out" / "slider.safetensors"))
    (adapter,) = drawn_by.get_active_adapters()
    redness, colors = [], []
    for strength in (-1.0, -0.5, 0.0, 0.5, 1.0):
        drawn_by.set_adapters([adapter], [strength])
        pictures = drawn_by(
            [f"a green {shape} on a white background" for shape in SHAPES], num_inference_steps=10, guidance_scale=4.0,
            height=SIZE, width=SIZE, generator=torch.Generator().manual_seed(11),
        ).images  # fmt: skip
        pixels = np.stack([np.asarray(picture.convert("RGB"), dtype=float) for picture in pictures])
        redness.append((pixels[..., 0] - pixels[..., 2]).mean())
        colors.append([judge(picture).color for picture in pictures])
    assert redness == sorted(redness)
    assert min(colors[0].count("blue"), colors[2].count("green"), colors[4].count("red")) >= 5
    drawn_by.set_adapters([adapter], [1.0])
    ordinary = drawn_by(
        [f"a yellow {shape} on a black background" for shape in SHAPES], num_inference_steps=10, guidance_scale=4.0,
        height=SIZE, width=SIZE, generator=torch.Generator().manual_seed(12),
    ).images  # fmt: skip
    shapes = [judge(picture).shape for picture in ordinary]
    assert sum(found == shape for found, shape in zip(shapes, SHAPES, strict=True)) > 0.75 * len(SHAPES)


def test_a_run_goes_on_to_the_same_bits_and_saves_once(trained: Trained, tmp_path: Path):
    given: dict[str, Any] = ONE | {"save_state_on_train_end": True, "network_dropout": 0.2}
    out = tmp_path / "out"
    trained(**given | {"output_name": "whole", "max_train_steps": 4})
    trained(**given | {"output_name": "first"})
    trained(**given | {"output_name": "second", "max_train_steps": 4, "resume": str(out / "first-state")})
    whole, first, second = (load_file(out / f"{name}.safetensors") for name in ("whole", "first", "second"))
    assert all(torch.equal(whole[name], second[name]) for name in whole)
    assert not all(torch.equal(whole[name], first[name]) for name in whole)
    assert sorted(file.name for file in out.glob("whole*")) == ["whole-state", "whole.safetensors"]


@pytest.mark.parametrize("lora_type", ["Standard", "LyCORIS/LoHa", "LyCORIS/LoKr", "LyCORIS/LoCon"])
def test_it_is_of_any_type_and_of_the_unet_alone(trained: Trained, lora_type: str, tmp_path: Path):
    history = trained(**ONE | {"lora_type": lora_type, "gradient_checkpointing": True})
    assert history.last.how == "done"
    names = load_file(tmp_path / "out" / "slider.safetensors")
    assert names
    assert all(name.startswith("lora_unet_") for name in names)
    with safe_open(tmp_path / "out" / "slider.safetensors", "pt") as file:
        told = file.metadata()
    assert (told["ss_leco_prompt_count"], told["ss_max_train_steps"]) == ("1", "2")
    assert json.loads(told["ss_leco_preview"])[0]["positive"] == "a red circle"


def test_the_text_encoder_stays_whatever_the_lora_tab_left_behind(trained: Trained, tmp_path: Path):
    left_behind = {"unet_lr": 0.0, "text_encoder_lr": 1e-3, "learning_rate": 1e-3, "stop_text_encoder_training": 20}
    trained(**ONE | left_behind)
    assert all(name.startswith("lora_unet_") for name in load_file(tmp_path / "out" / "slider.safetensors"))


@pytest.mark.shows("leco_positive", "leco_unconditional", "leco_neutral", "leco_guidance_scale", "leco_multiplier",
                   "leco_target", "leco_action", "max_denoising_steps")  # fmt: skip
@pytest.mark.parametrize(
    "changes",
    [
        {"leco_target": "a square"}, {"leco_positive": "a blue circle"}, {"leco_unconditional": "a bar"},
        {"leco_neutral": "a ring"}, {"leco_guidance_scale": 2.0}, {"leco_multiplier": 0.5}, {"leco_action": "enhance"},
        {"leco_action": "slide"}, {"max_denoising_steps": 4}, {"leco_denoise_guidance_scale": 1.0},
        {"noise_offset": 0.1}, {"train_batch_size": 2}, {"max_resolution": "128,64"},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_form_says_changes_what_is_learned(trained: Trained, changes: dict[str, Any], tmp_path: Path):
    trained(**ONE)
    trained(**ONE | {"output_name": "other"} | changes)
    usual, other = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("slider", "other"))
    assert not all(torch.equal(usual[name], other[name]) for name in usual)


def method_and_model(**changes: Any) -> tuple[LecoMethod, Model]:
    settings = TrainingSettings().for_method("leco").with_values(
        {"leco_target": "a circle", "leco_positive": "a cross", "max_resolution": "64,64"} | changes
    )  # fmt: skip
    family, parts = loaded()
    torch.manual_seed(0)
    method = LecoMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    for parameter in method.network.parameters("unet"):
        torch.nn.init.normal_(parameter, std=0.1)
    model = Model(
        family=family, parts=parts, objective=family.objective(settings, parts), dtype=torch.float32,
        device=torch.device("cpu"), autocast=nullcontext, offload=nullcontext,
    )  # fmt: skip
    parts.denoiser.eval()
    return method, model


@pytest.mark.parametrize(("action", "sign"), [("erase", -1), ("enhance", 1)])
def test_the_aim_is_the_neutral_prediction_taken_away_from_the_positive_one(action: str, sign: int):
    """Equation 7 of Gandikota et al. 2023, computed by hand with the network left out."""
    method, model = method_and_model(leco_action=action, leco_guidance_scale=1.5, leco_neutral="a bar")
    set_ = method._sets[0]
    told = model.family.encode_text(model.parts, list(set_.prompts), Reading())
    noisy, timesteps, sizes = torch.randn(1, 4, 8, 8), torch.tensor([400]), torch.tensor([[64, 64, 0, 0, 64, 64]])
    cost = method.judged(model, set_, noisy, timesteps, told=told, sizes=sizes)

    def predicted(prompt: str, strength: float) -> torch.Tensor:
        method._strength.set(strength)
        one = model.family.encode_text(model.parts, [prompt], Reading())
        return model.family.predict(model.parts, noisy, timesteps, one, sizes)

    with torch.no_grad():
        away = predicted("a cross", 0) - predicted("", 0)
        aim = predicted("a bar", 0) + sign * 1.5 * away
        expected = (predicted("a circle", 1) - aim).square().mean()
    torch.testing.assert_close(cost.detach()[0], expected)


@pytest.mark.parametrize("lora_type", ["Standard", "LyCORIS/LoHa", "LyCORIS/iA3", "LyCORIS/Diag-OFT"])
@torch.no_grad()
def test_a_strength_is_that_of_every_layer(lora_type: str):
    """A change of weights is linear in it: at -1 it is the opposite, at 0 nothing, at 1 itself again."""
    _, model = method_and_model(lora_type=lora_type)
    unet: Any = model.parts.denoiser
    layer = next(
        one for name, one in unet.named_modules() if name.endswith("attn1.to_q") and hasattr(one, "base_layer")
    )
    x, strength = torch.randn(2, 5, layer.base_layer.in_features), Strength(unet)
    at = {}
    for number in (0.0, 1.0, -1.0, 0.5, 1.0):
        strength.set(number)
        at[number] = layer(x)
    assert torch.equal(at[0.0], layer.base_layer(x))
    assert not torch.allclose(at[1.0], at[0.0], atol=1e-3)
    torch.testing.assert_close(at[-1.0] - at[0.0], at[0.0] - at[1.0])
    torch.testing.assert_close(at[0.5] - at[0.0], (at[1.0] - at[0.0]) / 2)


def test_ranks_that_count_by_timestep_do_so_while_it_draws(trained: Trained, tmp_path: Path):
    """T-LoRA's; and the next step begins with those of its own timesteps."""
    given: dict[str, Any] = ONE | {"lora_type": "T-LoRA", "train_batch_size": 2, "save_state_on_train_end": True}
    out = tmp_path / "out"
    assert trained(**given | {"output_name": "whole", "max_train_steps": 3}).last.how == "done"
    trained(**given | {"output_name": "first", "max_train_steps": 1})
    trained(**given | {"output_name": "second", "max_train_steps": 3, "resume": str(out / "first-state")})
    whole, second = (load_file(out / f"{name}.safetensors") for name in ("whole", "second"))
    assert all(torch.equal(whole[name], second[name]) for name in whole)


def test_a_file_that_is_gone_gets_a_sentence(trained: Trained, tmp_path: Path):
    history = trained(**GIVEN | {"prompts_file": str(tmp_path / "gone.toml")})
    assert history.problem is not None
    assert (history.problem.option, history.problem.what) == (
        "prompts_file", "gone.toml was not read: it does not exist.",
    )  # fmt: skip


def test_after_a_step_the_network_acts_whole():
    method, model = method_and_model(leco_multiplier=-2.0)
    told = model.family.encode_text(model.parts, list(method._sets[0].prompts), Reading())
    cost = method.losses(model, Examples.of_prompts(0, lambda: told), model.objective.corrupt)
    assert cost.shape == (1,)
    layers = [layer for layer in model.parts.denoiser.modules() if hasattr(layer, "base_layer")]
    assert all("forward" in vars(layer) for layer in layers)
    method.after_step()
    assert not any("forward" in vars(layer) for layer in layers)
