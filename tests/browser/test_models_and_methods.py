"""The form follows the model that is chosen and the method's tab."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect


def model_folder(folder: Path, pipeline: str) -> str:
    """As much of a model as tells what it is."""
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return str(folder)


def test_the_form_sets_itself_for_the_model_that_is_chosen(open_page, tmp_path: Path):
    page = open_page()
    model = page.field("pretrained_model_name_or_path")
    switches = {name: page.page.locator(f"#option-{name} input") for name in ("sdxl", "flux1_checkbox")}
    model.fill(model_folder(tmp_path / "xl", "StableDiffusionXLPipeline"))
    model.press("Tab")
    expect(page.page.locator("#said")).to_contain_text("This is an SDXL model; the form has been set up for it.")
    expect(switches["sdxl"]).to_be_checked()
    page.tab("Parameters", "Basic")
    expect(page.page.locator("#section-parameters-basic-sdxl")).to_be_visible()
    expect(page.page.locator("[id='section-parameters-basic-flux.1']")).to_be_hidden()

    page.tab("Source Model")
    model.fill(model_folder(tmp_path / "flux", "FluxPipeline"))
    model.press("Tab")
    expect(switches["flux1_checkbox"]).to_be_checked()
    expect(switches["sdxl"]).not_to_be_checked()
    page.tab("Parameters", "Basic")
    expect(page.page.locator("[id='section-parameters-basic-flux.1']")).to_be_visible()
    expect(page.page.locator("#section-parameters-basic-sdxl")).to_be_hidden()


def test_each_method_shows_its_own_options_and_presets_and_a_reload_keeps_it(open_page):
    page = open_page()
    page.tab("Parameters", "Basic")
    expect(page.field("network_dim")).to_be_visible()
    expect(page.field("learning_rate_te")).to_be_hidden()
    page.tab("DreamBooth")
    expect(page.field("learning_rate_te")).to_be_visible()
    expect(page.field("network_dim")).to_be_hidden()
    expect(page.field("learning_rate")).to_have_value("0.00001")
    page.open_presets("Person or object")
    expect(page.page.get_by_role("option", name="SDXL character", exact=True)).to_have_count(0)
    page.page.keyboard.press("Escape")

    page.tab("Finetuning")
    expect(page.page.locator("#option-train_text_encoder input")).to_be_visible()
    page.tab("Folders")
    expect(page.field("train_data_dir")).to_be_visible()  # fine-tuning reads its pictures as the others do
    page.field("output_name").fill("kept")
    page.field("output_name").press("Tab")
    expect(page.page.locator("#changed")).to_contain_text("1 option differs")
    page.page.wait_for_timeout(1000)  # what the browser keeps is written a moment later
    page.page.reload()
    expect(page.page.locator("#methods [role=tab][aria-selected=true]")).to_have_text("Finetuning")
    page.tab("Folders")
    expect(page.field("output_name")).to_have_value("kept")
    page.tab("LoRA")
    page.tab("Parameters", "Basic")
    expect(page.field("learning_rate")).to_have_value("0.0001")
    expect(page.field("network_dim")).to_be_visible()


def test_words_are_asked_for_where_they_are_taught_alone_or_beside_a_lora(open_page):
    page = open_page()
    page.tab("Parameters", "Basic")
    expect(page.field("token_string")).to_be_hidden()
    page.page.locator("#option-pivotal input").check()
    for name in ("token_string", "words_lr", "save_words"):
        expect(page.field(name)).to_be_visible()
    page.tab("DreamBooth")
    expect(page.field("learning_rate_te")).to_be_visible()
    expect(page.field("token_string")).to_be_hidden()
    page.tab("Textual Inversion")
    expect(page.field("token_string")).to_be_visible()
    expect(page.field("words_lr")).to_be_hidden()


def test_a_list_that_is_open_when_its_entries_change_is_closed_for_the_new_ones(open_page):
    page = open_page()
    page.page.route("**/queue/join*", lambda route: None)  # held
    page.tab("DreamBooth")
    preset = page.page.locator("#preset input")
    page.open_presets("SDXL character")  # still LoRA's
    page.page.unroute("**/queue/join*")  # which sends what was held, and so brings DreamBooth's
    expect(preset).to_have_attribute("aria-expanded", "false")
    entry = page.open_presets("Person or object")
    expect(page.page.get_by_role("option", name="SDXL character", exact=True)).to_have_count(0)
    entry.click()
    expect(preset).to_have_value("Person or object")
