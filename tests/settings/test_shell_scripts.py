"""Scripts of cmd.exe, PowerShell and POSIX shells: carets, the variables that they set themselves, and strays.

What a shell makes of a line is its manual's: ss64.com/nt/syntax-esc.html and set.html, PowerShell's about_Quoting_Rules
and about_Splatting, POSIX.1-2017 XCU 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.settings.files import parse_settings, read_settings
from engine.settings.shell_words import script_of, words_of
from engine.settings.training import TrainingSettings


def values(text: str) -> dict[str, Any]:
    return parse_settings(text).settings.values()


@pytest.mark.parametrize(
    "line",
    [
        "accelerate launch train_network.py ^\n--network_dim=16 --output_name=he^l^lo",
        "accelerate launch train_network.py ^\r\n ^--network_dim=16 ^--output_name=hello ^",
        "accelerate launch train_network.py ^--network_dim=16 ^--output_name=^h^e^l^l^o",
        'accelerate launch train_network.py --network_dim^=16 ^--output_name="hello" --output_dir "D:\\a^b" ^\n',
        "accelerate launch train_network.py ^ --network_dim 16 ^ --output_name hello",
    ],
)
def test_cmd_exe_drops_a_caret_before_any_sign_outside_quotes(line: str):
    found = values(line)
    assert (found["network_dim"], found["output_name"]) == (16, "hello")
    assert found["output_dir"] in ("", "D:\\a^b")


def test_a_caret_is_kept_within_quotes_in_other_shells_and_in_fields():
    assert values('python train_network.py ^\n --output_name "a^b"')["output_name"] == "a^b"
    assert values("python train_network.py --output_name a^b")["output_name"] == "a^b"
    assert values("$x = 1\npython train_network.py --output_name a^b")["output_name"] == "a^b"
    assert words_of("D:\\x a^b") == ["D:\\x", "a^b"]


SCRIPTS = {
    "cmd": 'set DIM=16\nset "MODEL=D:\\my models\\a.safetensors"\n'
    'accelerate launch train_network.py --network_dim=%DIM% --pretrained_model_name_or_path="%MODEL%"',
    "cmd, quotes in the value": 'SET model="D:\\my models\\a.safetensors"\n@set dim=16\n'
    "accelerate launch train_network.py ^\n --network_dim %DIM% ^\n --pretrained_model_name_or_path=%MODEL%",
    "cmd, of other variables": "set BASE=D:\\my models\nset DIM=16\nset MODEL=%BASE%\\a.safetensors\n"
    'accelerate launch train_network.py --network_dim=!DIM! --pretrained_model_name_or_path="!MODEL!"',
    "cmd, arguments": 'set ARGS=--network_dim 16 --pretrained_model_name_or_path "D:\\my models\\a.safetensors"\n'
    "accelerate launch train_network.py %ARGS%",
    "PowerShell": '$model = "D:\\my models\\a.safetensors"\n$network_dim = 16\n'
    "accelerate launch train_network.py --pretrained_model_name_or_path=$model --network_dim=$network_dim",
    "PowerShell, of others": "$Env:DIM = '16'\n$base='D:\\my models';\n$model = \"$base\\a.safetensors\"\n"
    'accelerate launch train_network.py `\n --pretrained_model_name_or_path "${model}" `\n --network_dim=$env:DIM',
    "PowerShell, splatting": '$dim = 16\n$told = @(\n  "--network_dim", $dim\n'
    "  '--pretrained_model_name_or_path=D:\\my models\\a.safetensors'\n)\naccelerate launch train_network.py @told",
    "POSIX": "#!/bin/bash\nMODEL='D:\\my models\\a.safetensors'\nDIM=16\n"
    'accelerate launch train_network.py --network_dim $DIM --pretrained_model_name_or_path "$MODEL"',
    "POSIX, of others": 'export BASE="D:\\my models" DIM=16\nMODEL="${BASE}\\a.safetensors"\n'
    'accelerate launch train_network.py --network_dim=${DIM} --pretrained_model_name_or_path="${MODEL}"',
    "POSIX, arguments": 'NAME=a.safetensors; ARGS="--network_dim 16 --seed 1"\n'
    'accelerate launch train_network.py $ARGS --pretrained_model_name_or_path "D:\\my models\\$NAME"',
    "POSIX, an array": "ARGS=(\n  --network_dim 16\n"
    '  --pretrained_model_name_or_path "D:\\my models\\a.safetensors"\n)\n'
    'accelerate launch train_network.py "${ARGS[@]}"',
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_scripts_own_variables_are_filled_in(script: str):
    loaded = parse_settings(script)
    found = loaded.settings.values()
    assert (found["network_dim"], found["pretrained_model_name_or_path"]) == (16, "D:\\my models\\a.safetensors")
    said = " ".join(loaded.report())
    assert "Shell variables" not in said
    assert "other commands" not in said


def test_within_single_quotes_and_before_it_is_set_a_variable_is_none():
    found = values("NAME=cat\npython train_network.py --output_name '$NAME'")
    assert found["output_name"] == "$NAME"
    loaded = parse_settings("python train_network.py --output_name $NAME\nNAME=cat")
    assert loaded.settings.folders.output_name == "$NAME"
    assert "Shell variables were not filled in: $NAME." in loaded.report()
    assert (
        values("set NAME=cat\npython train_network.py ^\n --output_name %NAME%_%OTHER%")["output_name"] == "cat_%OTHER%"
    )


def test_what_is_set_and_not_used_is_told_and_the_gpus_are_taken():
    for text in ("set CUDA_VISIBLE_DEVICES=1\nset COLOUR=red", "$env:CUDA_VISIBLE_DEVICES = 1\n$colour = 'red'"):
        loaded = parse_settings(f"{text}\npython train_network.py --seed 1\n")
        assert loaded.settings.hardware.gpu_ids == "1"
        assert any(line.lower() == "set by the script but not used in the command: colour." for line in loaded.report())


STRAYS = {
    "two backslashes": "--optimizer_type adamw8bit \\\\\n  --fp8_base \\\n  --output_name zork",
    "a space after one": "--optimizer_type adamw8bit \\\n  --fp8_base \\ \n  --output_name zork",
    "both": "--optimizer_type adamw8bit \\\\\n  --fp8_base \\ \n  --output_name zork\n",
    "at the end": "--optimizer_type adamw8bit --fp8_base --output_name zork \\\\",
}


@pytest.mark.parametrize("text", STRAYS.values(), ids=STRAYS)
def test_a_stray_backslash_is_one_sentence_and_the_rest_is_read(text: str):
    loaded = parse_settings(
        f"accelerate launch sd-scripts/train_network.py \\\n  --network_module networks.lora {text}"
    )
    found = loaded.settings.values()
    assert (found["optimizer"], found["fp8_base"], found["output_name"]) == ("AdamW8bit", True, "zork")
    assert found["additional_parameters"] == ""
    assert sum("two backslashes" in sentence for sentence in loaded.report()) == 1


def test_a_plain_end_of_line_is_no_stray():
    for text in ("a \\\n b", "a ^\n b", "a `\n b", "D:\\x\\\\ --y 1", "a \\"):
        assert script_of(text).strays == 0, text


def test_a_file_of_sample_prompts_that_is_not_here_is_kept_as_named(tmp_path: Path):
    file = tmp_path / "train.bat"
    file.write_text('accelerate launch train_network.py ^\n --seed 1 ^--sample_prompts="D:\\gym\\prompts.txt" ^\n')
    loaded = read_settings(file)
    assert words_of(loaded.settings.hardware.additional_parameters) == [
        "--sample_prompts",
        "D:\\gym\\prompts.txt",
    ]
    assert "D:\\gym\\prompts.txt, which was not read" in " ".join(loaded.report())


def test_an_empty_variable_is_an_empty_value_in_quotes_and_nothing_without():
    for script in (
        'set V=\npython train_network.py ^\n --vae "%V%" %V% --seed 1',
        'V=\npython train_network.py --vae "$V" $V --seed 1',
    ):
        found = values(script)
        assert (found["vae"], found["seed"]) == ("", 1)


def test_variables_that_hold_each_other_come_to_an_end():
    doubled = "A=xxxxxxxx\n" + "A=$A$A\n" * 60 + "python train_network.py --seed 1 --output_name $A"
    assert values(doubled)["seed"] == 1
    many = f"A={'x' * 1000}\npython train_network.py --seed 1 --output_name " + "$A" * 50_000
    assert len(str(parse_settings(many).settings.folders.output_name)) < 2**20
    empty = "set A=\npython train_network.py ^\n --seed 1 " + "%A% " * 20_000
    assert values(empty)["seed"] == 1


@pytest.mark.parametrize(
    "text",
    ["MODEL=a.safetensors\npython train_network.py --seed 1", "A=1\nB=2\n\npython train_network.py --seed 1 # x = 1\n"],
)
def test_a_script_that_begins_with_a_variable_is_not_taken_for_toml(text: str):
    assert values(text)["seed"] == 1
    toml = 'seed = 1\nlog_prefix = "python train_network.py --seed 2"\n'
    assert parse_settings(toml).settings == TrainingSettings().with_values(parse_settings(toml).settings.values())
    assert values(toml)["seed"] == 1
