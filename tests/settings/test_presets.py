"""Presets: a recipe for everything but what is the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
import pytest

from engine.settings.families import SWITCHES
from engine.settings.files import parse_settings
from engine.settings.kohya_json import to_kohya
from engine.settings.presets import OURS, PresetError, PresetExists, Presets, as_preset, changed, is_users_own
from engine.settings.training import Method, TrainingSettings, training_options
from ui.form import Form
from ui.presets_panel import PresetsPanel

NAMES = {item.kohya.key: item for item in training_options()}


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "presets")


def written(presets: Presets, name: str, data: dict) -> Path:
    file = presets.save(name, TrainingSettings()).file
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


@pytest.mark.parametrize("file", sorted(OURS.glob("*/*.json")), ids=lambda file: file.stem)
def test_each_of_ours_says_when_to_use_it_and_nothing_that_is_not_followed(file: Path):
    data = json.loads(file.read_text(encoding="utf-8"))
    assert len(data.pop("darkroom_description")) > 40
    loaded = parse_settings(json.dumps(data))
    assert loaded.report() == []
    for key, value in data.items():
        assert NAMES[key].standing_of(value).kind == "acts", key
        assert value != NAMES[key].default, f"{key} is the default and need not be said"
        assert NAMES[key].applies(loaded.settings.values()), key


def test_ours_keep_away_from_the_users_model_and_folders(presets: Presets):
    ours = [preset for preset in presets.all() if preset.ours]
    assert {"Character", "Style", "Low memory", "Fast trial"} <= {preset.name for preset in ours}
    for preset in ours:
        said = [item for item in changed(presets.load(preset).settings) if is_users_own(item)]
        assert {item.name for item in said} <= {"mixed_precision", *SWITCHES}


@pytest.mark.parametrize(
    ("family", "switch"), [("SDXL", "sdxl"), ("SD 3", "sd3_checkbox"), ("FLUX.1", "flux1_checkbox")]
)
def test_each_family_has_presets_of_ours_that_turn_its_switch_on_and_the_others_off(
    presets: Presets, family: str, switch: str
):
    for kind in ("character", "style", "low memory", "fast trial"):
        recipe = presets.load(presets.find(f"{family} {kind}", ours=True))
        another = TrainingSettings().with_values({"v2": True, "flux1_checkbox": True})
        after = recipe.applied_to(another)
        assert [name for name in SWITCHES if after.values()[name]] == [switch]
    plain = presets.load(presets.find("Character", ours=True))
    assert plain.applied_to(another).families == another.families  # it is for whatever model is chosen


def test_a_preset_brings_its_values_and_the_defaults_but_leaves_what_is_the_users_own(presets: Presets):
    mine = {
        "pretrained_model_name_or_path": "my/model", "train_data_dir": "/photos", "output_dir": "/out",
        "output_name": "cat", "sample_prompts": "a cat", "metadata_author": "me", "num_processes": 2,
        "caption_extension": ".caption", "mixed_precision": "bf16",
    }  # fmt: skip
    current = TrainingSettings().with_values({**mine, "network_dim": 4, "clip_skip": 2, "min_snr_gamma": 5})
    written(presets, "Mine", {"network_dim": "64", "learning_rate": 2e-4})
    after = presets.load(presets.find("Mine")).applied_to(current)
    assert {name: after.values()[name] for name in mine} == mine
    expected = TrainingSettings().with_values({**mine, "network_dim": 64, "learning_rate": 2e-4})
    assert after.values() == expected.values()  # clip_skip and min_snr_gamma too are at their defaults again


def test_a_preset_that_names_a_folder_or_the_precision_sets_it(presets: Presets):
    written(presets, "Whole", {"output_dir": "/shared/loras", "mixed_precision": "no", "output_name": ""})
    current = TrainingSettings().with_values({"output_dir": "/out", "output_name": "cat"})
    after = presets.load(presets.find("Whole")).applied_to(current).values()
    assert (after["output_dir"], after["mixed_precision"]) == ("/shared/loras", "no")
    assert after["output_name"] == "cat"  # empty says nothing


def test_a_named_value_counts_also_where_it_is_the_default(presets: Presets):
    written(presets, "Whole", {"mixed_precision": "fp16", "num_processes": 1, "caption_extension": ".txt"})
    current = TrainingSettings().with_values(
        {"mixed_precision": "bf16", "num_processes": 2, "caption_extension": ".cap"}
    )
    assert presets.load(presets.find("Whole")).applied_to(current) == TrainingSettings()


def test_a_preset_replaces_what_a_file_said_wrongly(presets: Presets):
    current = parse_settings('{"network_dim": "wide", "num_processes": "many", "mine": 1}').settings
    written(presets, "Mine", {"network_dim": 8})
    after = to_kohya(presets.load(presets.find("Mine")).applied_to(current))
    assert (after["network_dim"], after["num_processes"], after["mine"]) == (8, "many", 1)


def test_applying_twice_changes_nothing_more(presets: Presets):
    for preset in presets.all():
        recipe = presets.load(preset)
        once = recipe.applied_to(TrainingSettings())
        assert recipe.applied_to(once) == once


def test_what_is_saved_is_the_recipe_alone(presets: Presets):
    settings = TrainingSettings().with_values({"network_dim": 32, "output_dir": "/out", "huggingface_token": "hf_x"})
    settings = settings.model_copy(update={"kohya_extra": {"a_key_of_tomorrow": 1, "use_8bit_adam": True}})
    preset = presets.save("My recipe", settings, " For cats. ")
    data = json.loads(preset.file.read_text(encoding="utf-8"))
    assert data == {"darkroom_description": "For cats.", "a_key_of_tomorrow": 1, "network_dim": 32}
    assert presets.load(preset).description == "For cats."
    assert presets.load(preset).report == ("Kept, but unknown to this version: a_key_of_tomorrow (1).",)


def test_the_sentence_is_no_unknown_key_when_a_preset_is_opened_as_settings():
    assert parse_settings(json.dumps(as_preset(TrainingSettings(), "For cats."))).report() == []


def test_nothing_is_replaced_silently(presets: Presets):
    first = presets.save("Cats", TrainingSettings().with_values({"epoch": 2}))
    other = presets.save("Dogs", TrainingSettings())
    for taken in (
        lambda: presets.save("cats", TrainingSettings()),
        lambda: presets.rename(other, "CATS"),
        lambda: presets.import_file(first.file),
    ):
        with pytest.raises(PresetExists, match="already"):
            taken()
    assert presets.load(first).settings.optimizer.epoch == 2
    presets.save("Cats", TrainingSettings().with_values({"epoch": 3}), replace=True)
    assert presets.load(first).settings.optimizer.epoch == 3


def test_presets_are_renamed_and_deleted_unless_they_are_ours(presets: Presets):
    preset = presets.rename(presets.save("Cats", TrainingSettings()), "All cats")
    assert [p.name for p in presets.all() if not p.ours] == ["All cats"]
    presets.rename(preset, "all Cats")  # the same name in other letters
    presets.delete(presets.find("all cats"))
    assert [p for p in presets.all() if not p.ours] == []
    ours = presets.find("Style", ours=True)
    for refused in (lambda: presets.delete(ours), lambda: presets.rename(ours, "Mine")):
        with pytest.raises(PresetError, match="is built into Darkroom"):
            refused()
    assert ours.file.exists()
    with pytest.raises(PresetError, match="The preset “All cats” no longer exists"):
        presets.find("All cats")


@pytest.mark.parametrize(
    "name",
    ["", "  ", "..", "../evil", "/etc/evil", "a/b", "a\\b", "C:evil", ".hidden", "x\0y", "con", "NUL.txt", "a" * 81,
     "dot.", "what?", "half \ud800"],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_folder_or_is_no_files_name_is_refused(presets: Presets, name: str):
    cats = presets.save("Cats", TrainingSettings())
    for refused in (lambda: presets.save(name, TrainingSettings(), replace=True), lambda: presets.rename(cats, name)):
        with pytest.raises(PresetError):
            refused()
    assert [path.name for path in cats.file.parent.rglob("*")] == ["Cats.json"]
    assert not list(cats.file.parent.parent.glob("*.json"))


def test_a_name_cannot_be_found_outside_the_folder(presets: Presets, tmp_path: Path):
    (tmp_path / "secret.json").write_text("{}")
    with pytest.raises(PresetError):
        presets.find("../../secret")


def test_a_settings_file_of_anybodys_is_imported_without_what_is_theirs(presets: Presets, tmp_path: Path):
    file = tmp_path / "portrait v2.json"
    file.write_text(
        json.dumps(
            {
                "pretrained_model_name_or_path": "D:/models/a.safetensors", "train_data_dir": "D:/img",
                "network_dim": 128, "use_8bit_adam": False, "min_snr_gamma": 5, "epoch": "many",
            }
        )
    )  # fmt: skip
    preset, said = presets.import_file(file)
    assert preset.name == "portrait v2"
    assert json.loads(preset.file.read_text()) == {"min_snr_gamma": 5, "network_dim": 128, "optimizer": "AdamW"}
    assert "Epoch is 'many'; it takes a whole number (1 or more)." in said
    assert said[-1].endswith("personal settings: Pretrained model name or path, Image folder.")


def test_toml_is_imported_too(presets: Presets, tmp_path: Path):
    (tmp_path / "mine.toml").write_text('network_module = "networks.lora"\nnetwork_dim = 32\noutput_name = "cat"\n')
    preset, _ = presets.import_file(tmp_path / "mine.toml")
    assert (preset.name, preset.file.suffix) == ("mine", ".json")
    assert presets.load(preset).settings.network.network_dim == 32
    with gr.Blocks():
        panel = PresetsPanel(Form(TrainingSettings))
        panel.draw_keeping()
    assert ".toml" in panel.file.file_types


def test_what_is_no_settings_file_is_not_imported(presets: Presets, tmp_path: Path):
    (tmp_path / "broken.json").write_text('{"epoch": ')
    with pytest.raises(PresetError, match="cut off or have an editing mistake"):
        presets.import_file(tmp_path / "broken.json")
    (tmp_path / "workflow.json").write_text('{"nodes": [], "links": []}')
    with pytest.raises(PresetError, match="contains no known setting"):
        presets.import_file(tmp_path / "workflow.json")
    assert [p for p in presets.all() if not p.ours] == []


def test_a_preset_that_was_broken_by_hand_says_so(presets: Presets):
    written(presets, "Mine", {}).write_text("[1]")
    with pytest.raises(PresetError, match="The preset “Mine” cannot be read"):
        presets.load(presets.find("Mine"))


def test_a_folder_that_cannot_be_looked_into_leaves_ours(tmp_path: Path):
    (tmp_path / "presets").write_text("a file where the folder should be")
    assert all(preset.ours for preset in Presets(tmp_path / "presets").all())
    with pytest.raises(PresetError, match="Cannot write"):
        Presets(tmp_path / "presets").save("Mine", TrainingSettings())


@pytest.mark.parametrize("method", ["finetune", "textual_inversion", "hypernetwork", "leco"])
def test_what_a_preset_does_not_say_is_what_is_usual_with_the_method(tmp_path: Path, method: Method):
    """Not what is usual with a LoRA: the presets of a method leave its own rate unsaid."""
    presets, usual = Presets(tmp_path, method=method), TrainingSettings().for_method(method)
    kept = presets.save("Mine", usual.with_values({"max_train_steps": 77}))
    applied = presets.load(kept).applied_to(usual.with_values({"learning_rate": 0.5, "lr_scheduler": "linear"}))
    assert applied == usual.with_values({"max_train_steps": 77})


def test_words_and_files_to_begin_from_are_the_users_own(presets: Presets):
    own = {"token_string": "zig", "init_word": "cat", "hypernetwork_weights": "/my/file.pt", "prompts_file": "/my.toml",
           "leco_target": "cat"}  # fmt: skip
    current = TrainingSettings().with_values(own)
    applied = presets.load(presets.save("Mine", TrainingSettings().with_values({"network_dim": 3}))).applied_to(current)
    assert {name: applied.values()[name] for name in own} == own
    assert not set(own) & set(as_preset(current))
