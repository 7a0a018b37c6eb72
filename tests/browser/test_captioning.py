"""From pictures without a word to a trained LoRA: captioned, stopped, gone on with, mended by hand, trained."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect
from safetensors import safe_open

from engine.demo.demo import MODEL_FOLDER
from tests.browser.conftest import Driver
from tests.pictures import draw_pictures
from tests.tools.small_describers import save_blip
from tests.tools.small_tagger import save_tagger

PICTURES = 40


def fill(page: Driver, job: str, **values: str) -> None:
    for option, text in values.items():
        field = page.page.locator(f"#{job}-{option} :is(textarea, input)").first
        field.fill(text)
        field.press("Tab")


def test_pictures_are_captioned_in_two_goes_mended_and_trained_on(open_page, tmp_path: Path):
    folder = draw_pictures(tmp_path / "img" / "1_shapes", PICTURES, caption=False)
    page = open_page()
    page.tab("Utilities", "Captioning", "BLIP")
    model = str(save_blip(tmp_path / "blip"))
    fill(page, "caption-blip", train_data_dir=str(folder), model_id=model, max_length="60", min_length="60")
    page.page.locator("#caption-blip-start").click()
    page.wait_for_utility("Working")
    overview = page.page.locator("#utility-overview")
    expect(overview.locator('[data-figure="time left"]')).to_be_visible()
    page.button("Stop").click()
    page.wait_for_utility("Stopped")
    captions = {file: file.read_text() for file in folder.glob("*.txt")}
    assert 0 < len(captions) < PICTURES
    expect(overview).to_contain_text(f"{len(captions)} captions written.")

    fill(page, "caption-blip", max_length="8", min_length="4")  # what is left goes quicker
    page.page.locator("#caption-blip-start").click()
    page.wait_for_utility("Done")
    expect(overview).to_contain_text(
        f"{PICTURES - len(captions)} captions written, {len(captions)} pictures already had one."
    )
    assert len(list(folder.glob("*.txt"))) == PICTURES
    assert {file: file.read_text() for file in captions} == captions

    grid = page.page.locator("#manual-grid")
    expect(grid.locator("figure")).to_have_count(24)
    expect(grid.locator("figure").nth(2)).to_contain_text((folder / "02.txt").read_text().strip())
    page.page.wait_for_function("document.querySelector('#manual-grid img').naturalWidth > 0")
    grid.locator("figure").nth(2).click()
    caption = page.page.locator("#manual-caption textarea")
    expect(page.page.locator("#manual-number")).to_contain_text("Picture 3 of")  # captions may all be the same
    expect(caption).to_have_value((folder / "02.txt").read_text().strip())
    caption.fill("a shape mended by hand")
    page.screenshot("captioning read through")
    caption.press("Control+s")
    expect(grid.locator("figure").nth(2)).to_contain_text("a shape mended by hand")
    assert (folder / "02.txt").read_text() == "a shape mended by hand\n"
    grid.get_by_role("button", name="Later").click()
    expect(grid.locator("figure").first).to_contain_text("24.png")

    for option, value in {
        "pretrained_model_name_or_path": str(MODEL_FOLDER), "train_data_dir": str(tmp_path / "img"),
        "output_dir": str(tmp_path / "out"), "output_name": "learned", "max_resolution": "64,64",
        "train_batch_size": "20", "network_dim": "4",
    }.items():  # fmt: skip
        page.open_field(option)
        page.field(option).fill(value)
        page.field(option).press("Tab")
    expect(page.page.locator("#steps")).to_contain_text("= 2 steps")
    page.button("Start training").click()
    expect(page.page.locator("#overview .run-name")).to_contain_text("learned")
    page.wait_for_status("Done")
    with safe_open(tmp_path / "out" / "learned.safetensors", "pt") as trained:
        learned = json.loads(trained.metadata()["ss_tag_frequency"])
    assert learned["1_shapes"]["a shape mended by hand"] == 1
    assert sum(learned["1_shapes"].values()) == PICTURES


def test_two_captioners_are_compared_and_one_of_them_is_taken(open_page, tmp_path: Path):
    folder = draw_pictures(tmp_path / "img", 6, caption=False)
    page = open_page()
    page.tab("Utilities", "Captioning", "BLIP")
    blip = str(save_blip(tmp_path / "blip"))
    fill(page, "caption-blip", model_id=blip, max_length="12", prefix="photo of")
    page.tab("WD14")
    fill(page, "caption-wd14", repo_id=str(save_tagger(tmp_path / "tagger")))
    page.tab("Compare")
    fill(page, "compare-captioners", train_data_dir=str(folder), count="3")
    page.page.locator("#compare-captioners-start").click()
    page.wait_for_utility("Done")
    table = page.page.locator("#utility-samples .comparison")
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(table.locator("thead")).to_be_in_viewport()
    expect(table.locator("thead")).to_contain_text("BLIP")
    expect(table.locator("tbody tr").first.locator("td").first).to_contain_text("photo of")
    expect(table.locator("tbody tr").first.locator("td").last).to_contain_text("1girl")
    page.page.wait_for_function("document.querySelector('.comparison img').naturalWidth > 0")
    page.screenshot("captioners compared")
    assert not list(folder.glob("*.txt"))
    table.get_by_role("button", name="Use this one").first.click()
    taken = page.page.locator("#caption-blip-train_data_dir :is(textarea, input)").first
    expect(taken).to_be_visible()
    expect(taken).to_have_value(str(folder))
    expect(page.page.locator("#caption-blip-model_id :is(textarea, input)").first).to_have_value(blip)
    page.page.wait_for_function("text => (sessionStorage.getItem('darkroom-utilities') ?? '').includes(text)", arg=blip)
    page.page.reload()
    page.tab("Utilities", "Captioning", "BLIP")
    expect(taken).to_have_value(str(folder))
    expect(page.page.locator("#caption-blip-max_length input")).to_have_value("12")

    search = page.page.locator("#option-search")
    page.tab("Train")
    search.fill("undesired tags")
    hit = page.page.locator("#option-hits [data-option]").first
    expect(hit).to_contain_text("Captioning › WD14")
    page.screenshot("a utility's option found")
    search.press("Enter")
    field = page.page.locator("#caption-wd14-undesired_tags :is(textarea, input)").first
    expect(field).to_be_focused()
    page.tab("Train")
    search.fill("Train batch size")
    expect(hit).to_have_attribute("data-form", "option")
