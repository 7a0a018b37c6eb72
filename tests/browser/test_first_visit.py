"""A newcomer's first half hour with the page."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from playwright.sync_api import expect

from engine.runs import process
from engine.runs.folder import all_runs
from tests.browser.conftest import PATIENCE


def test_try_it_now_and_watch_it_learn(open_page, server, runs: Path):
    page = open_page()
    page.button("Try it now").click()
    expect(page.page.locator("#steps")).to_contain_text("= 408 steps")
    page.button("Start training").click()
    page.wait_for_step(55)
    first = page.step()
    page.wait_for_step(first + 10)  # steps rise
    assert page.points() >= 10
    expect(page.page.locator("#samples .newest b")).to_have_text(["step 50"] * 3)
    expect(page.page.locator("#samples th")).to_have_text(["before"])
    expect(page.page.locator("#samples img")).to_have_count(6)
    page.page.wait_for_function("[...document.querySelectorAll('#samples img')].every(i => i.naturalWidth > 0)")
    assert page.samples() == 6
    newest = page.page.locator("#samples .newest").bounding_box()
    assert newest["height"] > 100  # not squeezed away by what stands above
    for figure in ("loss", "learning rate", "speed", "time left", "memory", "device"):
        assert page.figure(figure) not in ("", "…"), figure
    page.screenshot("training")

    run = next(all_runs())
    before = page.step()
    page.page.reload()  # the run goes on, and is there again with its whole history
    page.wait_for_step(before)
    assert page.points() >= 10
    assert page.value("output_name") == "heart"  # and so is the form
    page.page.locator("#configuration > button").click()
    page.page.locator("#settings-path textarea, #settings-path input").fill(str(runs.parent / "mine.json"))
    page.button("Save").click()
    expect(page.page.locator("#said")).to_contain_text("Saved")
    assert json.loads((runs.parent / "mine.json").read_text(encoding="utf-8"))["output_name"] == "heart"

    other = open_page()
    other.wait_for_step(before)

    engine = process.processes_of(run)
    server.stop()
    assert run.is_alive()
    server.start()
    page = open_page()
    page.wait_for_step(before)
    assert process.processes_of(run) == engine

    page.button("Stop").click()
    page.wait_for_status("Stopped")
    stopped_at = page.step()
    saved = page.page.locator("#overview [data-file]").get_attribute("data-file")
    assert Path(saved).name == f"heart-step{stopped_at:08d}.safetensors"
    assert Path(saved).exists()
    assert process.wait(run, 180)

    page.button("Resume").click()
    page.wait_for_step(stopped_at + 2)
    page.button("Stop").click()
    page.wait_for_status("Stopped")
    page.screenshot("stopped")


def test_a_killed_engine_is_called_dead_and_the_run_goes_on(open_page):
    page = open_page()
    page.button("Try it now").click()
    expect(page.page.locator("#steps")).to_contain_text("408")
    page.tab("Parameters", "Advanced")
    page.field("save_every_n_steps").fill("5")
    page.button("Start training").click()
    page.wait_for_step(12)
    run = next(all_runs())
    for engine in process.processes_of(run):
        os.kill(engine.pid, signal.SIGKILL)
    page.wait_for_status("The engine crashed")
    expect(page.page.locator("#overview")).to_contain_text("Resume continues from step")
    expect(page.page.locator("#overview pre")).to_contain_text("loss")  # the last lines of its log
    page.screenshot("died")

    page.button("Try it now").click()  # another run starts
    page.button("Start training").click()
    until = time.monotonic() + PATIENCE / 1000
    while len(list(all_runs())) < 2:
        assert time.monotonic() < until
        time.sleep(0.2)
    second = next(all_runs())
    assert second != run
    page.wait_for_step(2)
    page.button("Start training").click()  # not two at a time
    expect(page.page.locator("#findings")).to_contain_text("is still running")
    page.button("Stop").click()
    page.wait_for_status("Stopped")
    assert process.wait(second, 180)


def test_every_tab_is_drawn(open_page):
    page = open_page()
    for names in (
        ("Source Model",), ("Folders",), ("Parameters", "Basic"), ("Parameters", "Advanced"),
        ("Parameters", "Samples"), ("Parameters", "Accelerate launch"), ("Parameters", "Metadata"),
        ("Utilities",), ("About",),
    ):  # fmt: skip
        page.tab(*names)
        time.sleep(0.5)
        page.screenshot(" ".join(names))
    expect(page.page.get_by_text("torch", exact=True).first).to_be_visible()


def test_what_is_wrong_stands_beside_its_field(open_page, tmp_path: Path):
    from tests.pictures import draw_pictures

    photos = draw_pictures(tmp_path / "photos", 3)
    page = open_page()
    page.tab("Folders")
    page.field("train_data_dir").fill(str(photos))
    page.tab("Parameters", "Basic")
    page.field("max_resolution").fill("32,512")
    page.button("Start training").click()
    expect(page.problem("max_resolution")).to_contain_text("Max resolution 32,512 is too small")
    expect(page.problem("output_dir")).to_contain_text("No output folder is chosen.")
    page.page.locator("#findings").get_by_text("Image folder", exact=False).first.click()  # leads to its field
    expect(page.field("train_data_dir")).to_be_visible()
    expect(page.problem("train_data_dir")).to_contain_text("Found 3 pictures directly in")
    page.screenshot("problems")
    assert list(all_runs()) == []

    page.button("Make the folder for me").click()
    expect(page.problem("train_data_dir")).to_have_count(0)
    assert len(list((photos / "10_concept").glob("*.png"))) == 3
    expect(page.page.locator("#steps")).to_contain_text("30 (pictures × repeats)")


TYPE_AND_CLICK = """([button, text]) => {
  const field = document.querySelector("#option-train_data_dir [name]");
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector(button).click();
}"""


def test_a_button_takes_what_is_typed_in_the_same_moment(open_page, tmp_path: Path):
    page = open_page()
    for button in ("#check", "#start"):
        page.page.evaluate(TYPE_AND_CLICK, [button, f"/typed/then{button}"])
        expect(page.page.locator("#findings")).to_contain_text(f'"/typed/then{button}" does not exist')
    page.page.locator("#configuration > button").click()
    page.page.locator("#settings-path :is(textarea, input)").fill(str(tmp_path / "saved.json"))
    page.page.evaluate(TYPE_AND_CLICK, ["#save", "/typed/then/save"])
    expect(page.page.locator("#said")).to_contain_text("Saved")
    assert json.loads((tmp_path / "saved.json").read_text())["train_data_dir"] == "/typed/then/save"


def test_a_button_waits_for_what_fills_the_form(open_page, tmp_path: Path):
    (tmp_path / "other.json").write_text('{"train_data_dir": "/loaded/then"}')
    page = open_page()
    page.page.locator("#configuration > button").click()
    path = page.page.locator("#settings-path :is(textarea, input)")
    for file in ("other.json", "gone.json"):  # the second is refused, and the form stays as it is
        path.fill(str(tmp_path / file))
        page.page.evaluate("document.querySelector('#load').click(); document.querySelector('#check').click();")
        expect(page.page.locator("#findings")).to_contain_text('"/loaded/then" does not exist')


CLICK_AND_TYPE = """(text) => {
  document.querySelector("#try").click();
  const field = document.querySelector("#option-output_name [name]");
  field.focus();
  field.value = text;
  field.setSelectionRange(1, 1);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def test_what_is_typed_while_the_server_answers_stays(open_page):
    page = open_page()
    page.tab("Folders")
    page.page.evaluate(CLICK_AND_TYPE, "cat")
    expect(page.page.locator("#steps")).to_contain_text("= 408 steps")  # the others are filled
    field = page.field("output_name")
    expect(field).to_be_focused()
    page.page.keyboard.type("h")
    expect(field).to_have_value("chat")  # and the caret stays where it was
    expect(page.page.locator("#changed")).to_contain_text("chat")


def test_an_option_without_meaning_is_hidden(open_page):
    page = open_page()
    page.tab("Parameters", "Basic")
    expect(page.field("lr_scheduler_power")).to_be_hidden()
    page.choose("lr_scheduler", "polynomial")
    expect(page.field("lr_scheduler_power")).to_be_visible()


OLD_FILE = {
    "pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5",
    "v2": False,
    "train_data_dir": "D:/lora/img",
    "output_dir": "D:/lora/model",
    "output_name": "portrait",
    "max_resolution": "512,512",
    "learning_rate": "0.0001",
    "lr_scheduler": "constant",
    "lr_warmup": "0",
    "train_batch_size": 2,
    "epoch": "3",
    "mixed_precision": "bf16",
    "seed": "1234",
    "use_8bit_adam": True,
    "xformers": True,
    "text_encoder_lr": "5e-5",
    "unet_lr": "0.0001",
    "network_dim": 128,
    "network_alpha": 64,
    "clip_skip": 2,
    "max_train_epochs": "",
    "keep_tokens": "0",
    "async_upload": True,
    "a_key_of_tomorrow": "kept",
    "max_token_length": "75",
}
SHOWN = {
    "output_name": "portrait", "learning_rate": "0.0001", "epoch": "3", "seed": "1234", "text_encoder_lr": "0.00005",
    "network_dim": "128", "network_alpha": "64", "clip_skip": "2", "lr_warmup": "0", "train_data_dir": "D:/lora/img",
}  # fmt: skip


def test_an_old_settings_file_opens_and_is_saved_whole(open_page, tmp_path: Path):
    (tmp_path / "old.json").write_text(json.dumps(OLD_FILE), encoding="utf-8")
    page = open_page()
    page.page.locator("#configuration > button").click()
    page.page.locator("#settings-path textarea, #settings-path input").fill(str(tmp_path / "old.json"))
    page.button("Load").click()
    expect(page.page.locator("#said")).to_contain_text("Loaded old.json")
    expect(page.page.locator("#said")).to_contain_text(
        "not supported yet (uploading to Hugging Face): Async upload (true)"
    )
    expect(page.page.locator("#said")).to_contain_text('a_key_of_tomorrow ("kept")')
    shown = {option: page.value(option) for option in SHOWN}
    assert {k: float(v) if k.endswith("_lr") else v for k, v in shown.items()} == {
        k: float(v) if k.endswith("_lr") else v for k, v in SHOWN.items()
    }
    page.page.locator("#settings-path textarea, #settings-path input").fill(str(tmp_path / "new.json"))
    page.button("Save").click()
    expect(page.page.locator("#said")).to_contain_text("Saved")
    saved = json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))
    for key, value in OLD_FILE.items():
        if value == "" or key == "xformers":
            continue  # unset: saved as the default; xformers: today a choice in words
        same_number = isinstance(value, str) and isinstance(saved[key], int | float) and float(value) == saved[key]
        assert saved[key] == value or same_number, key

    (tmp_path / "broken.json").write_text('{"epoch": ')
    page.page.locator("#settings-path textarea, #settings-path input").fill(str(tmp_path / "broken.json"))
    page.button("Load").click()
    expect(page.page.locator("#said")).to_contain_text("cut off or have an editing mistake")
    assert page.value("output_name") == "portrait"  # the form stays as it was
