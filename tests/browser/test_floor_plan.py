"""Where things stand on the page, and what is in reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from engine.runs.events import Finished, Planned, Started
from engine.runs.folder import RunFolder
from tests.pictures import draw_pictures


def test_a_reload_opens_the_tabs_again(open_page):
    page = open_page()
    page.tab("Utilities", "Captioning", "WD14")
    page.page.wait_for_timeout(500)
    page.page.reload()
    expect(page.page.locator("#caption-wd14-start")).to_be_visible()
    page.tab("Train")
    page.tab("Parameters", "Advanced")
    page.page.wait_for_timeout(500)
    page.page.reload()
    expect(page.field("noise_offset")).to_be_visible()


def test_a_utilitys_run_stands_apart_from_training(open_page):
    for job in ("train", "caption-wd14"):
        run = RunFolder.create(job, "{}", job)
        run.writer().write(Started(), Planned(total_steps=5, steps_per_epoch=5, seed=1, device="CPU"))
        run.writer().write(Finished(how="stopped"))
    page = open_page()
    expect(page.page.locator("#overview .run-name")).to_contain_text("train")
    expect(page.page.locator("#utility-overview .run-name")).to_be_hidden()
    page.tab("Utilities")
    expect(page.page.locator("#utility-overview .run-name")).to_contain_text("caption-wd14")
    expect(page.page.locator("#overview .run-name")).to_be_hidden()


def test_on_a_phone_start_is_in_reach_and_nothing_is_cut_off(open_page):
    page = open_page()
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.tab("Parameters", "Basic")
    page.page.mouse.wheel(0, 3000)
    expect(page.button("Start training")).to_be_in_viewport()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    page.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last, bar = (page.page.locator(name).bounding_box() for name in (".page > :last-child", "#main-actions"))
    assert last["y"] + last["height"] <= bar["y"]


def test_a_folder_is_chosen_from_the_disk(open_page, runs: Path):
    draw_pictures(runs.parent / "img" / "2_shapes", 3)
    page = open_page()
    page.tab("Folders")
    picker = page.page.locator("dialog.picker")
    for option, chosen in (("train_data_dir", "img"), ("output_dir", "")):  # below the folder around the runs
        page.page.locator(f"#option-{option} .pick").click()
        picker.get_by_role("button", name=str(runs.parent), exact=True).click()
        if chosen:
            picker.get_by_role("button", name=f"{chosen}/", exact=True).click()
        expect(picker.locator(".where")).to_have_text(str(runs.parent / chosen))
        picker.get_by_role("button", name="Choose this folder").click()
        expect(page.field(option)).to_have_value(str(runs.parent / chosen))
    expect(page.page.locator("#steps")).to_contain_text("6 (pictures")


@pytest.mark.parametrize(("around", "tabs"), [
    ((), ["Train", "Dataset", "Utilities", "About"]),
    (("Dataset",), ["Overview", "Pictures", "Buckets", "Prepare", "Prepare latents", "Group images"]),
    (("Utilities",), ["Captioning", "Manual", "Qwen-VL", "Compare", "Aesthetic scores", "Captions as metadata",
                     "LoRA metadata"]),
])  # fmt: skip
def test_on_a_phone_no_tab_hides_behind_a_menu(open_page, around: tuple[str, ...], tabs: list[str]):
    page = open_page()
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.tab(*around)
    for name in tabs:
        tab = page.page.get_by_role("tab", name=name, exact=True).locator("visible=true").first
        box = tab.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        assert box["height"] >= 30
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.page.get_by_label("More tabs").locator("visible=true")).to_have_count(0)


PATH_FIELDS = {
    "#settings-path": ((), "file"),
    "#dataset-folder": (("Dataset",), "folder"),
    "#manual-folder": (("Utilities", "Captioning", "Manual"), "folder"),
    "#metadata-path": (("Utilities", "LoRA metadata"), "file"),
}


def test_paths_beside_the_forms_are_chosen_from_the_disk_too(open_page, runs: Path):
    (runs.parent / "here").mkdir()
    (runs.parent / "settings.json").write_text('{"epoch": 9}')
    page = open_page()
    page.page.locator("#configuration > button").click()
    for field, (tabs, kind) in PATH_FIELDS.items():
        page.tab(*tabs)
        page.page.locator(f"{field} > .pick").click()
        picker = page.page.locator("dialog.picker")
        picker.get_by_role("button", name=str(runs.parent), exact=True).click()
        if kind == "file":
            picker.get_by_role("button", name="settings.json", exact=True).click()
        else:
            expect(picker.get_by_text("settings.json")).to_have_count(0)
            picker.get_by_role("button", name="here/", exact=True).click()
            expect(picker.locator(".where")).to_have_text(str(runs.parent / "here"))
            picker.get_by_role("button", name="Choose this folder").click()
        chosen = runs.parent / ("settings.json" if kind == "file" else "here")
        expect(page.page.locator(f"{field} :is(input, textarea)")).to_have_value(str(chosen))
    page.tab("Train")
    page.button("Load").click()
    expect(page.page.locator("#said")).to_contain_text("Loaded settings.json.")  # the server has what was chosen


def test_every_field_has_a_name_and_no_hidden_helper_is_read_out(open_page):
    page = open_page()
    nameless = """() => [...document.querySelectorAll(".option-form [name], .option-form [type=range]")]
      .filter((field) => !field.labels?.length && !field.getAttribute("aria-label")).map((field) => field.name)"""
    assert page.page.evaluate(nameless) == []
    page.tab("Folders")
    names = [node for node in page.page.locator("input, textarea").all() if node.is_visible()]
    helpers = page.page.get_by_role("textbox").all()
    assert all(helper.is_visible() for helper in helpers)
    assert names


def test_on_a_large_screen_nothing_to_press_or_fill_in_is_as_wide_as_it(open_page):
    page = open_page()
    page.page.set_viewport_size({"width": 1920, "height": 1080})
    for tabs in (("Dataset", "Prepare"), ("Dataset", "Pictures"), ("Utilities", "Captioning", "WD14")):
        page.tab(*tabs)
        for part in page.page.locator("#places button.lg, .option input").all():
            if part.is_visible():
                assert part.bounding_box()["width"] < 1250
    start = page.page.locator("#caption-wd14-start").bounding_box()
    assert start["width"] <= 330
