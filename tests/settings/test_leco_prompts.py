"""Files of prompts: as sd-scripts' LECO and LECO itself read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.check.check import check
from engine.check.mend import mended
from engine.settings.files import parse_settings
from engine.settings.kohya_arguments import as_arguments
from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.leco_prompts import prompt_sets, read_prompt_sets
from engine.settings.training import TrainingSettings

LECO_YAML = """
- target: "van gogh"
  positive: "van gogh"
  unconditional: ""
  neutral: ""
  action: "erase"
  guidance_scale: 1.0
  resolution: 512
  dynamic_resolution: true
  batch_size: 2
- target: "cat"
  action: enhance
"""


def read(tmp_path: Path, text: str, ending: str = "toml") -> Any:
    file = tmp_path / f"prompts.{ending}"
    file.write_text(text, encoding="utf-8")
    return read_prompt_sets(file)


def test_lecos_own_yaml(tmp_path: Path):
    gogh, cat = read(tmp_path, LECO_YAML, "yaml")
    assert (gogh.prompts, gogh.direction, gogh.batch_size) == (("van gogh", "van gogh", "", ""), -1.0, 2)
    assert (gogh.resolution, gogh.dynamic_resolution) == ((512, 512), True)
    assert (cat.prompts, cat.direction) == (("cat", "cat", "", ""), 1.0)


def test_sd_scripts_toml_of_prompts_with_what_they_have_in_common(tmp_path: Path):
    text = """
guidance_scale = 2.0
resolution = [768, 512]
[[prompts]]
target = "van gogh"
unconditional = "photo"
[[prompts]]
target = "monet"
positive = "painting"
neutral = "picture"
action = "enhance"
guidance_scale = 3
multiplier = -0.5
weight = 2
"""
    gogh, monet = read(tmp_path, text)
    assert (gogh.prompts, gogh.direction, gogh.resolution) == (
        ("van gogh", "van gogh", "photo", "photo"),
        -2.0,
        (512, 768),
    )
    assert (monet.prompts, monet.direction) == (("monet", "painting", "", "picture"), 3.0)
    assert (monet.multiplier, monet.weight) == (-0.5, 2.0)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            'positive = "old"\nnegative = "young"',
            {(1.0, "old", "young", 1.5), (-1.0, "young", "old", 1.5),
             (-1.0, "old", "young", -1.5), (1.0, "young", "old", -1.5)},
        ),
        ('positive = "old"', {(1.0, "old", "", 1.5), (-1.0, "old", "", -1.5)}),
        ('negative = "young"', {(-1.0, "young", "", 1.5), (1.0, "young", "", -1.5)}),
    ],
)  # fmt: skip
def test_a_slider_is_learned_at_both_strengths(tmp_path: Path, told: str, expected: Any):
    """As sd-scripts has it: direction, positive, unconditional, multiplier."""
    sets = read(tmp_path, f'target_class = "person"\nmultiplier = 1.5\n{told}')
    assert {(one.direction, one.positive, one.unconditional, one.multiplier) for one in sets} == expected
    assert len(sets) == len(expected)
    assert {one.target for one in sets} == {"person"}


def test_a_slider_has_several_neutrals_and_resolutions(tmp_path: Path):
    (tmp_path / "lines.txt").write_text("man\n\nwoman\n")
    text = """
[slider]
neutral_prompt_file = "lines.txt"
neutrals = ["child"]
[[slider.targets]]
target_class = "person"
positive = "old"
resolutions = [512, 768]
[[slider.targets]]
target_class = "dog"
positive = "big"
neutral = "animal"
"""
    sets = read(tmp_path, text)
    assert len(sets) == 3 * 2 * 2 + 2
    assert {one.neutral for one in sets if one.target == "dog"} == {"animal"}
    assert {one.neutral for one in sets if one.target == "person"} == {"child", "man", "woman"}
    assert {one.resolution for one in sets if one.target == "person"} == {(512, 512), (768, 768)}


@pytest.mark.parametrize(
    ("ending", "text", "why"),
    [
        ("toml", "", "has no target"),
        ("toml", "prompts = []", "there is no set of prompts in it"),
        ("toml", "prompts = 3", "are not a list of tables"),
        ("toml", "prompts = [3]", "is not a table"),
        ("toml", "slider = 3", "slider is not a table"),
        ("toml", "target = 'a", "not valid TOML"),
        ("toml", 'target = "a"\naction = "destroy"', "action cannot be 'destroy'"),
        ("toml", 'target = "a"\nbatch_size = 0', "batch_size cannot be '0'"),
        ("toml", 'target = "a"\nguidance_scale = nan', "guidance_scale cannot be 'nan'"),
        ("toml", 'target = "a"\nresolution = 9999', "sides are multiples of 8 from 64 to 4096"),
        ("toml", 'target = "a"\npositive = 3', "positive cannot be '3'"),
        ("toml", 'target_class = "a"', "neither a positive nor a negative prompt"),
        ("toml", 'target_class = "a"\npositive = "b"\nprompt_file = "no.txt"', 'prompt_file "no.txt" cannot be read'),
        ("toml", 'target = "a"\nweight = ' + "9" * 400, "weight cannot be"),
        ("toml", 'target = "a"\nmultiplier = 0x' + "f" * 9000, "a number of so many digits"),
        ("yaml", '- target: "\\ud800"', "target cannot be"),
        ("yaml", '"&*" : ' + "[" * 40_000, "not valid YAML"),
        ("yaml", "- [", "not valid YAML"),
        ("yaml", "a: 3", "it is no list of prompts"),
        ("yaml", "- &a {target: x}\n- *a", "it refers from one place to another"),
        ("yaml", "- !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("yaml", "[" * 5000, "not valid YAML"),
        ("yaml", "", "it is no list of prompts"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, ending: str, text: str, why: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its text is looked at
        read(tmp_path, text, ending)
    assert why in str(error.value)


def leco(**changes: Any) -> TrainingSettings:
    given = {"leco_target": "cat", "max_train_steps": 500} | changes
    return TrainingSettings().for_method("leco").with_values(given)


def test_the_form_is_a_set_or_the_two_of_a_slider():
    (erase,) = prompt_sets(leco(train_batch_size=3, max_resolution="640,512"))
    assert (erase.prompts, erase.direction) == (("cat", "cat", "", ""), -1.0)
    assert (erase.batch_size, erase.resolution) == (3, (640, 512))
    ways = prompt_sets(leco(leco_action="slide", leco_positive="big", leco_unconditional="small", leco_multiplier=2.0))
    assert sorted((one.direction, one.positive, one.multiplier) for one in ways) == [
        (-1.0, "big", -2.0), (-1.0, "small", 2.0), (1.0, "big", 2.0), (1.0, "small", -2.0),
    ]  # fmt: skip
    away = prompt_sets(leco(leco_action="slide", leco_unconditional="small"))
    assert [(one.direction, one.positive, one.multiplier) for one in away] == [
        (-1.0, "small", 1.0),
        (1.0, "small", -1.0),
    ]


@pytest.mark.parametrize(
    ("changes", "option", "sentence"),
    [
        ({"leco_target": ""}, "leco_positive", 'Nothing would be learned: the positive and the unconditional prompt'),
        ({"leco_unconditional": "cat"}, "leco_positive", 'are the same ("cat")'),
        ({"leco_guidance_scale": 0.0}, "leco_positive", "Nothing would be learned: the guidance scale is 0."),
        ({"leco_multiplier": 0.0}, "leco_positive", "the multiplier is 0"),
        ({"leco_action": "slide"}, "leco_positive", "A slider needs something to slide to."),
        ({"prompts_file": "/no/file.toml"}, "prompts_file", "file.toml was not read: it does not exist."),
        ({"max_train_steps": 0}, "max_train_steps", "LECO has no pictures that would say how long it learns"),
        ({"flux1_checkbox": True}, "pretrained_model_name_or_path", "LECO draws with Stable Diffusion 1, 2 or SDXL"),
        ({"network_dim": 4, "network_alpha": 64.0}, "network_alpha", "above rank 4"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_the_start(changes: dict[str, Any], option: str, sentence: str):
    problems = check(leco(**changes)).problems
    assert [problem for problem in problems if problem.option == option and sentence in problem.what]


def test_a_file_of_kohya_ss_s_leco_tab_is_known_by_its_keys():
    told = {"prompts_file": "p.toml", "network_module": "lycoris.kohya", "network_args": "algo=lokr conv_dim=8",
            "network_dim": 4, "unet_lr": 0, "learning_rate": 2e-4, "max_denoising_steps": 30, "sdxl": True,
            "max_train_steps": 600, "lr_scheduler": "cosine"}  # fmt: skip
    loaded = parse_settings(json.dumps(told))
    s = loaded.settings
    assert (s.method, loaded.says_method, loaded.report()) == ("leco", True, [])
    assert (s.network.lora_type, s.network.conv_dim, s.network_rates()) == ("LyCORIS/LoKr", 8, (2e-4, 0.0))
    assert (s.leco.prompts_file, s.leco.max_denoising_steps, s.families.sdxl) == ("p.toml", 30, True)
    assert (s.optimizer.max_train_steps, s.optimizer.lr_scheduler) == (600, "cosine")


def test_what_other_tabs_left_behind_stops_no_start():
    left_behind = {"masked_loss": True, "mask_dir": "/gone", "min_timestep": 500, "max_timestep": 100,
                   "train_inpainting": True, "score_words": "much", "bucket_reso_steps": 1}  # fmt: skip
    assert {problem.option for problem in check(leco()).problems} == {
        problem.option for problem in check(leco(**left_behind)).problems
    }


def test_a_form_of_leco_is_saved_and_opened_without_growing():
    settings = leco(prompts_file="/p.toml", max_denoising_steps=20)
    written = as_arguments(to_kohya(settings))
    assert "prompts_file" not in str(written.get("additional_parameters"))
    assert from_kohya(written).settings.for_method("leco").leco == settings.leco
    assert as_arguments(to_kohya(from_kohya(written).settings)) == written


def test_a_toml_of_train_leco_is_known_by_its_prompts():
    loaded = parse_settings('prompts_file = "p.toml"\nnetwork_module = "networks.lora"\nmax_train_steps = 50', "a.toml")
    assert (loaded.settings.method, loaded.settings.leco.prompts_file) == ("leco", "p.toml")


def test_steps_that_are_left_to_an_epoch_are_mended_with_a_click():
    (problem,) = [one for one in check(leco(max_train_steps=0)).problems if one.option == "max_train_steps"]
    assert mended(problem, leco(max_train_steps=0)).optimizer.max_train_steps == 500


def test_pictures_are_not_asked_for():
    checked = check(leco())
    assert not [problem for problem in checked.problems if problem.option in ("train_data_dir", "caption_extension")]
    assert checked.plan is not None
    assert checked.plan.arithmetic() == "500 steps, set by Max train steps"
    shown = {item.name for item in TrainingSettings.options() if item.is_for("leco")}
    assert {
        "leco_target",
        "network_dim",
        "lora_type",
        "min_snr_gamma",
        "max_train_steps",
        "ema",
        "save_model_as",
    } <= shown
    assert not {"train_data_dir", "caption_extension", "cache_latents", "epoch", "text_encoder_lr", "flip_aug"} & shown
