"""The Dataset page: looked at, sifted, captions changed, undone and saved, pictures prepared."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pictures import draw_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = draw_pictures(tmp_path / "img" / "3_shapes", 5)
    for number, text in enumerate(["red, cat", "blue, cat", "<b>bold</b>, cat"]):
        (inside / f"{number:02d}.txt").write_text(text)
    (inside / "03.txt").unlink()
    (inside / "04.txt").write_text("dog")
    (inside / "broken.png").write_bytes(b"no picture")
    return tmp_path / "img"


def test_a_dataset_is_looked_at_and_its_captions_mended(open_page, folder: Path, tmp_path: Path):
    driver = open_page()
    page = driver.page
    inside = folder / "3_shapes"
    driver.tab("Dataset")
    page.locator("#dataset-folder :is(textarea, input)").fill(str(folder))
    page.locator("#dataset-show").click()
    overview = page.locator(".dataset-overview")
    expect(overview).to_contain_text("6 pictures.")
    expect(overview).to_contain_text("15 steps per epoch")
    expect(overview).to_contain_text("broken.png")
    driver.screenshot("dataset overview")

    driver.tab("Pictures")
    figures = page.locator("#dataset-grid figure")
    expect(figures).to_have_count(6)
    expect(page.locator("#dataset-grid img")).to_have_count(5)
    page.wait_for_function("document.querySelector('#dataset-grid img').naturalWidth > 0")
    assert page.locator("#dataset-grid b b, #dataset-tags b b").count() == 0  # a caption is no markup

    tag = page.locator("#dataset-tags button", has_text="cat")
    tag.click()
    expect(figures).to_have_count(3)

    page.locator("#dataset-bulk > button").click()
    text = page.locator("#dataset-text :is(textarea, input)")
    text.fill("sks")
    page.locator("#dataset-preview-button").click()
    expect(page.locator("#dataset-preview")).to_contain_text("3 of 3 captions would change")
    expect(page.locator("#dataset-preview ins").first).to_contain_text("sks")
    driver.screenshot("dataset captions in bulk")
    page.locator("#dataset-apply").click()
    unsaved = page.locator("#dataset-drafts")
    expect(unsaved).to_contain_text("3 captions have unsaved changes")
    page.locator("#dataset-undo").click()
    expect(unsaved).not_to_contain_text("unsaved")
    page.locator("#dataset-apply").click()
    expect(unsaved).to_contain_text("3 captions have unsaved changes")
    assert (inside / "00.txt").read_text() == "red, cat"  # nothing is written yet

    tag.click()  # all pictures again
    expect(figures).to_have_count(6)
    figures.nth(3).click()
    caption = page.locator("#dataset-caption textarea")
    expect(caption).to_have_value("")
    caption.fill("a star")
    caption.press("PageDown")
    expect(caption).to_have_value("dog")
    expect(unsaved).to_contain_text("4 captions have unsaved changes")
    caption.fill("a dog")
    driver.screenshot("dataset editor")
    caption.press("Control+s")
    expect(page.locator("#dataset-said")).to_contain_text("Saved 5 captions.")
    expect(unsaved).not_to_contain_text("unsaved")
    assert [(inside / f"0{n}.txt").read_text() for n in (0, 3, 4)] == ["red, cat, sks\n", "a star\n", "a dog\n"]
    assert (inside / "00.txt.bak").read_text() == "red, cat"

    undo = page.locator("#dataset-undo")
    expect(undo).to_have_text("Undo Save")
    undo.click()
    expect(page.locator("#dataset-said")).to_contain_text("Restored 5 captions on disk")
    expect(unsaved).to_contain_text("5 captions have unsaved changes")
    expect(caption).to_have_value("a dog")
    assert ((inside / "00.txt").read_text(), (inside / "04.txt").read_text()) == ("red, cat", "dog")
    assert not (inside / "03.txt").exists()
    assert not list(inside.glob("*.bak"))
    expect(undo).to_have_text("Undo")
    page.locator("#dataset-save").click()
    expect(unsaved).not_to_contain_text("unsaved")
    assert (inside / "04.txt").read_text() == "a dog\n"

    driver.tab("Buckets")
    expect(page.locator("#dataset-buckets tbody tr")).to_have_count(1)
    driver.screenshot("dataset buckets")


def test_pictures_are_ordered_by_their_aesthetic_scores(open_page, folder: Path):
    for number, score in enumerate((4, 7, 5)):
        (folder / f"3_shapes/{number:02d}.score").write_text(str(score))
    driver = open_page()
    page = driver.page
    driver.tab("Dataset")
    page.locator("#dataset-folder :is(textarea, input)").fill(str(folder))
    page.locator("#dataset-show").click()
    expect(page.locator(".dataset-overview")).to_contain_text("3 of 6 pictures have an aesthetic score: 4.00 to 7.00")
    driver.tab("Pictures")
    figures = page.locator("#dataset-grid figure")
    expect(figures.first).to_contain_text("score 4.00")
    page.get_by_label("Order", exact=True).click()
    page.get_by_role("option", name="Highest score first").click()
    expect(figures.first).to_contain_text("score 7.00")
    expect(figures).to_have_count(6)
    driver.screenshot("dataset by score")


def test_what_cannot_be_shown_is_said_and_pictures_are_prepared(open_page, folder: Path, tmp_path: Path):
    driver = open_page()
    page = driver.page
    driver.tab("Dataset")
    page.locator("#dataset-folder :is(textarea, input)").fill(str(tmp_path / "nowhere"))
    page.locator("#dataset-show").click()
    expect(page.locator("#dataset-said")).to_contain_text("There is no folder")

    page.locator("#dataset-folder :is(textarea, input)").fill(str(folder / "3_shapes"))
    page.locator("#dataset-show").click()
    expect(page.locator(".dataset-overview")).to_contain_text("6 pictures.")

    driver.tab("Prepare")

    def field(option: str) -> Locator:
        return page.locator(f"#prepare-dataset-{option} :is(textarea, input)").first

    def fill(option: str, text: str) -> None:
        field(option).fill(text)

    expect(field("train_data_dir")).to_have_value(str(folder / "3_shapes"))  # what is shown
    expect(field("destination")).to_have_value(str(folder / "3_shapes-prepared"))
    fill("instance_prompt", "sks")
    fill("class_prompt", "shape")
    fill("destination", str(tmp_path / "out"))
    page.locator("#prepare-dataset-start").click()
    driver.wait_for_utility("Done")
    expect(page.locator("#utility-overview")).to_contain_text("5 pictures copied")
    assert len(list((tmp_path / "out" / "img" / "10_sks shape").glob("*.png"))) == 5
    driver.screenshot("dataset prepared")


def drop(page: Page, folder: Path, selector: str) -> None:
    """Let a folder fall on an element, as from a file manager."""
    box = page.locator(selector).bounding_box()
    assert box
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})


def test_a_dropped_folder_is_kept_beside_the_runs_and_shown(open_page, folder: Path, runs: Path):
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / "3_shapes" / "05.caption").write_bytes(b"")
    driver = open_page()
    page = driver.page
    driver.tab("Dataset")
    drop(page, folder, ".masthead")  # beside it: nothing happens, the page stays
    drop(page, folder, ".dataset-drop")
    said = page.locator("#dataset-said")
    kept = runs.with_name("pictures") / "img"
    expect(said).to_contain_text(f"6 pictures and 5 captions are now in {kept}.")
    expect(said).to_contain_text("neither pictures nor captions (.txt, .caption): img/notes.pdf.")
    expect(page.locator(".dataset-overview")).to_contain_text("15 steps per epoch")
    expect(page.locator("#dataset-folder :is(textarea, input)")).to_have_value(str(kept))
    for name in ("00.png", "00.txt", "05.caption", "broken.png"):
        assert (kept / "3_shapes" / name).read_bytes() == (folder / "3_shapes" / name).read_bytes()
    assert sorted(entry.name for entry in kept.iterdir()) == ["3_shapes"]
    driver.screenshot("dataset dropped")

    page.locator("#dataset-drop input").set_input_files(folder)  # chosen instead, and again
    expect(said).to_contain_text(f"6 pictures and 5 captions are now in {kept}-2.")
    expect(page.locator("#dataset-folder :is(textarea, input)")).to_have_value(f"{kept}-2")
    expect(page.locator(".dataset-drop span")).to_have_text("or drop a folder here")
