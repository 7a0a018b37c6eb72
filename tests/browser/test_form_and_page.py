"""What the page shows belongs to the form: after a change, a reload, beside another page, and with a new server."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from engine.runs.events import Finished, Planned, Started
from engine.runs.folder import RunFolder
from tests.browser.conftest import Driver, Server

OF_BEFORE = re.compile(r"\bof-before\b")


def fill(page: Driver, option: str, text: str) -> None:
    """Type, and wait until what hangs on the form has followed."""
    before = page.page.evaluate("darkroom.form")
    page.open_field(option)
    page.field(option).fill(text)
    page.field(option).blur()
    page.page.wait_for_function("before => darkroom.form !== before", arg=before)


def kept(page: Driver) -> str:
    return page.page.evaluate("darkroom.form")


def test_what_was_found_says_when_the_form_has_gone_on(open_page: Any):
    page = open_page()
    fill(page, "epoch", "2")
    page.button("Check").click()
    findings = page.page.locator("#findings .of-form")
    expect(findings).to_contain_text("No image folder is chosen.")
    expect(findings).not_to_have_class(OF_BEFORE)
    fill(page, "epoch", "3")
    expect(findings).to_have_class(OF_BEFORE)
    fill(page, "epoch", "2")  # it is again what was checked
    expect(findings).not_to_have_class(OF_BEFORE)
    fill(page, "output_name", "cat")
    expect(findings).to_have_class(OF_BEFORE)
    page.button("Check").click()
    expect(findings).not_to_have_class(OF_BEFORE)


def test_two_pages_of_a_browser_keep_their_own_settings_through_a_reload(open_page: Any, server: Server):
    first = open_page()
    second = Driver(first.page.context.new_page(), server.url)
    fill(first, "output_name", "first")
    fill(second, "output_name", "second")
    for page, name in ((first, "first"), (second, "second"), (first, "first")):
        page.page.reload()
        expect(page.page.locator("#start")).to_be_visible()
        page.open_field("output_name")
        expect(page.field("output_name")).to_have_value(name)
    fill(second, "output_name", "newest")
    third = Driver(first.page.context.new_page(), server.url)  # a new page begins with what was said last
    third.open_field("output_name")
    expect(third.field("output_name")).to_have_value("newest")
    assert not second.errors + third.errors


def test_a_new_server_goes_on_with_what_the_page_shows(open_page: Any, server: Server, tmp_path: Path):
    page = open_page()
    (tmp_path / "kohya.json").write_text(json.dumps({"output_name": "kept", "of another program": "word", "epoch": 4}))
    page.tab("Finetuning")
    page.page.locator("#configuration > button").click()
    page.page.locator("#settings-path textarea, #settings-path input").first.fill(str(tmp_path / "kohya.json"))
    page.page.locator("#load").click()
    expect(page.page.locator("#said")).to_contain_text("Loaded kohya.json.")
    page.open_field("output_name")
    expect(page.field("output_name")).to_have_value("kept")
    fill(page, "epoch", "5")

    server.stop()
    server.start()
    page.page.wait_for_function("document.querySelector('#start')?.getClientRects().length")
    expect(page.page.locator('#methods [role="tab"][aria-selected="true"]')).to_have_text("Finetuning")
    page.button("Check").click()
    findings = page.page.locator("#findings .of-form")
    expect(findings).to_contain_text("Fix this before you start")
    fill(page, "epoch", "6")
    page.button("Check").click()
    expect(findings).not_to_have_class(OF_BEFORE)
    expect(page.page.locator('#methods [role="tab"][aria-selected="true"]')).to_have_text("Finetuning")
    page.page.locator("#configuration > button:not(.open)").click() if page.page.locator(
        "#configuration > button:not(.open)"
    ).count() else None
    page.page.locator("#settings-path textarea, #settings-path input").first.fill(str(tmp_path / "again.json"))
    page.page.locator("#save").click()
    expect(page.page.locator("#said")).to_contain_text("Saved")
    written = json.loads((tmp_path / "again.json").read_text())
    assert (written["output_name"], written["epoch"]) == ("kept", 6)
    assert written["of another program"] == "word"  # which no field shows


def test_a_run_that_is_deleted_while_it_is_shown_is_said_to_be_gone_and_the_page_goes_on(open_page: Any):
    runs = [RunFolder.create("train", "{}", name) for name in ("other", "shown")]
    for run in runs:
        planned = Planned(total_steps=5, steps_per_epoch=5, seed=1, device="CPU")
        run.writer().write(Started(), planned, Finished(how="stopped"))
    page = open_page()
    page.wait_for_status("Stopped")
    name = page.page.locator("#overview .run-name").inner_text()
    shutil.rmtree(next(run.path for run in runs if run.name == name))
    expect(page.page.locator("#overview")).to_contain_text(f"The folder of the run {name} no longer exists")
    expect(page.button("Resume")).to_be_hidden()
    page.button("Check").click()
    expect(page.page.locator("#findings")).to_contain_text("No image folder is chosen.")
