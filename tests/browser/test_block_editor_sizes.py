"""The block editor writes lists for the model that is chosen, where its family has several sizes."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

MEDIUM, LARGE = (f"stabilityai/stable-diffusion-3.5-{size}" for size in ("medium", "large"))


def test_lists_of_stable_diffusion_3_have_a_number_for_each_block_of_the_chosen_model(open_page: Any):
    page = open_page()
    sliders = page.page.locator(".block-editor [data-place]")
    page.open_field("pretrained_model_name_or_path")
    page.field("pretrained_model_name_or_path").fill(LARGE)
    page.field("sd3_checkbox").check()
    page.open_field("block_dims")
    expect(sliders).to_have_count(38)
    page.page.get_by_role("textbox", name="J37", exact=True).fill("3")
    assert page.value("block_dims") == 37 * "8," + "3"
    page.field("block_dims").fill(",".join(24 * "4"))  # another model's list is no reason to draw that
    expect(page.page.locator("#network-size")).to_contain_text("a joint block 24")
    expect(sliders).to_have_count(38)
    page.button("Clear the list").click()
    page.open_field("pretrained_model_name_or_path")
    page.field("pretrained_model_name_or_path").fill(MEDIUM)
    page.open_field("block_dims")
    expect(sliders).to_have_count(24)
    assert not page.errors
