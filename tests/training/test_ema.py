"""EMA: the averaged weights by their formula, in the files, samples, losses and states that they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.training_utils import EMAModel
from PIL import Image, ImageChops
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.demo.demo import MODEL_FOLDER
from engine.runs.history import History
from engine.settings.averaging import Averaging
from engine.training.moving_average import MovingAverage, decay_at
from tests.training.test_estimate import needed
from tests.training.test_resume import assert_same_bits, ended, kill_at_once, resume, wait_for_step

Trained = Callable[..., History]

SHORT: dict[str, Any] = {
    "max_train_steps": 4, "lr_scheduler": "constant", "save_precision": "float", "save_every_n_epochs": 0,
    "save_every_n_steps": 1, "save_state": True,
}  # fmt: skip
"""Four steps, with the file and the state of each."""


def of_steps(tmp_path: Path, suffix: str = "") -> list[dict[str, Tensor]]:
    """The files of steps 1 to 4; "-ema": those of the averaged weights."""
    return [load_file(tmp_path / "out" / f"shapes-step{step:08d}{suffix}.safetensors") for step in range(1, 5)]


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())


def far(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.shows("ema", "ema_decay")
def test_the_second_file_holds_the_average_by_its_formula(trained: Trained, tmp_path: Path):
    """a ← d·a + (1 - d)·w, by hand, tensor by tensor from the trained files of every step."""
    history = trained(**SHORT, ema=True, ema_decay=0.7, ema_warmup=False)
    assert history.last.how == "done", history.problem
    plain, averaged = of_steps(tmp_path), of_steps(tmp_path, "-ema")
    for name in plain[0]:
        if name.endswith(".alpha"):
            continue
        # What the average began with follows from the first two: a1 = d·w0 + (1 - d)·w1.
        average = averaged[0][name]
        for weights, found in zip(plain[1:], averaged[1:], strict=True):
            average = 0.7 * average + 0.3 * weights[name]
            torch.testing.assert_close(found[name], average, atol=1e-7, rtol=1e-5)
        if name.endswith("lora_up.weight"):  # which a LoRA begins with zeros
            torch.testing.assert_close(averaged[0][name], 0.3 * plain[0][name], atol=1e-8, rtol=1e-5)
    assert any(far(averaged[-1][name], plain[-1][name]) > 1e-4 for name in averaged[-1])
    assert [Path(one.file).name for one in history.checkpoints[-2:]] == ["shapes-ema.safetensors", "shapes.safetensors"]
    assert [one.final for one in history.checkpoints[-2:]] == [False, True]


@pytest.mark.shows("ema_warmup")
def test_warm_up_is_that_of_diffusers_own_average():
    """Its own count begins with a step that copies the weights, so it is one ahead."""
    theirs = EMAModel([], decay=0.9)
    shares = [decay_at(step, 0.9, warmup=True) for step in range(1, 200)]
    assert shares == [theirs.get_decay(step + 1) for step in range(1, 200)]
    assert shares[0] == 2 / 11
    assert shares[-1] == 0.9
    assert {decay_at(step, 0.9, warmup=False) for step in range(1, 200)} == {0.9}


def test_the_average_is_that_of_diffusers_while_all_weights_are_trained():
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(5))]
    ours, theirs = MovingAverage(weights, Averaging(ema=True, ema_decay=0.99)), EMAModel(weights, decay=0.99)
    theirs.step(weights)
    for _ in range(20):
        for weight in weights:
            weight.data += torch.randn_like(weight)
        ours.after_step()
        theirs.step(weights)
    for own, other in zip(ours.state_dict()["averages"], theirs.state_dict()["shadow_params"], strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.shows("ema_every_n_steps")
def test_seldom_updates_reach_back_as_far(trained: Trained, tmp_path: Path):
    """Every second step, with the decay of two."""
    trained(**SHORT, ema=True, ema_decay=0.9, ema_warmup=False, ema_every_n_steps=2)
    plain, averaged = of_steps(tmp_path), of_steps(tmp_path, "-ema")
    assert_same_bits(averaged[2], averaged[1])
    for name, tensor in averaged[3].items():
        expected = 0.81 * averaged[1][name] + 0.19 * plain[3][name]
        torch.testing.assert_close(tensor, expected, atol=1e-7, rtol=1e-5)
        if name.endswith("lora_up.weight"):  # a LoRA begins with zeros
            assert not averaged[0][name].any()
            torch.testing.assert_close(averaged[1][name], 0.19 * plain[1][name], atol=1e-8, rtol=1e-5)


@pytest.mark.shows("ema_save")
def test_the_averaged_weights_may_take_the_place_of_the_trained_ones(trained: Trained, tmp_path: Path):
    once = SHORT | {"save_every_n_steps": 0, "save_state": False}
    trained(**once, output_name="both", ema=True)
    trained(**once, output_name="one", ema=True, ema_save="instead")
    trained(**once, output_name="plain")
    assert files(tmp_path) == ["both-ema.safetensors", "both.safetensors", "one.safetensors", "plain.safetensors"]
    both, average, one, plain = (
        load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("both", "both-ema", "one", "plain")
    )
    for name, is_average in (("both", False), ("both-ema", True), ("one", True), ("plain", False)):
        with safe_open(tmp_path / "out" / f"{name}.safetensors", "pt") as file:
            told = {key: value for key, value in file.metadata().items() if key.startswith("ss_ema")}
        expected = {"ss_ema_decay": "0.9999", "ss_ema_warmup": "True", "ss_ema_every_n_steps": "1"}
        assert told == (expected if is_average else {})
    assert_same_bits(one, average)
    assert_same_bits(both, plain)  # the training itself is what it was without
    assert any(not torch.equal(one[name], plain[name]) for name in one)


@pytest.mark.shows("ema_samples")
def test_samples_and_validation_loss_are_of_the_averaged_weights_or_the_trained(trained: Trained, tmp_path: Path):
    shown = {**SHORT, "save_state": False, "sample_every_n_steps": 4, "sample_prompts": "a red circle --s 2",
             "validation_split": 0.2, "max_train_steps": 4, "unet_lr": 1e-2}  # fmt: skip
    plain = trained(**shown, output_name="plain")
    averaged = trained(**shown, output_name="averaged", ema=True, ema_decay=0.9, ema_warmup=False)
    off = trained(**shown, output_name="off", ema=True, ema_decay=0.9, ema_warmup=False, ema_samples=False)

    def picture(history: History) -> Image.Image:
        return Image.open(history.samples[-1].file).convert("RGB")

    assert ImageChops.difference(picture(plain), picture(averaged)).getbbox() is not None
    assert ImageChops.difference(picture(plain), picture(off)).getbbox() is None
    losses = [history.validated[-1].loss for history in (plain, averaged, off)]
    assert losses[0] == losses[2] != losses[1]
    assert [step.loss for step in plain.steps] == [step.loss for step in averaged.steps]


def test_both_of_a_whole_model_are_loaded_and_drawn_by_diffusers(trained: Trained, tmp_path: Path):
    history = trained("dreambooth", max_train_steps=2, learning_rate=1e-3, learning_rate_te=1e-3, ema=True,
                      save_model_as="diffusers_safetensors", save_precision="float")  # fmt: skip
    assert history.last.how == "done", history.problem
    models = [tmp_path / "out" / "shapes", tmp_path / "out" / "shapes-ema"]
    tensors = [load_file(model / "unet" / "diffusion_pytorch_model.safetensors") for model in models]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(not torch.equal(tensors[0][name], tensors[1][name]) for name in ("conv_in.weight", "conv_out.weight"))
    for model in models:
        pipeline = DiffusionPipeline.from_pretrained(model)
        pipeline.set_progress_bar_config(disable=True)
        drawn = pipeline(prompt="a red circle", num_inference_steps=1, width=64, height=64).images[0]
        assert drawn.size == (64, 64)


KINDS = [
    {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4},
    {"lora_type": "LyCORIS/LoCon", "dora_wd": True},
    {"lora_type": "LyCORIS/Diag-OFT"},
    {"lora_type": "Kohya DyLoRA", "dylora_unit": 2, "conv_dim": 2},
    {"lora_type": "LoRA-FA", "loraplus_lr_ratio": 4.0, "stop_text_encoder_training_pct": 50},
]


@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: changes["lora_type"])
def test_every_kind_of_network_is_averaged(trained: Trained, tmp_path: Path, changes: dict[str, Any]):
    """All that is in its files follows the formula, magnitudes and frozen matrices too."""
    history = trained(**SHORT | {"save_state": False} | changes, ema=True, ema_decay=0.5, ema_warmup=False)
    assert history.last.how == "done", history.problem
    plain, averaged = of_steps(tmp_path), of_steps(tmp_path, "-ema")
    assert plain[3].keys() == averaged[3].keys()
    for name, tensor in averaged[3].items():
        torch.testing.assert_close(tensor, (averaged[2][name] + plain[3][name]) / 2, atol=1e-6, rtol=1e-5)
    moved = [name for name in plain[3] if not torch.equal(plain[3][name], averaged[3][name])]
    assert len(moved) >= len(plain[3]) / 3  # of each layer at least one; strengths do not learn


def updated_while_frozen() -> Iterator[float]:
    weight = nn.Parameter(torch.zeros(1))
    average = MovingAverage([weight], Averaging(ema=True, ema_decay=0.5, ema_warmup=False))
    weight.data.fill_(1)
    for frozen in (False, True, True):
        weight.requires_grad_(not frozen)
        average.after_step()
        yield float(average.state_dict()["averages"][0])


def test_a_text_encoder_that_stops_is_averaged_on():
    assert list(updated_while_frozen()) == [0.5, 0.75, 0.875]


def test_half_precision_weights_have_an_average_in_full():
    """1 + 0.0001 is 1 in bfloat16, so an average in it would never move."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    average = MovingAverage([weight], Averaging(ema=True, ema_decay=0.9999, ema_warmup=False))
    weight.data.fill_(2)
    average.after_step()
    assert float(average.state_dict()["averages"][0]) == pytest.approx(1.0001, abs=1e-6)
    with average.in_place():
        assert weight.item() == 1
    assert weight.item() == 2
    assert weight.dtype == torch.bfloat16


def test_weights_that_are_updated_in_the_backward_pass_are_averaged_too(trained: Trained, tmp_path: Path):
    told = {"max_train_steps": 2, "save_precision": "float", "ema": True, "optimizer": "AdamW", "learning_rate_te": 0.0}
    trained("finetune", output_name="fused", fused_backward_pass=True, max_grad_norm=0, **told)
    trained("finetune", output_name="plain", max_grad_norm=0, **told)
    fused, plain = (load_file(tmp_path / "out" / f"{name}-ema.safetensors") for name in ("fused", "plain"))
    assert_same_bits(fused, plain)


class TestResuming:
    def test_a_killed_run_goes_on_to_the_same_bits_in_both_files(
        self, start_run: Any, trained: Trained, tmp_path: Path
    ):
        told: dict[str, Any] = SHORT | {"max_train_steps": 10, "save_every_n_steps": 3, "save_state": False}
        told |= {"ema": True, "ema_every_n_steps": 2}
        trained(output_name="whole", **told)
        run = start_run(output_name="broken", **told)
        wait_for_step(run, 4)
        kill_at_once(run)
        killed = ended(run)
        assert killed.status == "died"
        resumed = resume(run)
        assert resumed.last.how == "done", resumed.problem
        assert resumed.planned.first_step == killed.state_step >= 3
        for which in ("", "-step00000009", "-ema", "-step00000009-ema"):
            whole, broken = (load_file(tmp_path / "out" / f"{name}{which}.safetensors") for name in ("whole", "broken"))
            assert_same_bits(broken, whole)

    def test_another_run_goes_on_from_the_state_to_the_same_average(self, trained: Trained, tmp_path: Path):
        told = SHORT | {"save_every_n_steps": 0, "save_state": False, "ema": True, "ema_every_n_steps": 3}
        trained(output_name="whole", **told | {"max_train_steps": 8})
        trained(output_name="first", **told, save_state_on_train_end=True)
        second = trained(output_name="second", **told | {"max_train_steps": 8},
                         resume=str(tmp_path / "out" / "first-state"))  # fmt: skip
        assert [step.step for step in second.steps] == [5, 6, 7, 8]
        for which in ("", "-ema"):
            whole, resumed = (
                load_file(tmp_path / "out" / f"{name}{which}.safetensors") for name in ("whole", "second")
            )
            assert_same_bits(whole, resumed)

    def test_a_state_without_an_average_begins_one_at_its_weights(self, trained: Trained, tmp_path: Path):
        told = SHORT | {"save_every_n_steps": 0, "save_state": False}
        trained(output_name="first", **told, save_state_on_train_end=True)
        state = tmp_path / "out" / "first-state"
        second = trained(output_name="second", **told | {"max_train_steps": 5}, resume=str(state), ema=True,
                         ema_decay=0.25, ema_warmup=False)  # fmt: skip
        assert "The saved state has no EMA weights" in " ".join(second.warnings)
        before, after, average = (
            load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("first", "second", "second-ema")
        )
        for name, tensor in average.items():
            torch.testing.assert_close(tensor, 0.25 * before[name] + 0.75 * after[name], atol=1e-7, rtol=1e-5)


class TestMemory:
    @pytest.mark.shows("ema_on_cpu")
    def test_the_estimate_counts_the_average_where_it_is(self):
        told = {"network_dim": 16, "sample_prompts": "a red circle", "mixed_precision": "no"}

        def phases(device: str, **changes: Any) -> Any:
            return needed(MODEL_FOLDER, device=device, **told, **changes).phases

        weights = phases("cuda")["training"].network  # four bytes each, as the average has
        for device, on_cpu, more in (("cuda", False, 1), ("cuda", True, 0), ("cpu", False, 1), ("cpu", True, 1)):
            plain, averaged = phases(device), phases(device, ema=True, ema_on_cpu=on_cpu)
            assert averaged["training"].optimizer - plain["training"].optimizer == more * weights
            # In main memory the trained weights wait while others are in their place.
            waiting = weights * (device == "cpu")
            assert averaged["samples"].network - plain["samples"].network == waiting

    def test_the_average_is_kept_where_it_is_told_to_be(self):
        weight = nn.Parameter(torch.ones(2, device="cpu"))
        average = MovingAverage([weight], Averaging(ema=True, ema_on_cpu=True))
        assert average.state_dict()["averages"][0].device.type == "cpu"
        if torch.cuda.is_available():
            here = nn.Parameter(torch.ones(2, device="cuda"))
            for on_cpu, device in ((True, "cpu"), (False, "cuda")):
                average = MovingAverage([here], Averaging(ema=True, ema_on_cpu=on_cpu))
                average.after_step()
                assert average.state_dict()["averages"][0].device.type == device
