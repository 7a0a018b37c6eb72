"""Presets, the search, and what differs from the defaults: how the form is lived with."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Driver


def choose(page: Driver, preset: str) -> None:
    page.open_presets(preset).click()
    expect(page.page.locator("#preset-box")).to_be_visible()


def search(page: Driver, words: str) -> list[str]:
    """The labels that are found."""
    page.page.locator("#option-search").fill(words)
    return page.page.locator("#option-hits .hit b").all_inner_texts()


def hits(page: Driver) -> str:
    return page.page.locator("#option-hits").inner_text()


def changes(page: Driver):
    return page.page.locator("#changed")


def test_a_preset_is_looked_at_applied_and_undone(open_page):
    page = open_page()
    page.tab("Folders")
    page.field("output_name").fill("cat")
    page.tab("Parameters", "Basic")
    page.field("epoch").fill("3")
    expect(changes(page)).to_contain_text("2 options differ")
    choose(page, "Low memory")
    preview = page.page.locator("#preset-preview")
    expect(preview).to_contain_text("GPU with little memory")
    expect(preview.locator("tr", has_text="Network Rank").locator("td")).to_have_text(["Network Rank", "8", "16"])
    expect(preview.locator("tr", has_text="Epoch").locator("td")).to_have_text(["Epoch", "3", "10"])
    assert page.value("network_dim") == "8"  # only looked at

    page.button("Apply").click()
    expect(page.page.locator("#said")).to_contain_text("Applied Low memory.")
    expect(page.field("network_dim")).to_have_value("16")
    assert page.value("output_name") == "cat"
    page.button("Undo Low memory").click()
    expect(changes(page)).to_contain_text("2 options differ")
    assert (page.value("network_dim"), page.value("epoch"), page.value("output_name")) == ("8", "3", "cat")
    expect(page.page.locator("#undo")).to_be_hidden()


def test_load_reset_and_try_it_now_can_be_undone(open_page, tmp_path: Path):
    (tmp_path / "other.json").write_text('{"epoch": 9}')
    page = open_page()
    page.tab("Parameters", "Basic")
    page.field("epoch").fill("3")
    page.page.get_by_role("button", name="Configuration").click()
    page.page.locator("#settings-path :is(textarea, input)").fill(str(tmp_path / "other.json"))
    for done, undo, epoch in (
        ("Load", "Undo Load", "9"),
        ("Reset to defaults", "Undo Reset", "1"),
        ("Try it now", "Undo Try it now", "17"),
    ):
        page.button(done).click()
        expect(page.button(undo)).to_be_visible()
        expect(page.field("epoch")).to_have_value(epoch)
        page.button(undo).click()
        expect(page.field("epoch")).to_have_value("3")


def test_ones_own_presets_are_saved_renamed_deleted_and_imported(open_page, runs: Path, tmp_path: Path):
    mine = runs.parent / "my-presets" / "lora"
    page = open_page()
    page.tab("Parameters", "Basic")
    page.field("epoch").fill("3")
    page.page.get_by_role("button", name="My presets").click()
    page.page.locator("#preset-name :is(textarea, input)").fill("Cats")
    page.page.locator("#preset-sentence :is(textarea, input)").fill("For cats.")
    page.button("Save as preset").click()
    expect(page.page.locator("#said")).to_contain_text("Saved the preset Cats.")
    assert json.loads((mine / "Cats.json").read_text()) == {"darkroom_description": "For cats.", "epoch": 3}
    expect(page.page.locator("#preset-preview")).to_contain_text("nothing would change")

    page.field("epoch").fill("4")
    expect(page.page.locator("#preset-preview td")).to_have_text(["Epoch", "4", "3"])  # the preview follows the form
    page.button("Save as preset").click()  # not over the old one without a word
    expect(page.page.locator("#preset-question")).to_contain_text("You already have a preset “Cats”. Replace it?")
    page.button("No").click()
    expect(page.page.locator("#preset-question")).to_be_hidden()
    assert json.loads((mine / "Cats.json").read_text())["epoch"] == 3

    page.button("Rename").click()
    page.page.locator("#preset-new-name :is(textarea, input)").fill("../All cats")
    page.button("Yes").click()
    expect(page.page.locator("#said")).to_contain_text("cannot be used as a file name")
    page.button("Rename").click()
    page.page.locator("#preset-new-name :is(textarea, input)").fill("All cats")
    page.button("Yes").click()
    expect(page.page.locator("#said")).to_contain_text("Renamed Cats to All cats.")

    page.button("Delete").click()
    expect(page.page.locator("#preset-question")).to_contain_text("Delete “All cats”?")
    assert (mine / "All cats.json").exists()
    page.button("Yes").click()
    expect(page.page.locator("#said")).to_contain_text("Deleted All cats.")
    assert list(mine.iterdir()) == []

    (tmp_path / "from a friend.json").write_text('{"network_dim": 64, "output_dir": "D:/loras"}')
    page.page.locator("#preset-file input[type=file]").set_input_files(tmp_path / "from a friend.json")
    expect(page.page.locator("#said")).to_contain_text(
        "Left out of the preset, because these are personal settings: Output"
    )
    expect(page.page.locator("#preset-preview")).to_contain_text("Network Rank")
    page.screenshot("preset of one's own")


def test_the_search_finds_by_label_older_label_key_choice_and_help_and_leads_to_the_field(open_page):
    page = open_page()
    assert search(page, "network_dim")[0] == "Network Rank (Dimension)"
    assert search(page, "rank dimension")[0] == "Network Rank (Dimension)"
    assert "Network Rank (Dimension)" in search(page, "overfits sooner")
    assert search(page, "lora network rank")[0] == "Network Rank (Dimension)"  # an older label
    assert search(page, "adamw8bit")[0] == "Optimizer"
    search(page, "anima qwen3")
    assert "No field: not supported yet (Anima models)" in hits(page)
    search(page, "model_list")
    assert "No field: no effect here" in hits(page)
    assert search(page, "xyzzy") == []
    assert "No option has these words" in hits(page)

    search(page, "tags")
    page.page.locator("#option-hits .hit", has_text="metadata_tags").click()
    expect(page.field("metadata_tags")).to_be_focused()
    page.page.locator("#option-search").fill("vae_batch")
    page.page.keyboard.press("Enter")
    expect(page.page.locator("#option-vae_batch_size")).to_be_in_viewport()
    title = page.page.locator("#option-vae_batch_size").get_attribute("title")
    assert "kohya_ss: vae_batch_size · default: 0" in title
    search(page, "lr power")
    assert "shown when LR Scheduler is polynomial" in hits(page)
    page.page.keyboard.press("Enter")
    expect(page.page.locator("#option-lr_scheduler")).to_be_in_viewport()  # where it is made to appear


def test_what_differs_is_listed_leads_to_its_field_and_is_reset_there_and_beside_it(open_page):
    page = open_page()
    expect(changes(page)).to_have_text("Every option is at its default.")
    choose(page, "Fast trial")
    page.button("Apply").click()
    page.page.locator("details.changed summary").click()
    row = changes(page).locator("tr", has_text="Sample every n steps")
    expect(row.locator("td")).to_have_text(["Sample every n steps", "50", "0", "↺"])
    row.locator("a").click()
    expect(page.field("sample_every_n_steps")).to_be_focused()
    row.get_by_role("button").click()
    expect(page.field("sample_every_n_steps")).to_have_value("0")
    expect(row).to_have_count(0)
    expect(page.page.locator("#option-sample_every_n_steps .option-reset")).to_have_count(0)
    expect(page.page.locator("details.changed")).to_have_attribute("open", "")  # it stays open

    page.open_field("network_alpha")
    page.page.locator("#option-network_alpha .option-reset").click()
    expect(page.field("network_alpha")).to_have_value("1")


def test_a_note_appears_with_its_field_in_a_tab_that_was_not_open_yet(open_page):
    page = open_page()
    page.button("Check").click()
    expect(page.page.locator("#findings")).to_contain_text("Fix this before you start")
    expect(page.problem("train_data_dir")).to_be_hidden()
    page.tab("Folders")
    expect(page.problem("train_data_dir")).to_be_visible()
