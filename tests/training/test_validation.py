"""The validation loss: on pictures that are held out, measured alike each time, and no hindrance to the training."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from engine.data.items import Item
from engine.data.training_set import training_set
from engine.models.conditioning import Reading
from engine.models.parts import Parts
from engine.networks.dropout import Dropouts, attach
from engine.runs.events import Validated
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.saved_state import find_state
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.held_out_captions import HeldOutCaptions
from engine.training.report import Report
from engine.training.train import train
from engine.training.validation import resting_modules
from tests.data.epochs import CaptionLengths
from tests.stopping import Stopping

OFTEN = {"validation_split": 0.4, "validate_every_n_steps": 2, "lr_scheduler": "constant"}
VARIED = {"network_dropout": 0.3, "shuffle_caption": True, "caption_dropout_rate": 0.5, "flip_aug": True}


def new_run(settings: TrainingSettings) -> RunFolder:
    return RunFolder.create("train", settings.model_dump_json(), settings.folders.output_name)


def trained(settings: TrainingSettings, **changes: Any) -> History:
    """The run's story, trained in this process."""
    settings = settings.with_values(changes)
    return went_on(settings, new_run(settings))


def went_on(settings: TrainingSettings, run: RunFolder) -> History:
    report = Report(run.writer())
    train(settings, run, report)
    report.flush()
    return History(run).update()


def curve(history: History) -> list[tuple[int, float | None]]:
    return [(measured.step, measured.loss) for measured in history.validated]


def weights(settings: TrainingSettings) -> dict[str, torch.Tensor]:
    return load_file(Path(settings.folders.output_dir) / "shapes.safetensors")


@pytest.mark.shows("validation_split", "validate_every_n_epochs", "validate_every_n_steps")
@pytest.mark.parametrize(
    "changes",
    [
        {"cache_latents_to_disk": True, "optimizer": "AdamWScheduleFree"},
        {"cache_latents": False, "vae_batch_size": 2, **VARIED},
    ],
    ids=["kept", "varied"],
)
def test_training_takes_the_same_steps_as_it_does_without_the_pictures_held_out(
    settings: TrainingSettings, tmp_path: Path, changes: dict[str, Any]
):
    measured = trained(settings, max_train_steps=4, train_batch_size=2, **OFTEN, **changes)
    assert [step for step, _ in curve(measured)] == [0, 2, 3, 4]  # 3 steps make an epoch
    assert all(loss for _, loss in curve(measured))
    assert {found.pictures for found in measured.validated} == {2}
    ended_in = weights(settings)

    for item in training_set(settings.with_values(OFTEN)).held_out:
        item.picture.unlink()
    plain = trained(settings, max_train_steps=4, train_batch_size=2, lr_scheduler="constant", **changes)
    assert plain.validated == []
    assert [step.loss for step in plain.steps] == [step.loss for step in measured.steps]
    alone = weights(settings)
    assert all(torch.equal(alone[name], ended_in[name]) for name in alone)


@pytest.mark.shows("validation_seed")
def test_the_same_model_has_the_same_loss_whenever_and_in_whichever_run_it_is_measured(settings: TrainingSettings):
    """A rate too small to change any weight leaves the model as it is."""
    still = {**OFTEN, **VARIED, "unet_lr": 1e-30, "text_encoder_lr": 1e-30, "max_train_steps": 2,
             "max_validation_steps": 1}  # fmt: skip
    (first, *others) = trained(settings, **still).validated
    assert {found.loss for found in others} == {first.loss}
    still["max_train_steps"] = 1
    assert trained(settings, **still, seed=8).validated[0].loss == first.loss
    assert trained(settings, **still, validation_seed=5).validated[0].loss != pytest.approx(first.loss, rel=1e-3)


def test_it_falls_while_the_model_learns_the_very_pictures(settings: TrainingSettings, tmp_path: Path):
    """Copies of one picture, so that those held out are those that are learned."""
    folder = tmp_path / "img" / "2_shapes"
    for number in range(1, 5):
        for ending in (".png", ".txt"):
            shutil.copy(folder / f"00{ending}", folder / f"{number:02d}{ending}")
    history = trained(settings, max_train_steps=12, **{**OFTEN, "validate_every_n_steps": 12})
    before, *_, after = [loss for _, loss in curve(history) if loss is not None]
    assert after < 0.95 * before


@pytest.mark.shows("max_validation_steps")
def test_it_is_measured_on_no_more_batches_than_are_asked_for(settings: TrainingSettings):
    history = trained(settings, max_train_steps=1, max_validation_steps=1, **OFTEN)
    assert {found.pictures for found in history.validated} == {1}


def test_a_run_that_goes_on_has_the_curve_of_one_that_never_stopped(settings: TrainingSettings):
    asked = settings.with_values({"max_train_steps": 4, **OFTEN, "max_validation_steps": 1})
    whole = trained(asked)
    run = new_run(asked)
    assert train(asked, run, Stopping(run)) == ("stopped", 3)
    (run.path / "control.jsonl").unlink()  # as the next engine's start does
    run.writer().write(Validated(step=4, loss=9.0, pictures=2))  # by an engine that was killed beyond its last state
    assert curve(went_on(asked, run)) == curve(whole)


def test_a_file_says_what_was_held_out(settings: TrainingSettings, tmp_path: Path):
    trained(settings, max_train_steps=1, **OFTEN)
    with safe_open(tmp_path / "out" / "shapes.safetensors", "pt") as file:
        said = file.metadata()
    expected = {"split": "0.4", "seed": "0"}
    assert {name: said[f"ss_validation_{name}"] for name in expected} == expected
    # 2 of 5 pictures, seen twice
    assert (said["ss_num_validation_images"], said["ss_num_train_images"]) == ("4", "6")
    assert (said["ss_validate_every_n_steps"], said["ss_max_validation_steps"]) == ("2", "None")


def test_pictures_held_out_that_cannot_be_read_are_named_and_the_run_goes_on(settings: TrainingSettings):
    for item in training_set(settings.with_values(OFTEN)).held_out:
        item.picture.write_bytes(item.picture.read_bytes()[:-60])
    history = trained(settings, max_train_steps=1, **OFTEN)
    assert history.validated == []
    assert any("None of the held-out pictures can be read" in text for text in history.warnings)


def test_pictures_held_out_that_go_in_the_middle_do_not_end_the_run(settings: TrainingSettings):
    asked = settings.with_values({"max_train_steps": 4, "cache_latents": False, **OFTEN})
    gone = [item.picture for item in training_set(asked).held_out]

    class Losing(Report):
        def step(self, step: int, *others: Any, **more: Any) -> None:
            super().step(step, *others, **more)
            if step == 3:
                for picture in gone:
                    picture.unlink()

    run = new_run(asked)
    assert train(asked, run, Losing(run.writer())) == ("done", 4)
    history = History(run).update()
    assert [found.step for found in history.validated] == [0, 2]
    told = [text for text in history.warnings if "can no longer be read" in text]
    assert len(told) == 2  # each once
    assert all("from step 4 on, the validation loss is not measured, because none is left" in text for text in told)


def test_a_picture_held_out_that_goes_is_left_out_and_no_other_stands_in_its_place(settings: TrainingSettings):
    """3 · mean(a, b, c) = a + 2 · mean(b, c), whichever of them goes, where nothing is learned meanwhile."""
    still = {"validation_split": 0.6, "validate_every_n_steps": 2, "unet_lr": 1e-30, "text_encoder_lr": 1e-30,
             "cache_latents": False, "train_batch_size": 2, "max_train_steps": 1}  # fmt: skip
    asked = settings.with_values(still)
    first, *others = [item.picture for item in training_set(asked).held_out]

    def without(*gone: Path) -> History:
        """gone: after the first step; they are back after the run."""

        class Losing(Report):
            def step(self, step: int, *others: Any, **more: Any) -> None:
                super().step(step, *others, **more)
                for picture in gone:
                    picture.rename(picture.with_suffix(".away"))

        run = new_run(asked)
        train(asked, run, Losing(run.writer()))
        for picture in gone:
            picture.with_suffix(".away").rename(picture)
        return History(run).update()

    lacking_one, lacking_two = without(first), without(*others)
    (before, two), (_, one) = lacking_one.validated, lacking_two.validated
    assert [measured.pictures for measured in (before, two, one)] == [3, 2, 1]
    assert 3 * before.loss == pytest.approx(one.loss + 2 * two.loss, rel=1e-5)
    told = [text for text in lacking_one.warnings if "can no longer be read" in text]
    assert len(told) == 1
    assert "from step 1 on, the validation loss is measured on the others, so its curve has a break" in told[0]


class StoppingMeanwhile(Report):
    """Asks the run to stop when the second picture of the n-th measurement is on."""

    def __init__(self, run: RunFolder, which: int) -> None:
        super().__init__(run.writer())
        self._run, self._left = run, which

    def stage(self, name: Any, done: int = 0, total: int = 0, detail: str = "") -> None:
        super().stage(name, done, total, detail)
        if name == "validating" and done == 0:
            self._left -= 1
            if self._left == 0:
                self._run.ask("stop")


def test_a_stop_ends_a_measurement_and_the_run_makes_up_for_it_when_it_goes_on(settings: TrainingSettings):
    asked = settings.with_values({"max_train_steps": 3, **OFTEN})
    whole = curve(trained(asked))
    run = new_run(asked)
    for which, step in ((1, 0), (2, 2)):  # of the first engine, before its first step; of the next one
        assert train(asked, run, StoppingMeanwhile(run, which)) == ("stopped", step)
        assert curve(History(run).update()) == whole[: which - 1]
        assert bool(find_state(run.state_folder)) == (step > 0)
        (run.path / "control.jsonl").unlink()
    assert curve(went_on(asked, run)) == whole


def test_where_another_process_stops_all_drop_what_is_unfinished(settings: TrainingSettings, monkeypatch):
    """What they add up says so, even to those that have not seen the wish."""
    monkeypatch.setattr(Accelerator, "reduce", lambda self, losses, how: losses + torch.tensor([0, 0, 1]))
    asked = settings.with_values(OFTEN)
    run = new_run(asked)
    assert train(asked, run, Report(run.writer())) == ("stopped", 0)
    assert History(run).update().validated == []


def test_processes_share_the_captions_of_what_is_held_out(tmp_path: Path):
    """Of two, each encodes half of those that are to be kept in files."""
    asked = TrainingSettings().with_values({"flux1_checkbox": True, "flux1_cache_text_encoder_outputs_to_disk": True})
    items = [Item(tmp_path / f"{number}.png", "", 1, caption="x" * number) for number in range(1, 9)]
    encoded = []

    def of_process(rank: int, wait: Any) -> None:
        family, parts = CaptionLengths(), Parts(nn.Module(), nn.Module(), [], [])
        beside: Any = SimpleNamespace(num_processes=2, process_index=rank, wait_for_everyone=wait)
        held_out = HeldOutCaptions(CaptionEncoder(family, parts, Reading()), asked, items, beside)
        held_out.conditioning(torch.device("cpu"), CaptionProgress())
        encoded.append(family.asked)

    # The other comes while the first waits for it, and finds half of the files.
    of_process(0, lambda: of_process(1, lambda: None))
    assert encoded == [4, 4]


def test_nothing_drops_out_while_modules_rest_and_those_that_did_do_so_again():
    down, up = nn.Linear(8, 8), nn.Linear(8, 8)
    layer = nn.Sequential(down, up)
    attach([layer], down, [up], Dropouts(network=0.5, module=0.5))
    still = nn.Dropout().eval()
    whole = nn.ModuleList([layer, still])
    shown = torch.ones(1, 8)
    with resting_modules([whole]):
        assert all(torch.equal(layer(shown), layer(shown)) for _ in range(10))
        assert not whole.training
    assert not all(torch.equal(layer(shown), layer(shown)) for _ in range(20))
    assert down.training
    assert up.training
    assert not still.training
