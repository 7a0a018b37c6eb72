"""Stopped or killed anywhere and resumed, a run ends in the same bits as one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine import begin
from engine.__main__ import main
from engine.disk import DiskFull, aside
from engine.failure import Failure
from engine.runs import process
from engine.runs.events import Checkpoint, Finished, Stage, StateSaved, Step
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.saved_state import Progress, delete_state, find_state, saved_progress
from engine.settings.training import TrainingSettings
from engine.training.state import load_state, save_state

PATIENCE = 240
"""Seconds: two cores may be busy with other things."""


def ended(run: RunFolder) -> History:
    assert process.wait(run, PATIENCE), run.log_tail()
    return History(run).update()


def wait_for_step(run: RunFolder, step: int) -> None:
    history, until = History(run), time.monotonic() + PATIENCE
    while history.update().done_steps < step:
        assert time.monotonic() < until, run.log_tail()
        assert run.is_alive(), run.log_tail()
        time.sleep(0.05)


def resume(run: RunFolder) -> History:
    begin.resume(run)
    return ended(run)


def kill_at_once(run: RunFolder) -> None:
    for engine in process.processes_of(run):
        os.kill(engine.pid, signal.SIGKILL)


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / f"{name}.safetensors")


def assert_same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, f"{len(different)} of {len(a)} tensors differ, such as {different[0]}"


def assert_same_losses(a: History, b: History) -> None:
    assert [(s.step, s.loss, s.smoothed_loss, s.learning_rates) for s in a.steps] == [
        (s.step, s.loss, s.smoothed_loss, s.learning_rates) for s in b.steps
    ]


LONG = {
    # Thirty steps of six epochs, accumulation and a schedule in them, so that a lost place would show.
    "epoch": 6, "gradient_accumulation_steps": 2, "lr_scheduler": "cosine", "lr_warmup": 10,
    "save_precision": "float", "cache_latents": False, "save_every_n_epochs": 0, "save_every_n_steps": 5,
}  # fmt: skip


@pytest.mark.shows("cache_latents")
@pytest.mark.parametrize("optimizer", ["AdamW", "AdamW8bit"])
def test_a_run_that_is_stopped_and_later_killed_goes_on_to_the_same_bits(
    start_run, trained, tmp_path: Path, optimizer: str
):
    left_alone = trained(output_name="whole", optimizer=optimizer, **LONG)
    run = start_run(output_name="broken", optimizer=optimizer, save_state=True, **LONG)
    wait_for_step(run, 7)
    process.stop(run)
    story = ended(run)
    assert isinstance(story.last, Finished)
    assert story.last.how == "stopped"
    assert story.status == "stopped"
    stopped_at = story.last.step
    assert 7 <= stopped_at < 30
    assert (tmp_path / "out" / f"broken-step{stopped_at:08d}.safetensors").exists()  # what was learned is saved

    begin.resume(run)
    wait_for_step(run, stopped_at + 6)
    kill_at_once(run)
    story = ended(run)
    assert story.status == "died"
    assert story.planned.first_step == stopped_at
    kept = saved_progress(run.state_folder)
    assert kept is not None
    state = kept.step  # it may have been killed before it could tell of the last one
    assert stopped_at < story.state_step <= state
    assert state % 5 == 0

    resumed = resume(run)
    assert resumed.last.how == "done"
    assert resumed.planned.first_step == state
    assert_same_losses(resumed, left_alone)
    assert_same_bits(weights(tmp_path, "broken"), weights(tmp_path, "whole"))


@pytest.mark.shows("sample_every_n_steps", "sample_at_first", "sample_prompts")
def test_samples_and_saves_on_the_way_change_nothing(trained, tmp_path: Path):
    trained(output_name="plain", save_precision="float", epoch=1)
    history = trained(output_name="busy", save_precision="float", epoch=1, save_every_n_steps=3,
                      save_state=True, sample_every_n_steps=2, sample_at_first=True,
                      sample_prompts="a red circle --s 2")  # fmt: skip
    assert [sample.step for sample in history.samples] == [0, 2, 4, 6, 8, 10]
    assert_same_bits(weights(tmp_path, "busy"), weights(tmp_path, "plain"))


@pytest.mark.shows("resume", "save_state_on_train_end")
def test_another_run_goes_on_from_a_saved_state(trained, tmp_path: Path):
    trained(output_name="whole", max_train_steps=12, lr_scheduler="constant", save_precision="float")
    trained(output_name="first", max_train_steps=6, lr_scheduler="constant", save_state_on_train_end=True)
    state = tmp_path / "out" / "first-state"
    assert load_state(state)[2] == Progress(6, 6, 7, load_state(state)[2].smoothed_loss)
    second = trained(output_name="second", max_train_steps=12, lr_scheduler="constant", resume=str(state),
                     save_precision="float")  # fmt: skip
    assert [s.step for s in second.steps] == [7, 8, 9, 10, 11, 12]
    assert_same_bits(weights(tmp_path, "second"), weights(tmp_path, "whole"))


def test_a_finished_state_has_nothing_left_to_do(trained, tmp_path: Path):
    trained(output_name="first", max_train_steps=4, save_state_on_train_end=True)
    again = trained(output_name="second", max_train_steps=4, resume=str(tmp_path / "out" / "first-state"))
    assert again.last.how == "failed"
    assert "is already at step 4" in again.problem.what
    assert again.problem.option == "resume"


def test_save_now_and_sample_now(start_run, tmp_path: Path):
    run = start_run(epoch=60, sample_prompts="a red circle --s 2")
    wait_for_step(run, 2)
    run.ask("save")
    run.ask("sample")
    history, until = History(run), time.monotonic() + PATIENCE
    while not (history.update().checkpoints and history.samples):
        assert time.monotonic() < until, run.log_tail()
        time.sleep(0.1)
    process.stop(run)
    step = history.checkpoints[0].step
    assert Path(history.checkpoints[0].file) == tmp_path / "out" / f"shapes-step{step:08d}.safetensors"
    assert Path(history.samples[0].file).exists()
    ended(run)


def test_stop_while_pictures_are_cached_stops(start_run, tmp_path: Path):
    run = start_run()
    run.ask("stop")
    history = ended(run)
    assert (history.last.how, history.last.step) == ("stopped", 0)
    assert not any(isinstance(event, Step | StateSaved) for event in run.events().read())


def test_the_command_line_resumes_too(start_run, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    run = start_run(epoch=6)
    wait_for_step(run, 2)
    process.stop(run)
    at = ended(run).last.step
    assert main(["resume", run.name]) == 0
    assert History(run).update().planned.first_step == at
    assert (tmp_path / "out" / "shapes.safetensors").exists()


def test_what_must_not_be_resumed_is_refused(start_run, trained, tmp_path: Path):
    """Each would overwrite what somebody has, or start over at step 0 unasked."""
    done = trained(max_train_steps=2).run
    with pytest.raises(begin.CannotResume, match="is finished"):
        begin.resume(done)

    stopped = start_run(output_name="stopped", epoch=60)
    wait_for_step(stopped, 2)
    with pytest.raises(begin.CannotResume, match="already running"):
        begin.resume(stopped)
    process.stop(stopped)
    at = ended(stopped).last.step
    assert begin.resume_step(stopped) == at
    others = tmp_path / "out" / "stopped.safetensors"
    others.write_bytes(b"somebody's")
    with pytest.raises(begin.CannotResume, match="would overwrite"):
        begin.resume(stopped)
    others.unlink()
    delete_state(stopped.state_folder)
    with pytest.raises(begin.CannotResume, match="start over at step 0"):
        begin.resume(stopped)


class TestWhatARunMayWriteAgain:
    """A run that was stopped, told of by its events alone."""

    def resumable(self, settings: TrainingSettings, tmp_path: Path, **changes: object) -> RunFolder:
        told = settings.with_values({"save_every_n_steps": 2, "save_state": True, **changes})
        run = RunFolder.create("train", told.model_dump_json(), "shapes")
        run.state_folder.mkdir()
        (run.state_folder / "progress.json").write_text(json.dumps(asdict(Progress(4, 10, 7))))
        run.writer().write(Finished(how="stopped", step=4))
        (tmp_path / "out").mkdir()
        return run

    def test_its_files_and_states_and_one_that_a_kill_left_untold(self, settings: TrainingSettings, tmp_path: Path):
        run = self.resumable(settings, tmp_path)
        out = tmp_path / "out"
        for name in ("shapes-step00000002", "shapes-step00000004"):
            (out / f"{name}.safetensors").touch()
        (out / "shapes-step00000002-state").mkdir()
        run.writer().write(
            Checkpoint(file=str(out / "shapes-step00000002.safetensors"), step=2),
            Stage(name="saving", detail="shapes-step00000004.safetensors"),
        )
        assert begin.resumable_settings(run).folders.output_name == "shapes"
        (out / "shapes-step00000006.safetensors").touch()
        with pytest.raises(begin.CannotResume, match="step00000006"):
            begin.resumable_settings(run)

    def test_its_folders_too(self, settings: TrainingSettings, tmp_path: Path):
        changes = {"output_name": "v1.5", "save_model_as": "diffusers"}
        whole = settings.for_method("dreambooth")
        run = self.resumable(whole, tmp_path, **changes)
        for name in ("v1.5-step00000002", "v1.5-step00000002-state"):
            (tmp_path / "out" / name).mkdir()
        run.writer().write(Stage(name="saving", detail="v1.5-step00000002"))
        assert begin.resumable_settings(run).folders.output_name == "v1.5"

    def test_what_it_began_from_may_be_gone(self, settings: TrainingSettings, tmp_path: Path):
        run = self.resumable(settings, tmp_path, resume="/gone-state", network_weights="/gone.safetensors")
        assert begin.resumable_settings(run).saving.resume == "/gone-state"


@pytest.mark.parametrize("changed", [{"network": {"network_dim": "wide"}}, {"network": {"new_trick": 1}}])
def test_a_run_does_not_go_on_with_other_settings_than_it_was_told(changed: dict):
    run = RunFolder.create("train", json.dumps(TrainingSettings().model_dump() | changed), "cat")
    with pytest.raises(begin.CannotResume, match="come from another version"):
        begin.resumable_settings(run)


def test_two_runs_never_write_the_same_files(start_run, settings: TrainingSettings):
    first = start_run(epoch=60)
    wait_for_step(first, 1)
    checked, run = begin.begin(settings)
    assert run is None
    assert [p.option for p in checked.problems if p.blocking] == ["output_name"]
    assert first.name in checked.problems[-1].what
    process.stop(first)
    ended(first)


def test_no_file_of_a_run_holds_a_secret(settings: TrainingSettings):
    said = {
        "huggingface_token": "S3CRET", "additional_parameters": "--wandb_api_key S3CRET --hub_token=S3CRET",
        "training_comment": f"made with hf_{'S3CRET' * 5}", "max_train_steps": 1,
    }  # fmt: skip
    held = settings.with_values(said).model_copy(
        update={"kohya_extra": {"hf_token": "S3CRET", "x": {"password": "S3CRET"}}}
    )
    checked, run = begin.begin(held)
    assert run is not None, checked.problems
    ended(run)
    written = [
        file for top in (run.path, Path(settings.folders.output_dir)) for file in top.rglob("*") if file.is_file()
    ]
    assert any(file.suffix == ".safetensors" for file in written)
    assert not [file for file in written if b"S3CRET" in file.read_bytes()]


def test_a_state_of_another_network_is_refused_in_words(trained, tmp_path: Path):
    trained(output_name="first", max_train_steps=2, save_state_on_train_end=True)
    state = str(tmp_path / "out" / "first-state")
    again = trained(output_name="second", max_train_steps=4, resume=state, network_dim=2)
    assert again.problem.option == "resume"
    assert "belongs to a different network" in again.problem.what


class TestStateFolder:
    STATE = ({"a": torch.ones(2)}, {"optimizer": {"step": torch.tensor(3)}}, Progress(3, 10, 7, 0.5))

    def test_it_goes_out_and_in_again(self, tmp_path: Path):
        save_state(tmp_path / "state", *self.STATE)
        loaded, memory, progress = load_state(tmp_path / "state")
        assert torch.equal(loaded["a"], torch.ones(2))
        assert memory == self.STATE[1]
        assert progress == self.STATE[2]

    def test_killed_between_the_two_moves_the_old_one_is_found(self, tmp_path: Path):
        save_state(tmp_path / "state", *self.STATE)
        old = aside(tmp_path / "state", "old")
        (tmp_path / "state").rename(old)
        assert find_state(tmp_path / "state") == old
        assert load_state(tmp_path / "state")[2].step == 3
        delete_state(tmp_path / "state")
        assert not list(tmp_path.iterdir())

    def test_what_is_no_state_is_not_deleted_as_one(self, tmp_path: Path):
        (tmp_path / "cat-state").mkdir()
        (tmp_path / "cat-state" / "holiday.jpg").touch()
        delete_state(tmp_path / "cat-state")
        assert (tmp_path / "cat-state" / "holiday.jpg").exists()

    def test_a_save_that_fails_leaves_the_old_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        save_state(tmp_path / "state", *self.STATE)

        def full_disk(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", full_disk)
        with pytest.raises(DiskFull, match="The disk is full"):
            save_state(tmp_path / "state", {"a": torch.zeros(2)}, {}, Progress(4, 10, 7))
        assert load_state(tmp_path / "state")[2].step == 3

    def test_a_damaged_one_and_another_programs_are_refused(self, tmp_path: Path):
        save_state(tmp_path / "state", *self.STATE)
        (tmp_path / "state" / "weights.safetensors").write_bytes(b"cut")
        with pytest.raises(Failure, match="is damaged"):
            load_state(tmp_path / "state")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "train_state.json").write_text("{}")
        with pytest.raises(Failure, match="comes from another program"):
            load_state(tmp_path / "other")
