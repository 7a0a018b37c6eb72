"""sd-scripts' arguments in TOML and on command lines: the same settings, and nothing dropped without a word.

What sd-scripts does, and calls, is its documentation's and its --help's.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.settings.convert import convert
from engine.settings.errors import SettingsFileError
from engine.settings.files import from_kohya, parse_settings, read_settings, to_kohya
from engine.settings.option import Option
from engine.settings.sd_networks import TYPES
from engine.settings.sd_scripts import ABSENT, ELSEWHERE, FAMILIES, ONLY_THERE, option_for, place_of
from engine.settings.sd_scripts_write import to_arguments
from engine.settings.toml_files import parse_toml
from engine.settings.training import TrainingSettings, training_options
from tests.settings.test_files import OLD_TUTORIAL, another_value

OLD_BATCH_FILE = r"""
@echo off
REM LoRA of my cat
call venv\Scripts\activate.bat
accelerate launch --num_cpu_threads_per_process=4 --multi_gpu --num_processes 2 --rdzv_backend static ^
  "D:\kohya ss\sd-scripts\sdxl_train_network.py" ^
  --pretrained_model_name_or_path="D:/models/sd xl.safetensors" --train_data_dir="D:\lora\img\" ^
  --output_dir "D:\lora\out" --output_name='my cat' --resolution=1024,768 –enable_bucket ^
  --network_module=lycoris.kohya --network_args "algo=lokr" "factor=8" "preset=attn-mlp" "new_trick=1" ^
  --network_dim=16 --network_alpha=8 --unet_lr=1e-4 --text_encoder_lr 5e-5 --optimizer_type=prodigy ^
  --optimizer_args decouple=True "weight_decay=0.01" --lr_warmup_steps=0.05 --lr_scheduler="cosine" ^
  --max_train_epochs=10 --xformers --cache_latents --no_half_vae --caption_prefix "a photo, " --log_prefix "a b" ^
  --mixed_precision="bf16" --save_precision=bf16 --seed=42 --config_file=gone > log.txt
pause
"""


def read(text: str) -> TrainingSettings:
    return parse_settings(text).settings


def arguments_of(values: dict[str, Any]) -> dict[str, Any]:
    return to_arguments(TrainingSettings().with_values(values)).arguments


def test_a_batch_file_of_sd_scripts_says_what_it_said():
    loaded = parse_settings(OLD_BATCH_FILE, "train.bat")
    s = loaded.settings
    assert loaded.bad == {}
    assert s.source_model.pretrained_model_name_or_path == "D:/models/sd xl.safetensors"
    assert s.families.sdxl is True
    assert s.folders.train_data_dir == "D:\\lora\\img\\"
    assert s.folders.output_dir == "D:\\lora\\out"
    assert s.folders.output_name == "my cat"
    assert s.dataset.max_resolution == "1024,768"
    assert (s.dataset.enable_bucket, s.dataset.cache_latents) == (True, True)
    assert (s.network.lora_type, s.network.network_dim, s.network.network_alpha) == ("LyCORIS/LoKr", 16, 8)
    assert (s.lycoris.lokr_factor, s.lycoris.lycoris_preset) == (8, "attn-mlp")
    assert s.optimizer.rates() == (1e-4, 5e-5)
    assert (s.optimizer.optimizer, s.optimizer.lr_scheduler) == ("Prodigy", "cosine")
    assert s.optimizer.optimizer_args == "decouple=True weight_decay=0.01"
    assert (s.optimizer.lr_warmup, s.optimizer.lr_warmup_steps) == (5, 0)
    assert (s.optimizer.max_train_epochs, s.optimizer.max_train_steps) == (10, 0)
    assert s.memory.cross_attention == "xformers"
    assert s.sdxl.sdxl_no_half_vae is True
    assert (s.hardware.mixed_precision, s.source_model.save_precision) == ("bf16", "bf16")
    assert (s.hardware.num_cpu_threads_per_process, s.hardware.num_processes) == (4, 2)
    assert s.hardware.multi_gpu is True
    # What no option says is kept where kohya_ss and sd-scripts still find it, and talked about.
    assert s.hardware.extra_accelerate_launch_args == "--rdzv_backend static"
    assert shlex.split(s.hardware.additional_parameters) == ["--log_prefix", "a b"]
    assert s.captions.caption_prefix == "a photo, "
    assert s.kohya_extra == {"network_args": ["new_trick=1"]}
    said = " ".join(loaded.report())
    for part in ("--log_prefix", "new_trick=1", "gone", "activate.bat", "Sample sampler (ddim)"):
        assert part in said
    # LyCORIS gives convolutions the rank and alpha of the others where it is told none.
    assert (s.network.conv_dim, s.network.conv_alpha) == (16, 8)


@pytest.mark.parametrize(
    ("said", "share", "steps"), [("0.1", 10, 0), ("5%", 5, 0), ("100%", 100, 0), ("1", 0, 1), ("250", 0, 250)]
)
def test_warmup_is_a_share_or_a_count_as_sd_scripts_takes_it(said: str, share: float, steps: int):
    warmup = read(f"accelerate launch train_network.py --lr_warmup_steps {said}").optimizer
    assert (warmup.lr_warmup, warmup.lr_warmup_steps) == (share, steps)


def test_warmup_over_all_steps_is_not_taken_for_one_step():
    whole = TrainingSettings().with_values({"lr_warmup": 100})
    assert "--lr_warmup_steps 100%" in convert(whole, "sd-scripts-command").text
    for target in ("sd-scripts-command", "kohya-toml"):
        assert read(convert(whole, target).text).optimizer.lr_warmup == 100


def test_the_scripts_name_says_the_family_and_what_it_does_not_do_here_is_told():
    for family, facts in FAMILIES.items():
        assert getattr(read(f"accelerate launch {family}_train_network.py --seed 1").families, facts.flag) is True
    assert read("accelerate launch sdxl_train.py --in_json a.json").families.sdxl_checkbox is True
    for script in ("train_db.py", "flux_train.py", "train_controlnet.py"):
        assert f"{script} does not train a LoRA" in parse_settings(f"python {script} --seed 1").report()[0]
    assert "my_train.py is not a known script" in parse_settings("python my_train.py --seed 1").report()[0]


def test_what_sd_scripts_is_not_told_is_as_sd_scripts_does_it():
    """Its own defaults, from its --help: no LoRA at the page's defaults would be the one that was trained."""
    loaded = parse_settings("accelerate launch train_network.py --network_module networks.lora")
    s = loaded.settings
    assert (s.optimizer.optimizer, s.optimizer.lr_scheduler, s.optimizer.lr_warmup) == ("AdamW", "constant", 0)
    assert (s.optimizer.learning_rate, s.optimizer.max_train_steps) == (2e-6, 1600)
    assert s.optimizer.rates() == (2e-6, 2e-6)
    assert (s.network.network_dim, s.hardware.mixed_precision, s.memory.cross_attention) == (4, "no", "none")
    assert s.dataset.caption_extension == ".caption"
    assert "Learning rate (0.000002)" in loaded.report()[0]


@pytest.mark.parametrize(
    ("rates", "arguments"),
    [
        ({"unet_lr": 1e-4, "text_encoder_lr": 5e-5}, {"unet_lr": 1e-4, "text_encoder_lr": [5e-5]}),
        ({"unet_lr": 1e-4, "text_encoder_lr": 0}, {"unet_lr": 1e-4, "network_train_unet_only": True}),
        ({"unet_lr": 0, "text_encoder_lr": 5e-5}, {"text_encoder_lr": [5e-5], "network_train_text_encoder_only": True}),
        ({"unet_lr": 0, "text_encoder_lr": 0}, {}),
        ({"flux1_checkbox": True, "text_encoder_lr": 5e-5, "t5xxl_lr": 1e-5}, {"text_encoder_lr": [5e-5, 1e-5]}),
        ({"sd3_checkbox": True, "text_encoder_lr": 5e-5, "t5xxl_lr": 1e-5}, {"text_encoder_lr": [5e-5, 5e-5, 1e-5]}),
        ({"lr_warmup": 10}, {"lr_warmup_steps": 0.1}),
        ({"lr_warmup_steps": 100}, {"lr_warmup_steps": 100}),
        ({"epoch": 3}, {"max_train_epochs": 3}),
        ({"epoch": 3, "max_train_steps": 500}, {"max_train_steps": 500}),
        ({"epoch": 3, "max_train_steps": 500, "max_train_epochs": 7}, {"max_train_epochs": 7}),
        ({"cross_attention": "sdpa"}, {"sdpa": True}),
        ({"max_resolution": "768,512"}, {"resolution": "768,512"}),
        ({"optimizer_args": 'a=1 "b=2 3"'}, {"optimizer_args": ["a=1", "b=2 3"]}),
        ({"max_token_length": "150"}, {"max_token_length": 150}),
        ({"lora_type": "Kohya LoCon", "conv_dim": 4}, {"network_args": ["conv_dim=4", "conv_alpha=1"]}),
        ({"resume_from_huggingface": "me/run"}, {"resume": "me/run", "resume_from_huggingface": True}),
        ({"lumina_checkbox": True, "lumina_ae": "ae.safetensors"}, {"ae": "ae.safetensors"}),
        ({"anima_checkbox": True, "anima_discrete_flow_shift": 2.5}, {"discrete_flow_shift": 2.5}),
        ({"additional_parameters": "--zero_terminal_snr --lr_decay_steps 5"}, {"lr_decay_steps": "5"}),
        ({}, {"pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5"}),
        ({"max_grad_norm": 0}, {"max_grad_norm": 0}),
        ({"prior_loss_weight": 0}, {"prior_loss_weight": 0}),
        ({"max_data_loader_n_workers": 0}, {"max_data_loader_n_workers": 0}),
        ({"flux1_checkbox": True, "flux_guidance_scale": 0}, {"guidance_scale": 0}),
        ({"flux1_checkbox": True, "discrete_flow_shift": 0}, {"discrete_flow_shift": 0}),
        ({"anima_checkbox": True, "anima_sigmoid_scale": 0}, {"sigmoid_scale": 0}),
        ({"sd3_checkbox": True, "logit_std": 0}, {"logit_std": 0}),
        ({"sd3_checkbox": True}, {"t5xxl_max_token_length": 512, "t5xxl_dtype": "bf16", "text_encoder_batch_size": 1}),
        (
            {"lora_type": "LyCORIS/DyLoRA"},
            {"network_args": ["algo=dylora", "conv_dim=1", "conv_alpha=1", "block_size=1"]},
        ),
        (
            {"lora_type": "LyCORIS/iA3", "train_on_input": False},
            {"network_args": ["algo=ia3", "conv_dim=1", "conv_alpha=1"]},
        ),
        (
            {"flux1_checkbox": True, "lora_type": "Flux1", "split_mode": True},
            {"split_mode": True, "network_args": ["train_blocks=single"]},
        ),
    ],
)
def test_options_that_kohya_ss_calls_otherwise_are_written_as_sd_scripts_has_them(rates: dict, arguments: dict):
    written = arguments_of(rates)
    assert arguments.items() <= written.items()
    rate_arguments = {"unet_lr", "text_encoder_lr", "network_train_unet_only", "network_train_text_encoder_only"}
    if {"unet_lr", "text_encoder_lr"} <= set(rates):
        assert rate_arguments & set(written) == rate_arguments & set(arguments)


@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("train_network.py", {"pretrained_model_name_or_path": ""}),
        ("sd3_train_network.py", {"t5xxl_max_token_length": 256}),
        ("flux_train_network.py", {"t5xxl_max_token_length": 512}),
        ("sd3_train_network.py --train_batch_size 4", {"sd3_text_encoder_batch_size": 4}),
        ("train_network.py --network_module lycoris.kohya --network_args algo=dylora", {"dylora_unit": 4}),
        ("train_network.py --network_module lycoris.kohya --network_args algo=ia3", {"train_on_input": False}),
        ("train_network.py --network_module networks.dylora", {"dylora_unit": 1}),
        ("sd3_train_network.py --weighting_scheme none", {"weighting_scheme": "uniform"}),
        ("anima_train_network.py --attn_mode sdpa", {"anima_attn_mode": "torch"}),
        ("train_network.py --save_model_as pt", {"save_model_as": "ckpt"}),
        ("train_network.py --network_args conv_dim=4", {"lora_type": "Kohya LoCon", "conv_dim": 4}),
    ],
)
def test_what_a_script_does_of_itself_and_what_it_calls_otherwise(command: str, values: dict[str, Any]):
    found = read(f"accelerate launch {command}").values()
    assert {name: found[name] for name in values} == values


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("flux_train_network.py --logit_mean 0.5 --weighting_scheme mode", "--logit_mean 0.5 --weighting_scheme mode"),
        ("train_network.py --cpu_offload_checkpointing", "--cpu_offload_checkpointing"),
        ("train_network.py --dataset_repeats 3 --fused_backward_pass", "--dataset_repeats 3 --fused_backward_pass"),
        ("train_network.py --dynamo_backend eager --torch_compile", "--dynamo_backend eager --torch_compile"),
        ("train_network.py --t5xxl a.safetensors", "--t5xxl a.safetensors"),
        ("train_network.py --seed 1 -x 5", "-x 5"),
        ("train_network.py word --seed 1", "word"),
    ],
)
def test_an_argument_of_the_script_that_no_option_of_the_family_says_is_kept_and_told(command: str, kept: str):
    loaded = parse_settings(f"accelerate launch {command}")
    assert loaded.settings.hardware.additional_parameters == kept
    assert (
        f"Kept in Additional parameters, because there is no option for it with such a model: {kept}" in loaded.report()
    )
    assert read(convert(loaded.settings, "sd-scripts-command").text) == loaded.settings
    assert parse_settings(convert(loaded.settings, "kohya-toml").text).settings == loaded.settings


def test_words_of_accelerate_without_an_option_are_kept():
    s = read("accelerate launch -x 5 --num_processes 2 --rdzv_backend static train_network.py --seed 3")
    assert s.hardware.extra_accelerate_launch_args == "--rdzv_backend static -x 5"
    assert s.hardware.num_processes == 2
    again = convert(s, "sd-scripts-command").text
    assert again.startswith("accelerate launch -x 5 ")
    assert read(again) == s


def test_accelerates_precision_alone_is_kept_and_told():
    loaded = parse_settings("accelerate launch --mixed_precision bf16 train_network.py --seed 1")
    assert loaded.settings.hardware.mixed_precision == "bf16"
    assert "the script would train in full precision" in " ".join(loaded.report())
    both = parse_settings("accelerate launch --mixed_precision bf16 train_network.py --mixed_precision fp16")
    assert both.settings.hardware.mixed_precision == "fp16"
    assert "full precision" not in " ".join(both.report())


@pytest.mark.parametrize("script", ["train_db.py", "fine_tune.py --in_json m.json", "train_controlnet.py"])
def test_of_a_script_that_trains_no_lora_only_what_suits_one_is_taken(script: str):
    loaded = parse_settings(
        f"python {script} --pretrained_model_name_or_path m.ckpt --train_data_dir img --output_dir out "
        "--resolution 768 --train_batch_size 3 --seed 7 --learning_rate 2e-6 --max_train_steps 400 --network_dim 64"
    )
    defaults = TrainingSettings().with_values(
        {
            "pretrained_model_name_or_path": "m.ckpt", "train_data_dir": "img", "output_dir": "out",
            "max_resolution": "768", "train_batch_size": 3, "seed": 7,
        }
    )  # fmt: skip
    assert loaded.settings == defaults
    assert loaded.report()[0].startswith(f"{script.split()[0]} does not train a LoRA")
    assert "--learning_rate, --max_train_steps, --network_dim" in " ".join(loaded.report())
    assert ("m.json were not read" in " ".join(loaded.report())) == ("in_json" in script)


@pytest.mark.parametrize(
    ("script", "sdxl"), [("train_textual_inversion", False), ("sdxl_train_textual_inversion", True)]
)
@pytest.mark.parametrize("template", ["object", "style", ""])
def test_a_command_that_teaches_a_word_is_read_as_one(script: str, sdxl: bool, template: str):
    loaded = parse_settings(
        f"accelerate launch {script}.py --token_string zig --init_word cat --num_vectors_per_token 4 --weights a.pt "
        f"--learning_rate 1e-3 --max_train_steps 400 {f'--use_{template}_template' if template else ''}"
    )
    s = loaded.settings
    words = s.textual_inversion
    assert (s.method, loaded.says_method, s.families.sdxl) == ("textual_inversion", True, sdxl)
    assert (words.words(), words.init_word, words.num_vectors_per_token) == (["zig"], "cat", 4)
    assert words.caption_template == (f"{template} template" if template else "caption")
    assert words.embedding_weights == "a.pt"
    assert (s.optimizer.learning_rate, s.optimizer.max_train_steps) == (1e-3, 400)
    assert not [note for note in loaded.report() if not note.startswith("Not in the command")]


@pytest.mark.parametrize(("script", "sdxl"), [("train_leco", False), ("sdxl_train_leco", True)])
def test_a_command_of_leco_is_read_as_one(script: str, sdxl: bool):
    loaded = parse_settings(
        f"accelerate launch {script}.py --prompts_file p.toml --max_denoising_steps 20 --leco_denoise_guidance_scale 4 "
        "--network_module lycoris.kohya --network_args algo=loha --network_dim 6 --unet_lr 3e-4 --max_train_steps 700 "
        "--min_snr_gamma 5 --output_name slider"
    )
    s = loaded.settings
    assert (s.method, loaded.says_method, s.families.sdxl) == ("leco", True, sdxl)
    assert (s.leco.prompts_file, s.leco.max_denoising_steps, s.leco.leco_denoise_guidance_scale) == ("p.toml", 20, 4)
    assert (s.network.lora_type, s.network.network_dim, s.optimizer.unet_lr) == ("LyCORIS/LoHa", 6, 3e-4)
    assert (s.optimizer.max_train_steps, s.objective.min_snr_gamma, s.folders.output_name) == (700, 5, "slider")
    assert not [note for note in loaded.report() if not note.startswith("Not in the command")]


def test_a_lora_type_that_sd_scripts_does_not_have_is_named():
    written = convert(TrainingSettings().with_values({"lora_type": "T-LoRA"}), "sd-scripts-command")
    assert "sd-scripts has no argument for: LoRA type (T-LoRA)." in written.notes
    assert read(written.text).network.lora_type == "Standard"


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "T-LoRA"])
def test_every_lora_type_comes_back(kind: str):
    assert (
        kind
        == read(
            convert(TrainingSettings().with_values({"lora_type": kind}), "sd-scripts-command").text
        ).network.lora_type
    )


def test_several_rates_for_text_encoders_that_here_have_one_are_kept():
    s = read("accelerate launch sdxl_train_network.py --text_encoder_lr 1e-5 2e-5 --unet_lr 1e-4")
    assert s.hardware.additional_parameters == "--text_encoder_lr 1e-5 2e-5"
    assert to_arguments(s).arguments["text_encoder_lr"] == ["1e-5", "2e-5"]


@pytest.mark.parametrize(
    "text",
    [
        "network_dim = 16\nseed = 7\n",
        "[network]\nnetwork_dim = 16\n\n[whatever]\nseed = 7\n",
        "# mine\nseed=7\nnetwork_dim=16",
    ],
)
def test_toml_is_read_flat_or_in_sections_by_its_ending_or_its_content(text: str, tmp_path: Path):
    for name in ("a.toml", "a", "a.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        s = read_settings(tmp_path / name).settings
        assert (s.network.network_dim, s.optimizer.seed) == (16, 7)


def test_keys_that_nobody_knows_are_kept_and_listed():
    loaded = parse_settings('new_key = [1, 2]\nday = 2024-05-12\nepoch = 4\nLoRA_type = "LoRA-FA"\n', "a.toml")
    assert loaded.unknown == {"new_key": [1, 2], "day": "2024-05-12"}
    assert to_kohya(loaded.settings)["new_key"] == [1, 2]
    # The form's own names, which kohya_ss writes into its TOML beside the arguments.
    assert (loaded.settings.optimizer.epoch, loaded.settings.network.lora_type) == (4, "LoRA-FA")


def test_a_number_beyond_all_bounds_is_read_or_reported():
    assert read(f"learning_rate = {'9' * 400}\n").kohya_extra["learning_rate"] == int("9" * 400)
    assert read(f"lr_warmup_steps = {'9' * 400}\n").optimizer.lr_warmup_steps == int("9" * 400)


def test_a_wrong_value_is_reported_and_kept():
    loaded = parse_settings('network_dim = "wide"\n', "a.toml")
    assert "Network Rank (Dimension) is 'wide'" in loaded.bad["network_dim"]
    assert to_kohya(loaded.settings)["network_dim"] == "wide"


some_options = st.lists(st.sampled_from(training_options()), max_size=12, unique_by=lambda item: item.name)


@given(some_options, st.data())
def test_whatever_the_settings_they_come_back_from_toml_and_from_our_command(items: list[Option], data: st.DataObject):
    values = {item.name: data.draw(another_value(item)) for item in items}
    changed, _ = TrainingSettings().with_values(values).parted_from_secrets()
    loaded = parse_settings(convert(changed, "kohya-toml").text, "a.toml")
    assert loaded.settings == changed
    assert loaded.bad == {}
    assert read(convert(changed, "command").text) == changed


def test_kohyas_json_over_toml_is_the_same_settings(tmp_path: Path):
    loaded = from_kohya(OLD_TUTORIAL).settings
    text = convert(loaded, "kohya-toml").text
    assert read(text) == loaded
    assert to_kohya(read(text)) == to_kohya(loaded)


def test_sd_scripts_finds_no_key_of_ours_among_its_arguments():
    """It joins the sections into one dictionary of arguments; what lies deeper it never looks at."""
    tables = parse_toml(
        convert(TrainingSettings().with_values({"lora_type": "LoRA-FA", "epoch": 3}), "kohya-toml").text
    )
    assert set(tables["darkroom"]) <= {"script", "kept"}
    assert isinstance(tables["darkroom"]["kept"], dict)
    assert not {"epoch", "LoRA_type", "lr_warmup"} & set(tables)


def test_a_lora_is_saved_in_a_form_that_its_script_has():
    """It knows no folders; without the argument it saves safetensors."""
    assert "save_model_as" not in arguments_of({"save_model_as": "diffusers"})
    assert arguments_of({"save_model_as": "ckpt"})["save_model_as"] == "ckpt"


def test_what_has_no_argument_is_listed():
    folders = TrainingSettings().with_values({"train_data_dir": "img", "output_dir": "out", "max_train_epochs": 1})
    s = folders.with_values({"overwrite": True, "stop_text_encoder_training": 20, "num_processes": 2})
    assert convert(s, "sd-scripts-command").notes == [
        "sd-scripts has no argument for: Overwrite files of the same name (True), Stop TE (% of total steps) (20)."
    ]
    other = folders.with_values({"dataset_repeats": 3, "fused_backward_pass": True})
    assert convert(other, "sd-scripts-command").notes == [
        "Left out, because it is for other kinds of training: Dataset repeats (3), Fused backward pass (True)."
    ]
    assert "Number of processes (2)" in convert(s, "kohya-toml").notes[0]
    extra = from_kohya({"a_key_of_tomorrow": 1, "wandb_api_key": "secret", "log_with": "wandb"}).settings
    said = " ".join(convert(extra, "command").notes)
    assert "a_key_of_tomorrow" in said
    assert "WANDB API Key" in said
    assert "secret " not in said.replace("a secret", "")


def test_the_tables_name_options_that_there_are_and_every_argument_has_one_option():
    names = {item.name for item in training_options()}
    assert set(ELSEWHERE) <= names
    assert set(ABSENT) <= names
    for family in ("", *FAMILIES):
        for item in training_options():
            place = place_of(item)
            chosen = option_for(place.name, family, "lora") if place.kind == "argument" else None
            assert chosen is None or place_of(chosen).name == place.name
    assert not ONLY_THERE & {place_of(item).name for item in training_options() if place_of(item).kind == "network"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"seed = 1\nlearning_rate = ", "is not valid TOML; it may be cut off or have an editing mistake."),
        (
            b'output_dir = "D:\\lora"\n',
            "is not valid TOML in line 1; in TOML, put a path with backslashes in single quotes",
        ),
        (b"[a]\nx = 1\n[a]\n", "is not valid TOML in line 3"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"\x89PNG\r\n", "is not a text file; a settings file is JSON or TOML."),
        (b"just some words", "is not valid TOML in line 1"),
    ],
)
def test_a_broken_toml_is_one_sentence(tmp_path: Path, content: bytes, sentence: str):
    (tmp_path / "broken.toml").write_bytes(content)
    with pytest.raises(SettingsFileError) as refused:
        read_settings(tmp_path / "broken.toml")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_huge_toml_is_refused(tmp_path: Path):
    with (tmp_path / "huge.toml").open("wb") as stream:
        stream.truncate(50 * 2**20)
    with pytest.raises(SettingsFileError, match="50 MB"):
        read_settings(tmp_path / "huge.toml")
