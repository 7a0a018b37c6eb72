"""What a run does beside learning: files, metadata, formats, several processes, and how it fails."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from engine.data.batches import Batches
from engine.data.dataset import Latents
from engine.data.folders import scan
from engine.data.items import captions_of, items_of
from engine.data.kept import InMemory
from engine.data.placing import placed
from engine.data.source import Source
from engine.models.conditioning import Reading
from engine.models.header import read_metadata
from engine.models.sd import StableDiffusion
from engine.models.vae import to_latents
from engine.runs import process
from engine.runs.events import Step
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.settings.from_metadata import from_metadata
from engine.settings.training import TrainingSettings
from tests.models.small import SETTINGS, pipeline
from tests.pictures import draw_pictures

PATIENCE = 300


def ended(run: RunFolder) -> History:
    assert process.wait(run, PATIENCE), run.log_tail()
    return History(run).update()


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()


@pytest.mark.shows(
    "output_dir",
    "output_name",
    "epoch",
    "save_every_n_epochs",
    "save_every_n_steps",
    "training_comment",
    "train_data_dir",
    "lora_type",
    "max_resolution",
)
def test_a_file_every_epoch_and_every_n_steps_and_one_at_the_end(trained, tmp_path: Path):
    history = trained(epoch=2, save_every_n_epochs=1, save_every_n_steps=8, training_comment="mine")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {
        "shapes-000001.safetensors",
        "shapes-step00000008.safetensors",
        "shapes-step00000016.safetensors",
        "shapes.safetensors",
    }
    assert {Path(c.file).name for c in history.checkpoints} == names
    assert [c.step for c in history.checkpoints if c.final] == [20]

    half = metadata_of(tmp_path / "out" / "shapes-000001.safetensors")
    final = metadata_of(tmp_path / "out" / "shapes.safetensors")
    assert (half["ss_steps"], half["ss_epoch"]) == ("10", "1")
    assert (final["ss_steps"], final["ss_epoch"]) == ("20", "2")
    for key, value in {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "4.0",
        "ss_base_model_version": "sd_v1",
        "ss_learning_rate": "0.001",
        "ss_num_train_images": "10",
        "ss_num_epochs": "2",
        "ss_max_train_steps": "20",
        "ss_resolution": "(64, 64)",
        "ss_seed": "7",
        "ss_training_comment": "mine",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.resolution": "64x64",
        "modelspec.title": "shapes",
    }.items():
        assert final[key] == value, key
    assert json.loads(final["ss_dataset_dirs"]) == {"2_shapes": {"n_repeats": 2, "img_count": 5}}
    assert sum(json.loads(final["ss_tag_frequency"])["2_shapes"].values()) == 5
    assert len(final["sshs_model_hash"]) == 64
    assert len(final["sshs_legacy_hash"]) == 8


@pytest.mark.shows("save_precision")
@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_the_file_has_the_precision_asked_for(trained, tmp_path: Path, precision: str, dtype: torch.dtype):
    trained(max_train_steps=1, save_precision=precision)
    weights = load_file(tmp_path / "out" / "shapes.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {dtype}
    assert any(bool(tensor.any()) for name, tensor in weights.items() if "lora_up" in name)  # it has learned


@pytest.mark.parametrize(
    ("changes", "parts"),
    [({"text_encoder_lr": 0}, {"lora_unet"}), ({"unet_lr": 0}, {"lora_te"})],
)
def test_a_part_whose_rate_is_zero_is_not_trained(trained, tmp_path: Path, changes: dict, parts: set):
    trained(max_train_steps=2, **changes)
    names = load_file(tmp_path / "out" / "shapes.safetensors")
    assert {name.split("_")[0] + "_" + name.split("_")[1] for name in names} == parts


@pytest.mark.shows("unet_lr", "text_encoder_lr")
def test_each_part_learns_at_its_own_rate(trained):
    history = trained(max_train_steps=2, lr_scheduler="constant", unet_lr=2e-4, text_encoder_lr=5e-5)
    assert history.steps[-1].learning_rates == {"unet": 2e-4, "text_encoder": 5e-5}


@pytest.mark.shows("mixed_precision", "gradient_checkpointing")
def test_bf16_and_gradient_checkpointing_train(trained, tmp_path: Path):
    plain = trained(output_name="plain", max_train_steps=3)
    cheap = trained(output_name="cheap", max_train_steps=3, gradient_checkpointing=True)
    coarse = trained(output_name="coarse", max_train_steps=3, mixed_precision="bf16")
    assert [s.loss for s in cheap.steps] == pytest.approx([s.loss for s in plain.steps], rel=1e-4)
    # bf16 keeps 8 bits of a number: about three digits
    assert [s.loss for s in coarse.steps] == pytest.approx([s.loss for s in plain.steps], rel=0.05)
    assert [s.loss for s in coarse.steps] != [s.loss for s in plain.steps]


def test_fp16_without_a_gpu_is_said_to_be_full_precision(trained):
    history = trained(max_train_steps=1, mixed_precision="fp16")
    assert history.last.how == "done"
    assert "fp16 needs an NVIDIA GPU" in history.warnings[0]


@pytest.mark.shows("gradient_accumulation_steps", "train_batch_size", "pretrained_model_name_or_path")
def test_the_first_loss_is_the_mean_of_what_the_base_models_answers_cost(trained, settings: TrainingSettings):
    """A new LoRA adds nothing yet, so diffusers' own UNet gives the same losses, averaged over a step's batches."""
    family = StableDiffusion()
    parts = family.load(settings, torch.float32)
    items = items_of(scan(Path(settings.folders.train_data_dir)))
    pictures, words = [item.picture for item in items], captions_of(items)
    places = placed(pictures, settings.dataset)
    sources = [Source(picture, place) for picture, place in zip(pictures, places, strict=True)]
    latents = Latents(
        sources,
        lambda pixels, noise: to_latents(parts.vae, pixels, noise).detach(),
        InMemory(),
    )
    latents.cache(latents.lacking(), 2, 7, lambda done, total: None)
    losses = []
    with torch.no_grad():
        for batch in Batches([item.repeats for item in items], 2, 3, 7).at(0):
            torch.manual_seed(batch.seed)
            clean = latents.shown(latents.read(batch)).latents
            noise, timesteps = torch.randn_like(clean), torch.randint(0, 1000, (len(clean),))
            alpha = parts.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
            captions = family.encode_text(parts, [words[i] for i in batch.pictures], Reading(1))["states"]
            answer = parts.denoiser(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, timesteps, captions).sample
            losses.append((answer - noise).square().mean().item())
    assert len(losses) == 3
    history = trained(gradient_accumulation_steps=3, train_batch_size=2)
    assert history.steps[0].loss == pytest.approx(sum(losses) / 3, rel=1e-4)
    assert [(s.step, s.epoch) for s in history.steps] == [(1, 1), (2, 1)]  # 5 batches in steps of 3


@pytest.mark.shows("num_processes")
def test_two_processes_learn_what_one_learns_with_twice_the_accumulation(start_run, trained, tmp_path: Path):
    alone = trained(output_name="alone", gradient_accumulation_steps=2, max_train_steps=4,
                    save_precision="float", sample_every_n_steps=2, sample_prompts="a bar --s 2",
                    validation_split=0.6)  # fmt: skip
    beside = ended(start_run(output_name="beside", num_processes=2, max_train_steps=4, save_precision="float",
                             sample_every_n_steps=2, sample_prompts="a bar --s 2", validation_split=0.6))  # fmt: skip
    assert beside.last.how == "done"
    assert [s.step for s in beside.samples] == [2, 4]
    assert [s.loss for s in beside.steps] == pytest.approx([s.loss for s in alone.steps], rel=1e-5)
    assert [(v.step, v.pictures) for v in beside.validated] == [(0, 3), (2, 3), (4, 3)]
    assert [v.loss for v in beside.validated] == pytest.approx([v.loss for v in alone.validated], rel=1e-4)
    one, two = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("alone", "beside"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)


def test_two_processes_that_leave_out_different_layers_learn_together(start_run, trained, tmp_path: Path):
    left_out = {"lora_type": "LyCORIS/DyLoRA", "network_dim": 4, "conv_dim": 2, "dylora_unit": 1, "module_dropout": 0.5,
                "max_train_steps": 2, "save_precision": "float"}  # fmt: skip
    alone = trained(output_name="alone", gradient_accumulation_steps=2, **left_out)
    beside = ended(start_run(output_name="beside", num_processes=2, **left_out))
    assert [s.loss for s in beside.steps] == pytest.approx([s.loss for s in alone.steps], rel=1e-5)
    one, two = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("alone", "beside"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)


def test_two_processes_without_a_seed_draw_one_together(start_run, trained):
    beside = ended(start_run(output_name="beside", num_processes=2, max_train_steps=2, seed=0))
    alone = trained(output_name="alone", gradient_accumulation_steps=2, max_train_steps=2,
                    seed=beside.planned.seed)  # fmt: skip
    assert [s.loss for s in beside.steps] == pytest.approx([s.loss for s in alone.steps], rel=1e-5)


def test_two_processes_stop_together(start_run):
    run = start_run(num_processes=2, epoch=200)
    history = History(run)
    while history.update().done_steps < 2:
        assert run.is_alive(), run.log_tail()
        time.sleep(0.05)
    process.stop(run)
    assert ended(run).last.how == "stopped"


def test_training_that_breaks_down_says_so(trained, tmp_path: Path):
    """A negative weight decay multiplies the weights by a thousand at every step, until they are no numbers."""
    history = trained(epoch=20, save_every_n_epochs=0, save_every_n_steps=1, lr_scheduler="constant",
                      optimizer="Lion", optimizer_args="weight_decay=-1e6", save_precision="float")  # fmt: skip
    assert history.last.how == "failed"
    kept = [Path(checkpoint.file) for checkpoint in history.checkpoints]
    kept.append(history.run.state_folder / "weights.safetensors")
    assert len(kept) > 2
    assert all(weights.isfinite().all() for file in kept for weights in load_file(file).values())
    assert "became NaN (not a number)" in history.problem.what
    assert history.problem.option == "learning_rate"


def test_a_picture_that_cannot_be_read_is_left_out_by_name(trained, tmp_path: Path):
    (tmp_path / "img" / "2_shapes" / "zz.png").write_bytes(b"no")
    history = trained()
    assert (history.last.how, history.last.step) == ("done", 10)
    assert any("zz.png" in warning for warning in history.warnings)


@pytest.mark.shows("logging_dir")
def test_tensorboard_finds_the_losses(trained, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = trained(max_train_steps=3, logging_dir=str(tmp_path / "log"))
    board = EventAccumulator(str(tmp_path / "log" / history.run.name))
    board.Reload()
    assert [scalar.step for scalar in board.Scalars("loss/current")] == [1, 2, 3]
    assert [s.value for s in board.Scalars("loss/current")] == pytest.approx([s.loss for s in history.steps])


def test_several_concepts_with_repeats_of_their_own(trained, tmp_path: Path):
    draw_pictures(tmp_path / "img" / "3_more shapes", 2, caption=False)
    run = trained(train_batch_size=4).run
    steps = [event for event in run.events().read() if isinstance(event, Step)]
    assert len(steps) == 4  # (5 · 2 + 2 · 3) ÷ 4
    tags = json.loads(metadata_of(tmp_path / "out" / "shapes.safetensors")["ss_tag_frequency"])
    assert tags["3_more shapes"] == {"more shapes": 2}


@pytest.mark.shows("seed")
@pytest.mark.shows("prior_loss_weight")
def test_regularisation_pictures_count_as_much_as_they_are_told_to(trained, tmp_path: Path):
    """At a weight of 0 a step of regularisation pictures alone costs nothing; the others stay as they are."""
    draw_pictures(tmp_path / "reg" / "1_shape", 4)
    told = {"reg_data_dir": str(tmp_path / "reg"), "max_train_steps": 12, "unet_lr": 1e-9, "text_encoder_lr": 1e-9}
    full = [s.loss for s in trained(output_name="full", **told).steps]
    none = [s.loss for s in trained(output_name="none", prior_loss_weight=0, **told).steps]
    assert 0 < none.count(0) < 12
    assert all(b == 0 or b == pytest.approx(a, rel=1e-3) for a, b in zip(full, none, strict=True))


def test_tall_and_wide_pictures_train_in_buckets(trained, tmp_path: Path):
    for name, size in (("tall", (64, 128)), ("wide", (128, 64))):
        Image.new("RGB", size, "red").save(tmp_path / "img" / "2_shapes" / f"{name}.png")
    history = trained(train_batch_size=4, max_resolution="96,96", min_bucket_reso=64, bucket_reso_steps=32,
                      bucket_no_upscale=False, flip_aug=True, shuffle_caption=True,
                      text_encoder_lr=0)  # fmt: skip
    assert history.last.how == "done"
    told = metadata_of(tmp_path / "out" / "shapes.safetensors")
    buckets = json.loads(told["ss_bucket_info"])["buckets"]
    assert [(b["resolution"], b["count"]) for b in buckets.values()] == [([64, 128], 2), ([96, 96], 10), ([128, 64], 2)]
    assert told["ss_num_batches_per_epoch"] == "5"  # 10 squares are 3 batches of 4 at most, each other shape 1


def test_a_seed_of_0_draws_one_and_tells_it(trained):
    seeds = {trained(output_name=name, seed=0, max_train_steps=1).planned.seed for name in ("a", "b")}
    assert len(seeds) == 2
    assert 0 not in seeds


def test_the_log_holds_what_concerns_the_user_and_no_noise(start_run):
    run = start_run(max_train_steps=2, sample_prompts="a bar --s 2", sample_every_n_steps=1)
    ended(run)
    log = run.log_tail()
    assert "step 2" in log
    for noise in ("Warning", "torchvision", "kernels", "it/s", "%|"):
        assert noise not in log, log


PARTS: dict[str, set[str]] = {
    "sd2": {"unet", "te"},
    "sd2-inpainting": {"unet", "te"},
    "sd2-depth": {"unet", "te"},
    "sdxl": {"unet", "te1", "te2"},
    "sdxl-refiner": {"unet", "te"},
    "sd3": {"unet", "te1", "te2"},
    "flux": {"unet", "te1"},
    "chroma": {"unet"},
    "lumina": {"unet", "te"},
}
"""What a LoRA of each family trains, as its files name it."""


@pytest.mark.parametrize("family", SETTINGS)
def test_every_family_learns_draws_and_is_saved(trained, tmp_path: Path, family: str):
    """Five steps of a LoRA, from a small model of random weights."""
    pipeline(family).save_pretrained(tmp_path / "model")
    switches = SETTINGS[family]
    history = trained(pretrained_model_name_or_path=str(tmp_path / "model"), max_train_steps=5, **switches,
                      sample_every_n_steps=5, sample_prompts="a red circle --s 2", save_precision="float")  # fmt: skip
    assert history.last.how == "done", history.problem
    assert len(history.steps) == 5
    assert all(math.isfinite(step.loss) for step in history.steps)
    assert len(history.samples) == 1
    weights = load_file(tmp_path / "out" / "shapes.safetensors")
    moved = {name.split("_")[1] for name, tensor in weights.items() if "lora_up" in name and tensor.any()}
    assert moved == PARTS[family]
    like_it, _ = from_metadata(read_metadata(tmp_path / "out" / "shapes.safetensors"), TrainingSettings())
    assert (
        like_it.settings.families
        == TrainingSettings().with_values({name: value for name, value in switches.items() if value is True}).families
    )
