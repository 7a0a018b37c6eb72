"""Command lines as people have them: what is read from them, what they print, and how long that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.settings import convert as convert_module
from engine.settings.command import write_command, write_sd_scripts_command
from engine.settings.convert import convert
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, read_settings, save_kohya
from engine.settings.training import TrainingSettings


def read(text: str) -> TrainingSettings:
    return parse_settings(text).settings


@pytest.mark.parametrize(
    "command",
    [
        "accelerate launch train_network.py --network_dim 16 --output_name 'my cat'",
        'accelerate launch train_network.py \\\n --network_dim=16 \\\n --output_name="my cat"',
        'accelerate launch train_network.py ^\n --network_dim=16 ^  \n --output_name="my cat"',
        'accelerate launch train_network.py `\n --network_dim=16 `\n --output_name "my cat"',
        "accelerate launch train_network.py\n--network_dim 16\n--output_name 'my cat'",
        "accelerate launch train_network.py —network_dim 16 –output_name “my cat”",
        r"accelerate launch ./sd-scripts/train_network.py --network_dim 16 --output_name my\ cat && echo done",
        'venv\\Scripts\\python.exe .\\train_network.py --network_dim 16 --output_name "my cat" | tee log.txt',
        "python -m accelerate.commands.launch train_network.py --network_dim 16 --output_name 'my cat' # soon",
        "# mine\ncd sd-scripts\nCUDA_VISIBLE_DEVICES=0 accelerate launch train_network.py --network_dim 16 "
        "--output_name 'my cat'",
        "--network_dim 16 --output_name 'my cat'",
        "accelerate launch train_network.py −−network_dim 16 –—output_name ‘my cat’",
        'accelerate launch train_network.py --network_dim 16 --output_name “my cat"',
        'accelerate launch train_network.py --output_name="my cat” --network_dim 16',
        "accelerate launch train_network.py --output_name „my cat‟ --network_dim 16",
        "accelerate launch train_network.py --output_name='my cat’ --network_dim 16",
        "accelerate launch train_network.py --output_name ”my cat″ --training_comment it’s --network_dim 16; echo done",
        "cd sd-scripts && accelerate launch train_network.py --output_name 'my cat' --network_dim 16|tee log.txt",
        '& C:\\venv\\python.exe train_network.py --output_name "my cat" --network_dim 16 >log.txt',
        'accelerate launch train_network.py --output_dir "D:\\my out\\\\" --output_name "my cat" --network_dim 16',
        'accelerate launch train_network.py --output_name ^"my cat^" --network_dim 16',
    ],
)
def test_a_command_is_read_as_shells_and_web_pages_write_it(command: str):
    s = read(command)
    assert (s.network.network_dim, s.folders.output_name) == (16, "my cat")


def test_our_own_command_may_lay_options_over_a_file(tmp_path: Path):
    save_kohya(TrainingSettings().with_values({"network_dim": 64, "epoch": 5}), tmp_path / "a.json")
    (tmp_path / "run.txt").write_text(".venv/bin/python -m engine train a.json --epoch 7 --flip_aug\n")
    s = read_settings(tmp_path / "run.txt").settings
    assert (s.network.network_dim, s.optimizer.epoch, s.dataset.flip_aug) == (64, 7, True)
    (tmp_path / "round.txt").write_text("python -m engine train round.txt\n")
    with pytest.raises(SettingsFileError, match="contains another command"):
        read_settings(tmp_path / "round.txt")


ODD_TEXTS = [
    "D:\\my pictures\\", "C:\\img", "/home/me/it's", '//server/a "b" c', "a\\b^c", "x|y & z", "a & b", "a > b",
    "x # y", "#1 cat", "100%", "%USERPROFILE%\\x", "a\\$b", "\\\\server\\share", "back\\", 'say \\"hi\\" & go', '"',
    '\\"', "^", "a ^", "–x", "“curly” it’s", 'a “b" c', "--x y", ";", "a;b", "a && b", " lead", "trail ", "猫 D:\\猫",
    "'", "''", "a\tb", "5″ --w 512",
]  # fmt: skip


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("beside", ["", "C:\\out put\\"])
def test_commands_are_quoted_for_either_kind_of_shell(text: str, beside: str, windows: bool):
    s = TrainingSettings().with_values(
        {"train_data_dir": text, "output_name": text, "output_dir": beside, "training_comment": text}
    )
    assert read(write_command(s, windows)) == s
    theirs = read(write_sd_scripts_command(s, windows=windows)[0])
    assert theirs.folders == s.folders
    assert theirs.values()["training_comment"] == text


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_cmd_exe_sees_no_sign_of_its_own_in_a_printed_command(text: str):
    """It takes signs for its own where it has seen an even number of quotes; % also within them."""
    s = TrainingSettings().with_values({"output_name": text, "training_comment": text})
    in_quotes = False
    printed = iter(write_command(s, windows=True))
    for sign in printed:
        if sign == "^" and not in_quotes:
            next(printed)
        elif sign == '"':
            in_quotes = not in_quotes
        else:
            assert sign not in ("%" if in_quotes else "%&|<>")
    assert not in_quotes


def test_a_text_of_several_lines_is_left_out_for_cmd_exe_and_told(monkeypatch: pytest.MonkeyPatch):
    s = TrainingSettings().with_values({"sample_prompts": "a cat\na dog", "epoch": 3})
    assert read(write_command(s, windows=False)) == s
    assert read(write_command(s, windows=True)) == s.with_values({"sample_prompts": ""})
    monkeypatch.setattr(convert_module, "write_command", lambda settings: write_command(settings, windows=True))
    assert convert(s, "command").notes == ["Not said by a command: Sample prompts (a cat a dog)."]


@pytest.mark.parametrize(
    "text",
    [
        "--a 1\n" * 10_000,
        "accelerate launch train_network.py " + "“" * 60_001,
        'accelerate launch train_network.py D:\\x """' + ' \\"x' * 15_000,
        "accelerate launch train_network.py D:\\x " + '^"\\' * 20_000,
        'accelerate launch train_network.py "' + "\\" * 60_001,
        "accelerate launch train_network.py --network_args" + " a=1" * 15_000,
        "seed = 1\n" + "".join(f"k{number} = 1\n" for number in range(30_000)),
    ],
    ids=["lines", "curly", "escaped", "careted", "backslashes", "words", "keys"],
)
def test_of_a_long_text_little_is_said(text: str):
    """Where reading takes the square of the length, this takes minutes."""
    said = parse_settings(text).report()
    assert sum(map(len, said)) < 10_000


@pytest.mark.parametrize("method", ["dreambooth", "finetune"])
def test_a_command_of_ours_says_what_is_trained(method: Any):
    settings = TrainingSettings().with_values({"epoch": 3}).for_method(method)
    text = write_command(settings)
    assert f"--method {method}" in text
    assert "learning_rate" not in text  # it is the usual one
    loaded = parse_settings(text)
    assert loaded.says_method
    assert loaded.settings == settings
    other = settings.with_values({"learning_rate": 3e-4})
    assert read(write_command(other)) == other


def test_a_whole_model_is_not_written_as_a_command_for_a_lora():
    settings = TrainingSettings().for_method("dreambooth")
    for target in ("sd-scripts-command", "kohya-toml"):
        with pytest.raises(SettingsFileError, match="only be written for a LoRA"):
            convert(settings, target)
    assert "open this one on the matching tab" in convert(settings, "kohya-json").notes[0]
    assert parse_settings(convert(settings, "darkroom").text).settings == settings
