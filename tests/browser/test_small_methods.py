"""Methods beside LoRA, from the page to their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from engine.demo.demo import MODEL_FOLDER
from tests.browser.conftest import Driver
from tests.pictures import draw_pictures

BRIEF = {"max_train_steps": "3", "max_resolution": "64,64", "output_name": "learned",
         "pretrained_model_name_or_path": str(MODEL_FOLDER)}  # fmt: skip


def run_to_the_end(page: Driver, values: dict[str, str]) -> None:
    """Type into fields of text and numbers, wherever they are, and train."""
    for option, value in (BRIEF | values).items():
        page.open_field(option)
        page.field(option).fill(value)
        page.field(option).press("Tab")
    page.open_field("optimizer")
    page.choose("optimizer", "AdamW")
    page.open_field("mixed_precision")
    page.choose("mixed_precision", "no")
    page.button("Start training").click()
    page.wait_for_status("Done")


def test_a_slider_is_trained_from_prompts_alone(open_page, tmp_path: Path):
    page = open_page()
    page.tab("LECO", "Parameters", "Basic")
    for name in ("leco_target", "network_dim", "lora_type"):
        expect(page.field(name)).to_be_visible()
    page.tab("Folders")
    expect(page.field("output_dir")).to_be_visible()
    expect(page.field("train_data_dir")).to_be_hidden()
    page.tab("Parameters", "Basic")
    page.choose("leco_action", "slide")
    page.button("Check").click()
    expect(page.page.locator("#findings")).to_contain_text("A slider needs something to slide to.")
    run_to_the_end(page, {"leco_target": "a circle", "leco_positive": "a red circle",
                          "leco_unconditional": "a blue circle", "output_dir": str(tmp_path / "out")})  # fmt: skip
    page.screenshot("leco")
    assert (tmp_path / "out" / "learned.safetensors").exists()
    page.open_field("prompts_file")
    page.field("prompts_file").fill("/no/file.toml")
    page.field("prompts_file").press("Tab")
    expect(page.field("leco_target")).to_be_hidden()
    page.button("Check").click()
    expect(page.page.locator("#findings")).to_contain_text("file.toml was not read: it does not exist.")


@pytest.mark.parametrize(
    ("method", "values", "file"),
    [
        ("Hypernetwork", {"hypernetwork_structure": "1, 2, 2, 1"}, "learned.pt"),
        ("Textual Inversion", {"token_string": "zig", "caption_prefix": "zig "}, "learned.safetensors"),
    ],
)
def test_small_files_are_trained_from_pictures(
    open_page, tmp_path: Path, method: str, values: dict[str, str], file: str
):
    draw_pictures(tmp_path / "img" / "2_shapes", 4)
    page = open_page()
    page.tab(method)
    expect(page.page.locator("#methods [role=tab][aria-selected=true]")).to_have_text(method)
    run_to_the_end(page, values | {"train_data_dir": str(tmp_path / "img"), "output_dir": str(tmp_path / "out")})
    page.screenshot(method)
    assert (tmp_path / "out" / file).exists()


def test_dreamartist_asks_for_the_other_word(open_page):
    page = open_page()
    page.tab("Textual Inversion", "Parameters", "Basic")
    expect(page.field("token_string")).to_be_visible()
    expect(page.field("negative_vectors")).to_be_hidden()
    page.page.locator("#option-dreamartist input").check()
    for name in ("negative_vectors", "negative_init_word", "dreamartist_guidance"):
        expect(page.field(name)).to_be_visible()
    page.screenshot("dreamartist")
