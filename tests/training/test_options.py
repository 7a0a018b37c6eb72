"""Options of a LoRA run that act beside the loss: what is trained, how fast, from where, and what is kept."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.failure import Failure
from engine.models.conditioning import Reading
from engine.models.sd import StableDiffusion
from engine.networks.kohya_format import save_lora
from engine.runs.folder import RunFolder
from engine.settings.from_metadata import from_metadata
from engine.settings.saving import Saving
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.lora_method import LoraMethod
from engine.training.method import parameters
from engine.training.milestones import Past, past_epochs, past_steps
from engine.training.report import Report
from engine.training.samples import Sampler


def method_of(settings: TrainingSettings, steps: int = 10, **changes: Any) -> LoraMethod:
    family = StableDiffusion()
    changed = settings.with_values(changes)
    return LoraMethod(family, family.load(changed, torch.float32), changed, total_steps=steps, dtype=torch.float32)


@pytest.mark.shows("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
def test_lora_plus_lets_the_up_matrices_learn_faster(settings: TrainingSettings):
    def rates(**changes: Any) -> dict[str, float]:
        groups = method_of(settings, unet_lr=1e-4, text_encoder_lr=1e-5, **changes).parameter_groups()
        assert all("lora_B" not in str(group) for group in groups)
        return {group["name"]: group["lr"] for group in groups}

    assert rates() == {"unet": 1e-4, "text_encoder": 1e-5}
    assert rates(loraplus_lr_ratio=16) == pytest.approx(
        {"unet_up": 16e-4, "unet": 1e-4, "text_encoder_up": 16e-5, "text_encoder": 1e-5}
    )
    assert rates(loraplus_unet_lr_ratio=4) == pytest.approx({"unet_up": 4e-4, "unet": 1e-4, "text_encoder": 1e-5})
    assert rates(loraplus_lr_ratio=16, loraplus_text_encoder_lr_ratio=2)["text_encoder_up"] == pytest.approx(2e-5)

    method = method_of(settings, loraplus_lr_ratio=16)
    groups = {group["name"]: group["params"] for group in method.parameter_groups()}
    ups = {tensor.data_ptr() for name, tensor in method.state_dict().items() if name.endswith("lora_up.weight")}
    assert {p.data_ptr() for name in ("unet_up", "text_encoder_up") for p in groups[name]} == ups
    assert len(parameters(method)) == 2 * len(ups)


@pytest.mark.shows("stop_text_encoder_training")
def test_the_text_encoder_stops_learning_after_its_share_of_the_steps(settings: TrainingSettings):
    method = method_of(settings, steps=10, stop_text_encoder_training=40)

    def learning(step: int) -> dict[str, bool]:
        method.before_step(step)
        groups = {group["name"]: group["params"] for group in method.parameter_groups()}
        return {name: all(p.requires_grad for p in parameters) for name, parameters in groups.items()}

    assert learning(4) == {"unet": True, "text_encoder": True}
    assert learning(5) == {"unet": True, "text_encoder": False}
    assert method_of(settings, stop_text_encoder_training=-1).rates["text_encoder"] == 0
    assert method_of(settings, steps=10).trains_text_encoder


@pytest.mark.shows("dim_from_weights")
def test_rank_and_alpha_come_from_the_file_to_begin_from(settings: TrainingSettings, tmp_path: Path):
    file = tmp_path / "old.safetensors"
    old = method_of(settings, network_dim=3, network_alpha=2)
    for parameter in parameters(old):
        torch.nn.init.normal_(parameter)
    save_lora(old.state_dict(), {}, file, torch.float32)

    new = method_of(settings, network_weights=str(file), dim_from_weights=True)
    assert new.metadata()["ss_network_dim"] == 3
    assert new.metadata()["ss_network_alpha"] == 2
    begun = new.state_dict()
    assert all(torch.equal(tensor, begun[name]) for name, tensor in load_file(file).items())

    with pytest.raises(Failure, match="has rank 3, not 4") as caught:
        method_of(settings, network_weights=str(file))
    assert caught.value.option == "network_dim"
    other = tmp_path / "other.safetensors"
    for content, words in (
        ({"a": torch.ones(2)}, "is not a LoRA file"),
        (
            {f"lora_unet_double_blocks_0.lora_{side}.weight": torch.ones(4, 4) for side in ("up", "down")},
            "another model family",
        ),
    ):
        save_lora(content, {}, other, torch.float32)
        with pytest.raises(Failure, match=words):
            method_of(settings, network_weights=str(other))
    with pytest.raises(Failure, match="There is no file"):
        method_of(settings, network_weights=str(tmp_path / "gone.safetensors"))


@pytest.mark.shows("max_grad_norm")
def test_long_gradients_are_shortened(trained, tmp_path: Path):
    """One step of plain descent at rate 1 moves the weights as far as the gradient is long."""
    trained(max_train_steps=1, max_grad_norm=1e-4, unet_lr=1, text_encoder_lr=1, lr_scheduler="constant",
            optimizer="SGDNesterov", optimizer_args="momentum=0 nesterov=False",
            save_precision="float")  # fmt: skip
    weights = load_file(tmp_path / "out" / "shapes.safetensors")
    moved = torch.cat([tensor.flatten() for name, tensor in weights.items() if name.endswith("lora_up.weight")])
    assert moved.norm().item() == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.shows("sample_sampler")
def test_samples_are_drawn_with_the_sampler_that_is_chosen(settings: TrainingSettings):
    """And one prompt may name another."""
    seen = []

    class Family(StableDiffusion):
        def draw(self, parts: Any, sample: Any, told: Any, scheduler: Any) -> Any:
            seen.append(type(scheduler).__name__)
            return torch.zeros(1, 4, 8, 8)

    family = Family()
    changed = settings.with_values({"sample_sampler": "heun", "sample_prompts": "a cat\na dog --ss ddim"})
    run = RunFolder.create("train", "{}", "cat")
    parts = family.load(changed, torch.float32)
    encoder = CaptionEncoder(family, parts, Reading())
    Sampler(encoder, changed, run, seed=1, autocast=nullcontext).draw(Report(None), 3)
    assert seen == ["HeunDiscreteScheduler", "DDIMScheduler"]


@pytest.mark.shows("save_last_n_epochs", "save_last_n_epochs_state", "save_state", "sample_every_n_epochs",
                   "save_model_as")  # fmt: skip
def test_only_the_last_epochs_are_kept(trained, tmp_path: Path):
    history = trained(epoch=5, train_batch_size=5, save_last_n_epochs=2, save_last_n_epochs_state=1, save_state=True,
                      sample_every_n_epochs=2, sample_prompts="a red circle --s 2", save_model_as="ckpt")  # fmt: skip
    assert {file.name for file in (tmp_path / "out").iterdir()} - {"sample"} == {
        "shapes-000003.ckpt",
        "shapes-000004.ckpt",
        "shapes-000004-state",
        "shapes.ckpt",
        "shapes-state",
    }
    assert [sample.step for sample in history.samples] == [4, 8]
    weights = torch.load(tmp_path / "out" / "shapes.ckpt", weights_only=True)
    assert any(name.startswith("lora_unet") for name in weights)


@pytest.mark.shows("save_last_n_steps", "save_last_n_steps_state")
def test_which_files_fall_out_as_sd_scripts_counts():
    """Of epochs the one N saves back; of steps the newest that lies more than N steps back."""
    epochs = Saving(save_every_n_epochs=2, save_last_n_epochs=3)
    assert [past_epochs(epoch, epochs) for epoch in (2, 6, 8, 10)] == [Past(0, 0), Past(0, 0), Past(2, 2), Past(4, 4)]
    assert past_epochs(10, Saving(save_every_n_epochs=2)) == Past(0, 0)
    steps = Saving(save_every_n_steps=100, save_last_n_steps=250, save_last_n_steps_state=100)
    assert [past_steps(step, steps) for step in (100, 300, 400, 500)] == [
        Past(0, 0),
        Past(0, 100),
        Past(100, 200),
        Past(200, 300),
    ]


@pytest.mark.shows("metadata_title", "metadata_author", "metadata_description", "metadata_license", "metadata_tags")
def test_the_file_says_what_its_maker_wants_it_to_say(trained, tmp_path: Path):
    given = {key: f"my {key}" for key in ("title", "author", "description", "license", "tags")}
    told = {"network_alpha": 2, "noise_offset": 0.1, "min_snr_gamma": 5, "optimizer_args": "weight_decay=0.2",
            "lr_scheduler": "linear", "lr_warmup": 0, "clip_skip": 2, "rank_dropout": 0.1,
            "scale_weight_norms": 2}  # fmt: skip
    trained(max_train_steps=1, **told, **{f"metadata_{key}": text for key, text in given.items()})
    header = (tmp_path / "out" / "shapes.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    written = json.loads(header[8 : 8 + length])["__metadata__"]
    assert {key: written[f"modelspec.{key}"] for key in given} == given

    # And it says enough to train like this again, under a title of its own.
    restored = from_metadata(written, TrainingSettings())[0].settings.values()
    assert {name: restored[name] for name in told} == told
    assert restored["metadata_title"] == ""
    assert (restored["seed"], restored["network_dim"], restored["unet_lr"]) == (7, 4, 1e-3)


def test_frozen_text_encoders_are_asked_for_the_prompts_once(settings: TrainingSettings):
    """So they need not be on the GPU while samples are drawn; those that learn are asked each time."""
    asked = []

    class Family(StableDiffusion):
        def encode_text(self, parts: Any, captions: Any, reading: Any) -> Any:
            asked.append(captions)
            return super().encode_text(parts, captions, reading)

        def draw(self, parts: Any, sample: Any, told: Any, scheduler: Any) -> Any:
            assert told["states"].shape[0] == 2
            assert not told["states"].requires_grad
            return torch.zeros(1, 4, 8, 8)

    changed = settings.with_values({"sample_prompts": "a cat --n a dog"})
    for learns, times in ((False, 1), (True, 2)):
        family = Family()
        parts = family.load(changed, torch.float32)
        parts.text_encoders[0].requires_grad_(learns)
        encoder = CaptionEncoder(family, parts, Reading(), learns)
        sampler = Sampler(encoder, changed, RunFolder.create("train", "{}", "cat"), seed=1, autocast=nullcontext)
        parts.vae.train()
        for step in (3, 4):
            sampler.draw(Report(None), step)
        assert asked == [["a cat", "a dog"]] * times
        assert parts.vae.training  # as it was
        asked.clear()
