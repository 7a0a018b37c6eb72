"""The search stands over all tabs, and knows of forms that nobody has opened yet."""

from __future__ import annotations

from playwright.sync_api import expect

from engine.settings.training import training_options


def test_an_option_is_found_from_another_tab_by_its_help_and_reached(open_page):
    page = open_page()
    search, hit = page.page.locator("#option-search"), page.page.locator("#option-hits .hit").first
    page.tab("Dataset")
    search.fill("each concept pictures check not trained on")
    expect(hit).to_have_attribute("data-form", "prepare-dataset")
    expect(hit).to_contain_text("Share of each concept's pictures")
    search.press("Enter")
    expect(page.page.locator("#prepare-dataset-validation_split [name]")).to_be_focused()
    page.tab("Utilities")
    search.fill("overfits sooner")
    search.press("Enter")
    expect(page.field("network_dim")).to_be_focused()


def test_a_fields_title_says_its_help_although_the_page_has_it_once(open_page):
    page = open_page()
    rank = next(item for item in training_options() if item.name == "network_dim")
    assert page.page.locator("#option-network_dim").get_attribute("title").startswith(rank.help + "\n")
    assert page.page.evaluate("document.documentElement.outerHTML").count(rank.help[:40]) <= 3  # the form, drawn


def test_on_a_phone_the_search_has_the_pages_width(open_page):
    page = open_page()
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.page.locator("#option-search").fill("noise")
    for part in ("#option-search", "#option-hits"):
        box = page.page.locator(part).bounding_box()
        assert 0 <= box["x"] < 40
        assert 300 < box["width"] <= 390 - box["x"]
    page.page.locator("#option-search").fill("metadata_tags")
    page.page.keyboard.press("Enter")
    expect(page.field("metadata_tags")).to_be_focused()
