"""Ranks and learning rates block by block, as sliders on a picture of the model; and what the network will be."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import Driver

LIST = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25"


def block(page: Driver, name: str) -> Any:
    return page.page.get_by_role("textbox", name=name, exact=True)


def slider(page: Driver, name: str) -> Any:
    return page.page.get_by_role("slider", name=f"{name}, slider", exact=True)


def paste(page: Driver, option: str, text: str) -> None:
    page.open_field(option)
    page.field(option).fill(text)


def test_sliders_and_the_list_say_the_same(open_page: Any):
    page = open_page()
    page.open_field("block_dims")
    expect(page.page.locator(".block-note")).to_contain_text("No list yet")
    expect(block(page, "IN03")).to_have_value("8")
    slider(page, "IN03").fill("12")
    assert page.value("block_dims") == "8,8,8,12" + 21 * ",8"
    block(page, "MID").fill("0")
    assert page.value("block_dims").split(",")[12] == "0"
    paste(page, "block_dims", LIST)
    expect(block(page, "IN00")).to_have_value("1")
    expect(block(page, "MID")).to_have_value("13")
    expect(block(page, "OUT11")).to_have_value("25")
    page.page.locator("[data-shape]").select_option("Middle and up blocks")
    assert page.value("block_dims") == 12 * "0," + ",".join(13 * "8")
    page.button("Clear the list").click()
    assert page.value("block_dims") == ""
    assert not page.errors


def test_curves_of_learning_rates_show_as_numbers_and_become_them_when_one_is_moved(open_page: Any):
    page = open_page()
    paste(page, "down_lr_weight", "reverse_linear+.5")
    page.page.locator("#section-parameters-advanced-weights .to-blocks").click()
    expect(block(page, "IN00")).to_have_value("1.5")
    expect(block(page, "IN11")).to_have_value("0.5")
    expect(block(page, "OUT05")).to_have_value("1")
    block(page, "OUT05").fill("0.25")
    assert page.value("up_lr_weight") == "1,1,1,1,1,0.25" + 6 * ",1"
    assert page.value("down_lr_weight").startswith("1.5,1.409,")
    assert page.value("mid_lr_weight") == "1"


def test_the_picture_is_of_the_chosen_model_and_the_line_counts_its_layers(open_page: Any):
    page = open_page()
    line = page.page.locator("#network-size")
    page.open_field("pretrained_model_name_or_path")
    page.field("pretrained_model_name_or_path").fill("black-forest-labs/FLUX.1-dev")
    page.field("flux1_checkbox").check()
    expect(line).to_contain_text("376 layers")
    expect(line).to_contain_text("at the usual size of FLUX.1")
    page.open_field("block_dims")
    assert page.page.locator(".block-editor [data-place]").count() == 57
    page.page.locator("[data-shape]").select_option("Single blocks 7, 12, 16 and 20")
    assert [n for n, rank in enumerate(page.value("block_dims").split(",")) if rank != "0"] == [26, 31, 35, 39]
    expect(line).to_contain_text("84 of 376 layers")  # 72 of CLIP-L, 3 of each block
    paste(page, "block_dims", "1,2")
    expect(line).to_contain_text("Block dims has 2 numbers, but FLUX.1 has 57 (19 double, 38 single) blocks.")
    assert not page.errors
