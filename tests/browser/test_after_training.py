"""What can be done once a run has ended, and with what a utility has made."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from engine.jobs import UTILITIES
from engine.runs.events import Checkpoint, Finished, Planned, Progress, Started
from engine.runs.folder import RunFolder
from tests.pictures import draw_pictures


def ended(job: str, title: str, settings: str = "{}", saved: Path | None = None) -> RunFolder:
    run = RunFolder.create(job, settings, title)
    told = [Checkpoint(file=str(saved), step=5, final=True)] if saved else []
    planned = (
        Planned(total_steps=5, steps_per_epoch=5, seed=1, device="CPU") if job == "train" else Progress(done=1, total=1)
    )
    run.writer().write(Started(), planned, *told, Finished(how="done", step=5))
    return run


def test_a_model_is_downloaded_the_run_renamed_and_deleted(open_page, tmp_path: Path):
    model = tmp_path / "out" / "my cat.safetensors"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    older, run = ended("train", "a"), ended("train", "b", saved=model)
    page = open_page()
    overview = page.page.locator("#overview")
    with page.page.expect_download() as download:
        overview.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "my cat.safetensors"
    assert Path(download.value.path()).read_bytes() == b"weights"

    overview.get_by_text("Rename or delete this run").click()
    overview.get_by_label("Name").fill("The black cat")
    overview.get_by_role("button", name="Rename").click()
    expect(overview.locator(".run-name")).to_have_text("The black cat")
    expect(page.page.locator("#run input")).to_have_value("The black cat · done")

    overview.get_by_text("Rename or delete this run").click()
    delete = overview.get_by_role("button", name="Delete this run")
    expect(delete).to_be_hidden()  # it is asked for first
    overview.get_by_text("Delete …").click()
    expect(overview).to_contain_text(f"The saved models stay in {model.parent}.")
    delete.click()
    expect(overview.locator(".run-name")).to_have_text(older.name)
    assert not run.path.exists()
    assert model.read_bytes() == b"weights"
    assert page.page.request.get(f"{page.page.url}gradio_api/file={tmp_path}/other.safetensors").status in (403, 404)


def test_what_prepare_made_is_trained_on_with_one_click_and_undone(open_page, tmp_path: Path):
    draw_pictures(tmp_path / "made" / "img" / "2_shapes", 3)
    settings = UTILITIES["prepare-dataset"].settings_class()().with_values({"destination": str(tmp_path / "made")})
    ended("prepare-dataset", "prepare", settings.model_dump_json())
    page = open_page()
    page.tab("Dataset")
    page.page.locator("#utility-overview").get_by_role("button", name="Train on these pictures").click()
    expect(page.field("train_data_dir")).to_be_focused()
    expect(page.field("train_data_dir")).to_have_value(str(tmp_path / "made" / "img"))
    expect(page.page.locator("#steps")).to_contain_text("6 (pictures")
    page.button("Undo the Image folder").click()
    expect(page.field("train_data_dir")).to_have_value("")


def test_pictures_that_are_looked_at_are_trained_on_with_one_click(open_page, tmp_path: Path):
    folder = draw_pictures(tmp_path / "cats", 3)
    page = open_page()
    page.tab("Dataset")
    train = page.page.locator("#dataset-train")
    expect(train).to_be_hidden()  # nothing is entered, so the form's own pictures are shown
    page.page.locator("#dataset-folder :is(input, textarea)").fill("C:/cats")
    train.click()
    expect(page.page.get_by_text("which is a Windows path")).to_be_visible()
    expect(train).to_be_visible()
    page.page.locator("#dataset-folder :is(input, textarea)").fill(str(folder))
    train.click()
    expect(page.field("train_data_dir")).to_have_value(str(folder))
    expect(page.field("train_data_dir")).to_be_focused()
    expect(page.button("Undo the Image folder")).to_be_visible()
