"""The engine without a page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.__main__ import CANNOT_START, _parser, _settings, main
from engine.runs.events import Finished, Planned, Sample, Step
from engine.runs.folder import all_runs
from engine.settings.convert import TARGETS
from engine.settings.files import read_settings, save_kohya
from engine.settings.training import TrainingSettings, training_options

ROOT = Path(__file__).parents[1]


@pytest.fixture
def file(settings: TrainingSettings, tmp_path: Path) -> Path:
    save_kohya(settings, tmp_path / "settings.json")
    return tmp_path / "settings.json"


def test_help_lists_every_option_that_is_followed_with_its_help(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        main(["train", "--help"])
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for item in training_options():
        if item.standing.kind in ("acts", "maps"):
            assert f"--{item.name} " in shown
            assert item.help.split(". ")[0][:40] in shown, item.name
        else:
            assert f"--{item.name} " not in shown


def test_options_that_wait_are_taken_under_either_name(file: Path):
    parser = _parser()
    given = parser.parse_args(["train", str(file), "--factor", "4", "--min_snr_gamma", "5", "--flip_aug"])
    settings = _settings(given)
    assert settings.lycoris.lokr_factor == 4
    assert settings.objective.min_snr_gamma == 5
    assert settings.dataset.flip_aug is True


def test_check_says_what_is_wrong_and_starts_nothing(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(file)]) == 0
    assert "= 10 steps" in capsys.readouterr().out
    assert main(["check", str(file), "--max_resolution", "13,13"]) == CANNOT_START
    assert "Max resolution: Max resolution 13,13 is too small. Use 64 or more." in capsys.readouterr().out
    assert list(all_runs()) == []


def test_check_speaks_json(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(file), "--json", "--output_name", "?"]) == CANNOT_START
    said = json.loads(capsys.readouterr().out)
    assert said["can_start"] is False
    assert [problem["option"] for problem in said["problems"]] == ["output_name"]


def test_settings_that_cannot_start_make_no_run(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", str(file), "--train_data_dir", "/gone"]) == CANNOT_START
    assert '"/gone" does not exist' in capsys.readouterr().err
    assert list(all_runs()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["gone.json"], "There is no file"), (["--network_dim", "wide"], "Network Rank (Dimension) is 'wide'")],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]):
    assert main(["train", *arguments]) == CANNOT_START
    said = capsys.readouterr().err.strip()
    assert sentence in said
    assert "\n" not in said


def test_training_from_a_file_saves_one_and_returns_0(file: Path, tmp_path: Path):
    done = subprocess.run(
        [
            sys.executable, "-m", "engine", "train", str(file), "--max_train_steps", "3",
            "--sample_prompts", "a red circle --s 2", "--sample_every_n_steps", "2",
            "--validation_split", "0.2",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 steps, set by Max train steps" in done.stdout
    assert [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("validation loss")] == ["0", "3"]
    assert (tmp_path / "out" / "shapes.safetensors").exists()
    run = next(all_runs())
    events = run.events().read()
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3]
    assert isinstance(events[-1], Finished)
    assert events[-1].how == "done"
    drawn = [event for event in events if isinstance(event, Sample)]
    assert [event.step for event in drawn] == [2]
    assert Path(drawn[0].file).parent == tmp_path / "out" / "sample"
    assert next(event for event in events if isinstance(event, Planned)).total_steps == 3


def test_a_run_that_fails_says_why_and_returns_1(settings: TrainingSettings, file: Path, tmp_path: Path):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"PK\3\4 an archive that only torch judges")
    done = subprocess.run(
        [sys.executable, "-m", "engine", "train", str(file), "--pretrained_model_name_or_path", str(broken)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "broken.ckpt is not a readable checkpoint" in done.stderr
    assert not (tmp_path / "out" / "shapes.safetensors").exists()


def test_a_run_that_is_not_there_cannot_be_resumed(capsys: pytest.CaptureFixture[str]):
    assert main(["resume", "none"]) == CANNOT_START
    assert "There is no run 'none'" in capsys.readouterr().err


def test_check_and_train_take_toml_and_a_command_too(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for target, name in (("kohya-toml", "a.toml"), ("command", "a.txt"), ("sd-scripts-command", "a.sh")):
        assert main(["convert", str(file), "--to", target, "--output", str(tmp_path / name)]) == 0
        capsys.readouterr()
        assert main(["check", str(tmp_path / name)]) == 0
        assert "10 steps" in capsys.readouterr().out
    assert main(["train", str(tmp_path / "a.toml"), "--train_data_dir", "/gone"]) == CANNOT_START
    assert '"/gone" does not exist' in capsys.readouterr().err


@pytest.mark.parametrize("target", TARGETS)
def test_every_form_is_written_in_its_own_place_only(
    target: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["convert", str(file), "--to", target]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "new"
    for _ in range(2):  # one of its own kind is replaced
        assert main(["convert", str(file), "--to", target, "--output", str(out)]) == 0
        assert out.read_text(encoding="utf-8") == printed
        assert capsys.readouterr().out == ""
    others = {
        "other.json": "[1]",
        "notes.toml": 'title = "mine"',
        "run.sh": "rm -r x\npython train_db.py --seed 1",
    }
    for name, content in others.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert main(["convert", str(file), "--to", target, "--output", str(tmp_path / name)]) == CANNOT_START
        assert "was not replaced, because it is not a settings file" in capsys.readouterr().err
        assert (tmp_path / name).read_text(encoding="utf-8") == content
    if target != "kohya-json":
        assert main(["convert", str(file), "--to", target, "--output", str(file)]) == CANNOT_START
        assert f"because it is kohya-json and not {target}" in capsys.readouterr().err


def test_converted_there_and_back_a_file_is_the_same(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    settings = read_settings(file).settings
    before = file
    for target, name in (
        ("kohya-toml", "1.toml"),
        ("darkroom", "2.json"),
        ("command", "3.txt"),
        ("kohya-json", "4.json"),
    ):
        assert main(["convert", str(before), "--to", target, "--output", str(tmp_path / name)]) == 0
        before = tmp_path / name
    assert read_settings(before).settings == settings
    assert json.loads(before.read_text(encoding="utf-8")) == json.loads(file.read_text(encoding="utf-8"))


def test_what_a_form_has_no_word_for_is_said_beside_the_result(file: Path, capsys: pytest.CaptureFixture[str]):
    save_kohya(read_settings(file).settings.with_values({"overwrite": True, "sample_prompts": "a cat"}), file)
    assert main(["convert", str(file), "--to", "sd-scripts-command"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("accelerate launch ")
    assert "Overwrite files of the same name (True), Sample prompts (a cat)" in said.err
    assert "with --output, one is written next to it" in said.err


def test_prompts_never_take_the_place_of_another_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_kohya(read_settings(file).settings.with_values({"sample_prompts": "a cat"}), file)
    (tmp_path / "x-prompts.txt").write_text("mine", encoding="utf-8")
    assert main(["convert", str(file), "--to", "kohya-toml", "--output", str(tmp_path / "x.toml")]) == CANNOT_START
    assert "x-prompts.txt was not replaced" in capsys.readouterr().err
    assert not (tmp_path / "x.toml").exists()
    for prompt in ("a cat", "a dog"):  # its own it replaces
        save_kohya(read_settings(file).settings.with_values({"sample_prompts": prompt}), file)
        assert main(["convert", str(file), "--to", "kohya-toml", "--output", str(tmp_path / "y.toml")]) == 0
        assert (tmp_path / "y-prompts.txt").read_text(encoding="utf-8") == prompt


@pytest.mark.parametrize("output", [".", "", "/"])
def test_a_folder_is_no_place_for_a_converted_file(output: str, settings: TrainingSettings, tmp_path: Path):
    file = save_kohya(settings.with_values({"sample_prompts": "a cat"}), tmp_path / "s.json")
    assert main(["convert", str(file), "--to", "kohya-toml", "--output", output]) == CANNOT_START


def test_what_goes_into_a_file_is_utf_8_whatever_the_terminal_speaks(settings: TrainingSettings, tmp_path: Path):
    file = save_kohya(settings.with_values({"output_name": "猫"}), tmp_path / "s.json")
    done = subprocess.run(
        [sys.executable, "-m", "engine", "convert", str(file), "--to", "kohya-json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout.decode("utf-8"))["output_name"] == "猫"
