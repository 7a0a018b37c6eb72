"""After a run: its files, its name, and deleting it."""

from __future__ import annotations

import shutil
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine.jobs import UTILITIES
from engine.runs.events import Checkpoint, Finished, Planned, Started
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.listing import run_named
from ui import run_view
from ui.run_files import downloadable
from ui.runs_panel import RunsPanel


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Trained, with two files saved."""
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started(), Planned(total_steps=10, steps_per_epoch=5, seed=1, device="CPU"))
    for name, step in (("cat-000001.safetensors", 5), ("cat.safetensors", 10)):
        (tmp_path / name).write_bytes(b"x" * 2000)
        run.writer().write(Checkpoint(file=str(tmp_path / name), step=step, final=step == 10))
    run.writer().write(Finished(how="done", step=10))
    return run


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> RunsPanel:
    with gr.Blocks() as blocks:
        drawn = RunsPanel()
        drawn.draw()
        drawn.connect(blocks)
    blocks.allowed_paths = []
    drawn.told = told = []
    for kind in ("Warning", "Info"):
        monkeypatch.setattr(gr, kind, told.append)
    return drawn


def shown(run: RunFolder) -> str:
    return run_view.overview(History(run).update())


def sent(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


class TestFiles:
    def test_each_can_be_downloaded_and_found_by_its_path_the_newest_first(self, run: RunFolder, tmp_path: Path):
        html = unescape(shown(run))
        links = [f'href="gradio_api/file={tmp_path / name}"' for name in ("cat.safetensors", "cat-000001.safetensors")]
        copies = [f'data-copy="{tmp_path / name}"' for name in ("cat.safetensors", "cat-000001.safetensors")]
        places = [html.index(words) for words in (links[0], copies[0], "1 saved earlier", links[1], copies[1])]
        assert places == sorted(places)
        assert "Download (2 KB)" in html

    def test_what_is_no_model_is_not_given_to_browsers(self, run: RunFolder, tmp_path: Path):
        """A run's folder may come from somebody else, and name any file."""
        (tmp_path / "secret").write_text("key")
        (tmp_path / "link.safetensors").symlink_to(tmp_path / "secret")
        (tmp_path / "folder.safetensors").mkdir()
        good = downloadable(History(run).update())
        for name in ("secret", "link.safetensors", "folder.safetensors", "gone.safetensors", "a\0b.safetensors"):
            run.writer().write(Checkpoint(file=str(tmp_path / name), step=10))
        run.writer().write(Checkpoint(file="cat.safetensors", step=10))
        history = History(run).update()
        assert downloadable(history) == good == [tmp_path / "cat-000001.safetensors", tmp_path / "cat.safetensors"]
        assert run_view.overview(history).count("download>") == 2

    def test_gradio_gives_those_of_the_run_that_is_looked_at_and_no_others(
        self, panel: RunsPanel, run: RunFolder, tmp_path: Path
    ):
        for _ in range(3):
            panel.tick(run.name, "")
        allowed = panel._blocks.allowed_paths
        assert sorted(allowed) == [str(tmp_path / "cat-000001.safetensors"), str(tmp_path / "cat.safetensors")]

    def test_a_page_that_shows_the_run_still_has_them_after_the_server_was_started_again(
        self, panel: RunsPanel, run: RunFolder
    ):
        seen = panel.tick(run.name, "")[0]
        panel._blocks.allowed_paths = []
        assert panel.tick(run.name, seen)[0] == gr.skip()
        assert len(panel._blocks.allowed_paths) == 2


class TestNames:
    def test_a_run_is_listed_and_shown_by_its_new_name(self, panel: RunsPanel, run: RunFolder):
        seen = panel.tick(run.name, "")[0]
        choices = panel._rename(sent(run=run.name, title="My <cat>"))["choices"]
        assert choices == [("My <cat> · done", run.name)]
        told = panel.tick(run.name, seen)
        assert f'<span class="run-name" title="{run.name}">My &lt;cat&gt;</span>' in told[1]

    @pytest.mark.parametrize("data", [None, [], "text", {"run": "../runs"}, {"run": ["x"]}, {"run": "gone"}, {}])
    def test_whatever_a_browser_sends_is_answered(self, panel: RunsPanel, run: RunFolder, data: Any):
        for act in (panel._rename, panel._delete):
            act(gr.EventData(None, data))
        assert run_named(run.name).title == run.name


class TestDeleting:
    def test_the_models_stay_and_the_next_run_is_shown(self, panel: RunsPanel, run: RunFolder, tmp_path: Path):
        older = RunFolder.create("train", "{}", "a")
        older.path.rename(older.path.with_name("2000" + older.name[4:]))
        assert panel._delete(sent(run=run.name))["value"] == "2000" + older.name[4:]
        assert panel.told == [f"{run.name} was deleted."]
        assert not run.path.exists()
        assert (tmp_path / "cat.safetensors").exists()

    def test_it_says_before_what_goes_and_where_the_models_stay(self, run: RunFolder, tmp_path: Path):
        html = shown(run)
        question, button = html.index("can never be resumed"), html.index(f'data-delete="{run.name}"')
        assert question < button
        assert f"The saved models stay in {tmp_path}." in html
        assert html.rindex("<details><summary>Delete", 0, question) > html.index('<details class="run-more">')

    def test_a_run_that_goes_on_is_neither_offered_for_it_nor_deleted(self, panel: RunsPanel, run: RunFolder):
        with run.held():
            assert "data-delete" not in shown(run)
            panel._delete(sent(run=run.name))
        assert panel.told == [f"The run {run.name} is still running. Stop it before you delete it."]
        assert run_named(run.name) == run

    def test_a_utilitys_run_is_deleted_too(self, panel: RunsPanel):
        run = RunFolder.create("caption-wd14", "{}", "b")
        run.writer().write(Started(), Finished(how="done"))
        assert "The files it wrote stay where they are." in shown(run)
        panel._delete(sent(run=run.name))
        assert run_named(run.name) is None

    def test_what_else_lies_in_the_folder_is_told(self, panel: RunsPanel, run: RunFolder):
        (run.path / "mine.safetensors").touch()
        panel._delete(sent(run=run.name))
        assert panel.told[0].endswith(f"Other files in {run.path} were kept: mine.safetensors.")

    def test_a_disk_that_does_not_let_it_is_told(self, panel: RunsPanel, run: RunFolder, monkeypatch: Any):
        def refuse(path: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(shutil, "rmtree", refuse)
        run.previews_folder.mkdir()
        panel._delete(sent(run=run.name))
        assert panel.told == [f"The run {run.name} was not deleted completely: Permission denied."]


def test_what_prepare_made_is_offered_for_training_when_it_is_done(tmp_path: Path):
    settings = UTILITIES["prepare-dataset"].settings_class()().with_values({"destination": str(tmp_path / "made")})
    run = RunFolder.create("prepare-dataset", settings.model_dump_json(), "b")
    run.writer().write(Started())
    assert "data-train-on" not in shown(run)
    run.writer().write(Finished(how="done"))
    assert f'data-train-on="{run.name}"' in shown(run)
    assert settings.to_train_on()["train_data_dir"] == str(tmp_path / "made" / "img")
    captioned = RunFolder.create("caption-wd14", "{}", "c")
    captioned.writer().write(Started(), Finished(how="done"))
    assert "data-train-on" not in shown(captioned)
