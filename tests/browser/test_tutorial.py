"""A tutorial for kohya_ss followed here: every control is found by the words that tutorials use, and it trains."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect

from engine.demo.demo import MODEL_FOLDER
from engine.runs.folder import all_runs
from tests.browser.conftest import Driver
from tests.pictures import draw_pictures

WORDS: dict[str, str | None] = {
    # What tutorials call a control, in the order in which one walks through them: the value to give it, or None
    # where it is only looked at.  Controls without a field are below.
    "Model Quick Pick": None,
    "Pretrained model name or path": str(MODEL_FOLDER),
    "Save trained model as": None,
    "v2": None,
    "v_parameterization": None,
    "SDXL model": None,
    "Save precision": None,
    "Image folder": "{folder}/img",
    "Output folder": "{folder}/model",
    "Regularisation folder": None,
    "Logging folder": None,
    "Model output name": "tutorial",
    "Training comment": "by the book",
    "LoRA type": None,
    "LoRA network weights": None,
    "DIM from weights": None,
    "Train batch size": "2",
    "Epoch": "2",
    "Max train epoch": None,
    "Save every N epochs": "1",
    "Caption Extension": None,
    "Mixed precision": None,
    "Number of CPU threads per core": "1",
    "Seed": "1234",
    "Cache latents": None,
    "Learning rate": "0.0001",
    "LR Scheduler": None,
    "LR warmup": "10",
    "Optimizer": None,
    "LR number of cycles": None,
    "LR power": None,
    "Optimizer extra arguments": "weight_decay=0.1",
    "Max resolution": "64,64",
    "Stop text encoder training": "0",
    "Enable buckets": None,
    "Minimum bucket resolution": "64",
    "Maximum bucket resolution": None,
    "Text Encoder learning rate": "0.00005",
    "Unet learning rate": "0.0001",
    "Network Rank": "8",
    "Network Alpha": "4",
    "Scale weight norms": "1",
    "Network dropout": "0.1",
    "Rank dropout": "0",
    "Module dropout": "0",
    "Prior loss weight": None,
    "Keep n tokens": "0",
    "Clip skip": "1",
    "Max Token Length": None,
    "Gradient accumulate steps": "1",
    "Gradient checkpointing": None,
    "Shuffle caption": None,
    "Flip augmentation": None,
    "Min SNR gamma": "5",
    "Don't upscale bucket resolution": None,
    "Bucket resolution steps": None,
    "Noise offset": "0",
    "Adaptive noise scale": None,
    "Multires noise iterations": None,
    "Multires noise discount": None,
    "Rate of caption dropout": "0",
    "Dropout caption every n epochs": "0",
    "VAE batch size": "0",
    "Save training state": None,
    "Resume from saved training state": None,
    "Sample every n steps": None,
    "Sample every n epochs": None,
    "Sample sampler": None,
    "Sample prompts": None,
}
BESIDE_OTHERS = {"LR number of cycles", "LR power", "Multires noise iterations", "Multires noise discount"}
"""They have a meaning, and a field, only where another option has a certain value."""

WITHOUT_A_FIELD = {
    "Show timesteps": "not supported yet (a preview of the timesteps)",
    "CrossAttention": "covered by PyTorch's own attention",
    "Memory efficient attention": "covered by PyTorch's own attention",
}
"""What the search says of them in place of a field."""


def found(page: Driver, words: str) -> str:
    """The option that the first hit for these words leads to."""
    box, first = page.page.locator("#option-search"), page.page.locator("#option-hits [data-option]").first
    box.fill(words)
    try:
        expect(first).to_be_visible(timeout=30_000)
    except AssertionError:
        # Seen once, on a machine under load: Gradio loads a page anew that lost its connection while it came up.
        assert not box.input_value()
        box.fill(words)
        expect(first).to_be_visible()
    return str(first.get_attribute("data-option"))


def test_the_walk_through_finds_every_control_and_trains(open_page, tmp_path: Path):
    draw_pictures(tmp_path / "img" / "4_shapes", 4)
    page = open_page()
    for words, value in WORDS.items():
        option = found(page, words)
        if words in BESIDE_OTHERS:
            expect(page.page.locator("#option-hits")).to_contain_text("shown when")
            continue
        page.page.keyboard.press("Enter")
        expect(page.page.locator(f"#option-{option}"), words).to_be_in_viewport()
        expect(page.field(option), words).to_be_focused()
        if value is not None:
            page.field(option).fill(value.format(folder=tmp_path))
            page.field(option).press("Tab")
    page.page.locator("#option-search").fill("")

    page.open_field("optimizer")
    page.choose("optimizer", "AdamW")
    page.open_field("mixed_precision")
    page.choose("mixed_precision", "no")

    expect(page.page.locator("#steps")).to_contain_text("16 (pictures")
    page.button("Start training").click()
    page.wait_for_status("Done")
    page.screenshot("tutorial")
    assert (tmp_path / "model" / "tutorial.safetensors").exists()
    assert (tmp_path / "model" / "tutorial-000001.safetensors").exists()
    told = json.loads(next(all_runs()).settings_file.read_text(encoding="utf-8"))
    assert told["optimizer"]["optimizer_args"] == "weight_decay=0.1"
    assert (told["network"]["network_alpha"], told["network"]["network_dropout"]) == (4, 0.1)
    assert (told["objective"]["min_snr_gamma"], told["optimizer"]["seed"]) == (5, 1234)


def test_what_has_no_field_is_found_too_and_says_why(open_page):
    page = open_page()
    for words, reason in WITHOUT_A_FIELD.items():
        found(page, words)
        expect(page.page.locator("#option-hits li").first, words).to_contain_text(reason)


def test_an_old_command_fills_the_form_and_the_form_prints_one(open_page):
    page = open_page()
    page.page.get_by_role("button", name="Configuration").click()
    page.page.locator("#pasted textarea").fill(
        "accelerate launch --num_cpu_threads_per_process=2 train_network.py --network_module=networks.lora \\\n"
        '  --pretrained_model_name_or_path="/models/a b.safetensors" --network_dim=32 --unet_lr=2e-4'
    )
    page.button("Fill in the form").click()
    expect(page.page.locator("#said")).to_contain_text("Filled in from the pasted text")
    assert page.value("network_dim") == "32"
    assert float(page.value("unet_lr")) == 2e-4
    page.button("Print training command").click()
    printed = page.page.locator("#commands")
    expect(printed).to_contain_text("python -m engine train")
    expect(printed).to_contain_text("--network_dim")
    expect(printed).to_contain_text("/models/a b.safetensors")
    page.screenshot("command")
    page.button("Undo Paste").click()
    expect(page.page.locator("#changed")).to_contain_text("Every option is at its default")

    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    foreign = {"epoch": 2, "x": "![a](http://far.invalid/p.png)", "y": "<img src=http://far.invalid/q.png>",
               "training_comment": "a\n```\n<img src=http://far.invalid/r.png>"}  # fmt: skip
    page.page.locator("#pasted textarea").fill(json.dumps(foreign))
    page.button("Fill in the form").click()
    expect(page.page.locator("#said")).to_contain_text("![a](http://far.invalid/p.png)")
    page.button("Print training command").click()
    expect(printed).to_contain_text("<img src=http://far.invalid/r.png>")
    assert not [url for url in asked if "far.invalid" in url]

    page.page.locator("#pasted textarea").fill("no settings at all")
    page.button("Fill in the form").click()
    expect(page.page.locator("#said")).to_contain_text("Not loaded.")


def test_train_like_this_one(open_page, tmp_path: Path):
    header = json.dumps(
        {"__metadata__": {"ss_network_dim": "48", "ss_unet_lr": "0.0003", "ss_learning_rate": "0.0003",
                          "ss_sd_model_name": "anime.safetensors"}}
    ).encode()  # fmt: skip
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    page = open_page()
    page.tab("Utilities", "LoRA metadata")
    page.page.locator("#metadata-path :is(textarea, input)").fill(str(tmp_path / "a.safetensors"))
    page.button("Train like this one").click()
    expect(page.page.locator("#said")).to_contain_text("It was trained on anime.safetensors")
    assert page.value("network_dim") == "48"
    assert float(page.value("unet_lr")) == 3e-4
