"""A utility on the page: filled in, started, watched, stopped, and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.pictures import draw_pictures
from tests.tools.small_tagger import save_tagger

PICTURES = 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "img", PICTURES, caption=False)


def test_a_folder_is_captioned_stopped_and_gone_on_with(open_page, folder: Path, tmp_path: Path):
    tagger = save_tagger(tmp_path / "tagger", slow=True)
    page = open_page()
    page.tab("Utilities", "Captioning", "WD14")
    start = page.page.locator("#caption-wd14-start")
    findings = page.page.locator("#caption-wd14-findings")
    start.click()
    expect(findings).to_contain_text("Image folder to caption is empty.")

    def fill(option: str, text: str) -> None:
        field = page.page.locator(f"#caption-wd14-{option} :is(textarea, input)").first
        field.fill(text)
        field.press("Tab")

    fill("train_data_dir", str(folder))
    fill("repo_id", str(tagger))
    fill("general_threshold", "0")
    (folder / "broken.png").write_bytes(b"no picture")
    start.click()
    page.wait_for_utility("Working")
    expect(findings).to_have_text("")
    overview = page.page.locator("#utility-overview")
    expect(overview.locator('[data-figure="time left"]')).to_be_visible()
    expect(overview.locator(".stage")).to_contain_text(".png: 1girl")
    expect(page.button("Save now")).to_be_hidden()
    page.screenshot("captioning at work")

    page.button("Stop").click()
    page.wait_for_utility("Stopped")
    done = len(list(folder.glob("*.txt")))
    assert 0 < done < PICTURES
    expect(overview).to_contain_text(f"{done} captions written.")

    page.button("Resume").click()
    page.wait_for_utility("Done")
    assert len(list(folder.glob("*.txt"))) == PICTURES
    expect(overview).to_contain_text(
        f"{PICTURES - done} captions written, {done} pictures already had one, 1 left out."
    )
    expect(overview.locator(".left-out")).to_contain_text("broken.png is not a picture that can be read")
    overview.get_by_text(f"Tags of {PICTURES} pictures").click()
    expect(overview).to_contain_text(f"1girl: {PICTURES}")
    page.screenshot("captioning done")


def test_captions_are_written_by_hand_with_the_keys_alone(open_page, tmp_path: Path):
    folder = draw_pictures(tmp_path / "img", 4, caption=False)
    (folder / "01.txt").write_text("mine")
    page = open_page()
    page.tab("Utilities", "Captioning", "Manual")
    page.page.locator("#manual-folder :is(textarea, input)").fill(str(folder))
    page.page.locator("#manual-folder :is(textarea, input)").press("Enter")
    caption = page.page.locator("#manual-caption textarea")
    number = page.page.locator("#manual-number input")
    expect(page.page.locator("#manual-picture img")).to_be_visible()
    caption.fill("a heart")
    caption.press("PageDown")
    expect(number).to_have_value("2")
    expect(caption).to_have_value("mine")
    assert (folder / "00.txt").read_text() == "a heart\n"
    page.screenshot("manual captioning")
    caption.press("Control+Enter")
    expect(number).to_have_value("3")
    caption.fill("two hearts")
    caption.press("PageUp")
    expect(caption).to_have_value("mine")
    assert (folder / "01.txt").read_text() == "mine"  # what was not changed is not written
    assert (folder / "02.txt").read_text() == "two hearts\n"
    number.fill("4")
    number.press("Enter")
    expect(caption).to_have_value("")
