"""What is kept when, so that a run that ends anywhere goes on and lacks nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from engine.begin import CannotResume, resumable_settings
from engine.data.steps import StepPlan
from engine.runs.events import Checkpoint, Event, Planned, Sample, Stage, StateSaved
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.saved_state import Progress, delete_state, saved_progress, tidy_done_runs
from engine.settings.training import TrainingSettings
from engine.training.milestones import Milestones, Past
from engine.training.report import Report
from engine.training.results import Results
from engine.training.state import save_state

PLAN = StepPlan(pictures=4, batch=(1,), accumulation=1, epochs=3, processes=1, batches=4, steps=14, decided_by="epoch")


class Killed(BaseException):
    """In place of a kill: no code of the engine's catches it."""


class Method:
    """Saves files; killed_at: the name of the one before which it is killed."""

    def __init__(self, killed_at: str = "") -> None:
        self.killed_at, self.saved = killed_at, list[str]()

    def state_dict(self) -> dict[str, Any]:
        return {"weight": torch.ones(2)}

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        if file.name == self.killed_at:
            raise Killed
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
        self.saved.append(file.name)


class Sampler:
    """Draws two prompts; killed_at: the (step, prompt) before which it is killed."""

    def __init__(self, killed_at: tuple[int, int] = (-1, -1)) -> None:
        self.killed_at, self.drawn = killed_at, list[tuple[int, int]]()

    def draw(self, report: Report, step: int, epoch: int | None = None, but: Collection[int] = ()) -> None:
        for index in (0, 1):
            if index in but:
                continue
            if (step, index) == self.killed_at:
                raise Killed
            self.drawn.append((step, index))
            report.event(Sample(file="a.png", preview="a", prompt="cat", prompt_index=index, seed=7, step=step))


@pytest.fixture
def told(settings: TrainingSettings) -> TrainingSettings:
    return settings.with_values({"save_every_n_epochs": 0, "save_every_n_steps": 4, "sample_every_n_steps": 4})


def begun(told: TrainingSettings) -> RunFolder:
    return RunFolder.create("train", told.model_dump_json(), "shapes")


def engine(told: TrainingSettings, run: RunFolder, method: Method | None = None, sampler: Sampler | None = None):
    """Of a run that goes on from the state that it has."""
    report, behind = Report(run.writer()), saved_progress(run.state_folder)
    report.event(
        Planned(total_steps=14, steps_per_epoch=4, seed=7, device="cpu", first_step=behind.step if behind else 0)
    )
    metadata: Any = SimpleNamespace(at=lambda *_: {}, seed=7, new_notes=list, of_average=dict)
    return Milestones(
        settings=told, run=run, plan=PLAN, method=method or Method(), metadata=metadata, sampler=sampler or Sampler(),
        report=report, accelerator=Accelerator(cpu=True), memory=lambda: {"optimizer": {}},
        results=Results(nullcontext, {"": nullcontext}),
    )  # fmt: skip


def trained(milestones: Milestones, first: int = 1, last: int = 14) -> None:
    assert not milestones.before_step(first)
    for step in range(first, last + 1):
        assert not milestones.after(step)
    if last == 14:
        milestones.after_last_step()


def files(told: TrainingSettings) -> list[str]:
    return sorted(path.name for path in Path(told.folders.output_dir).iterdir())


ALL = [*(f"shapes-step{step:08d}.safetensors" for step in (4, 8, 12)), "shapes.safetensors"]


class TestWhereTheRunEndsAmongWhatIsDue:
    def test_between_the_averaged_weights_and_the_trained_ones_both_are_written_again(self, told):
        run, both = begun(told), Results(nullcontext, {"-ema": nullcontext, "": nullcontext})
        first = engine(told, run, Method(killed_at="shapes-step00000004.safetensors"))
        first.results = both
        with pytest.raises(Killed):
            trained(first)
        assert files(told) == ["shapes-step00000004-ema.safetensors"]
        resumable_settings(run)
        second = engine(told, run)
        second.results = both
        trained(second, first=5)
        assert files(told) == sorted(name.replace(".", f"{which}.") for name in ALL for which in ("", "-ema"))

    @pytest.mark.parametrize("step", [4, 8])
    def test_at_a_file_its_state_is_there_and_the_file_is_written_when_it_goes_on(self, told, step: int):
        run, name = begun(told), f"shapes-step{step:08d}.safetensors"
        with pytest.raises(Killed):
            trained(engine(told, run, Method(killed_at=name)))
        assert saved_progress(run.state_folder).step == step
        resumable_settings(run)
        sampler = Sampler()
        trained(engine(told, run, sampler=sampler), first=step + 1)
        assert files(told) == ALL
        assert sampler.drawn[:2] == [(step, 0), (step, 1)]

    @pytest.mark.parametrize("step", [4, 8])
    def test_between_a_state_and_its_event_the_files_are_written_all_the_same(self, told, monkeypatch, step: int):
        def event(report: Report, event: Event) -> None:
            if isinstance(event, StateSaved) and event.step == step:
                raise Killed
            usual(report, event)

        run, usual = begun(told), Report.event
        monkeypatch.setattr(Report, "event", event)
        with pytest.raises(Killed):
            trained(engine(told, run))
        monkeypatch.undo()
        assert saved_progress(run.state_folder).step == step
        trained(engine(told, run), first=step + 1)
        assert files(told) == ALL

    @pytest.mark.parametrize("missing", [(4, 0), (4, 1), (8, 1)])
    def test_at_a_sample_those_that_lack_are_drawn(self, told, missing: tuple[int, int]):
        run, step = begun(told), missing[0]
        first = Sampler(killed_at=missing)
        with pytest.raises(Killed):
            trained(engine(told, run, sampler=first))
        again, method = Sampler(), Method()
        trained(engine(told, run, method, again), first=step + 1)
        assert sorted(first.drawn + again.drawn) == [(s, index) for s in (4, 8, 12) for index in (0, 1)]
        assert f"shapes-step{step:08d}.safetensors" not in method.saved  # it was whole, and told of

    def test_a_sample_before_the_training_is_not_drawn_twice(self, told):
        told = told.with_values({"sample_at_first": True})
        run = begun(told)
        first, again = Sampler(), Sampler()
        trained(engine(told, run, sampler=first), last=3)
        trained(engine(told, run, sampler=again), last=3)
        assert (first.drawn, again.drawn) == ([(0, 0), (0, 1)], [])

    def test_where_older_ones_go_they_do_so_after_all(self, told, monkeypatch: pytest.MonkeyPatch):
        def killed(_: Milestones, named: Any, past: Past) -> None:
            if past.file:
                raise Killed

        told = told.with_values({"save_last_n_steps": 1, "save_state": True})
        run = begun(told)
        monkeypatch.setattr(Milestones, "_drop", killed)
        with pytest.raises(Killed):
            trained(engine(told, run))
        monkeypatch.undo()
        assert "shapes-step00000004-state" in files(told)
        trained(engine(told, run), first=9)
        assert files(told) == [
            "shapes-state", "shapes-step00000012-state", "shapes-step00000012.safetensors", "shapes.safetensors",
        ]  # fmt: skip

    def test_another_runs_state_makes_nothing_due(self, told, tmp_path: Path):
        save_state(tmp_path / "state", {"weight": torch.ones(2)}, {}, Progress(4, 14, 7))
        run, method, sampler = begun(told), Method(), Sampler()
        trained(engine(told, run, method, sampler), first=5)
        assert ALL[0] not in method.saved
        assert (4, 0) not in sampler.drawn


class TestWhatCanBeResumed:
    def test_a_run_that_ended_before_it_had_a_state_begins_again_over_its_own_files(self, told):
        """As those of an earlier version did, whose files came before their state."""
        run = begun(told)
        run.writer().write(Stage(name="saving", detail=ALL[0]))
        Path(told.folders.output_dir).mkdir()
        (Path(told.folders.output_dir) / ALL[0]).touch()
        run.writer().write(Checkpoint(file=str(Path(told.folders.output_dir) / ALL[0]), step=4))
        resumable_settings(run)
        trained(engine(told, run))
        assert files(told) == ALL

    def test_one_whose_state_is_gone_does_not(self, told):
        run = begun(told)
        run.writer().write(StateSaved(step=4))
        with pytest.raises(CannotResume, match="is missing"):
            resumable_settings(run)

    def test_one_that_was_killed_after_its_final_file_is_done(self, told):
        run = begun(told)
        trained(engine(told, run))
        save_state(run.state_folder, {"weight": torch.ones(2)}, {}, Progress(8, 14, 7))  # as a kill leaves it
        run.keep_reserve()
        assert run.status_now() == "done"
        with pytest.raises(CannotResume, match="is finished"):
            resumable_settings(run)
        tidy_done_runs()
        assert saved_progress(run.state_folder) is None
        assert not run.has_reserve()

    def test_what_cannot_be_tidied_hinders_no_other_run(self, told, monkeypatch: pytest.MonkeyPatch):
        run = begun(told)
        trained(engine(told, run))
        run.keep_reserve()

        def refused(_: RunFolder) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(RunFolder, "give_up_reserve", refused)
        tidy_done_runs()

    def test_of_others_nothing_is_tidied(self, told):
        run = begun(told)
        save_state(run.state_folder, {"weight": torch.ones(2)}, {}, Progress(8, 14, 7))
        run.writer().write(StateSaved(step=8))
        tidy_done_runs()
        assert saved_progress(run.state_folder).step == 8


class TestWhatOthersPutIntoTheOutputFolderMeanwhile:
    def milestones(self, told: TrainingSettings, there: str, is_folder: bool = False) -> tuple[Milestones, Path]:
        milestones, path = engine(told, begun(told)), Path(told.folders.output_dir) / there
        path.parent.mkdir(exist_ok=True)
        if is_folder:
            path.mkdir()
            (path / "holiday.jpg").write_text("mine")
        else:
            path.write_text("mine")
        return milestones, path

    @pytest.mark.parametrize("there", ALL)
    def test_is_not_replaced_and_the_result_gets_another_name(self, told, there: str):
        milestones, path = self.milestones(told, there)
        trained(milestones)
        assert path.read_text() == "mine"
        assert path.with_stem(f"{path.stem}-2").read_text() == f"{path.stem}-2.safetensors"
        (warning,) = History(milestones.run).update().warnings
        assert warning == (
            f'"{there}" appeared in the output folder during this run, so the result is saved '
            f'as "{path.stem}-2" instead.'
        )

    def test_is_replaced_where_that_was_asked_for(self, told):
        milestones, path = self.milestones(told.with_values({"overwrite": True}), ALL[3])
        trained(milestones)
        assert path.read_text() == ALL[3]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_that_is_no_state_is_never_replaced_by_one(self, told, overwrite: bool):
        changes = {"save_state": True, "overwrite": overwrite, "save_last_n_steps": 1}
        milestones, path = self.milestones(told.with_values(changes), "shapes-step00000004-state", is_folder=True)
        trained(milestones)
        assert (path / "holiday.jpg").read_text() == "mine"
        assert saved_progress(path.with_name("shapes-step00000012-state")).step == 12

    def test_is_not_deleted_with_the_runs_older_ones_which_go_under_their_own_name(self, told):
        changes = {"save_last_n_steps": 1, "save_state": True}
        milestones, path = self.milestones(told.with_values(changes), ALL[0])
        state = path.with_name("shapes-step00000004-state")
        save_state(state, {"weight": torch.zeros(2)}, {}, Progress(4, 4, 1))
        trained(milestones)
        assert path.read_text() == "mine"
        assert saved_progress(state).seed == 1
        assert not path.with_stem(f"{path.stem}-2").exists()
        assert not path.with_name("shapes-step00000004-2-state").exists()

    @pytest.mark.parametrize("step", [4, 8])
    def test_what_another_run_put_in_a_files_place_since_is_not_written_over(self, told, step: int):
        run, name = begun(told), f"shapes-step{step:08d}.safetensors"
        with pytest.raises(Killed):
            trained(engine(told, run, Method(killed_at=name)))
        resumable_settings(run)
        other = Path(told.folders.output_dir) / name
        other.parent.mkdir(exist_ok=True)
        other.write_text("another's")
        later = time.time() + 60
        os.utime(other, (later, later))
        with pytest.raises(CannotResume, match="would overwrite"):
            resumable_settings(run)

    def test_an_older_file_that_another_program_has_open_ends_nothing(self, told, monkeypatch: pytest.MonkeyPatch):
        def in_use(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        milestones = engine(told.with_values({"save_last_n_steps": 1}), begun(told))
        monkeypatch.setattr("engine.training.milestones.removed", in_use)
        trained(milestones)
        assert files(told) == ALL
        assert any(
            "could not be deleted: Permission denied" in told for told in History(milestones.run).update().warnings
        )

    def test_what_the_run_wrote_itself_is_its_own(self, told):
        run = begun(told)
        with pytest.raises(Killed):
            trained(engine(told, run, sampler=Sampler(killed_at=(4, 0))))
        delete_state(run.state_folder)
        trained(engine(told, run))
        assert files(told) == ALL
