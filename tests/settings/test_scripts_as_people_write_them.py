"""Scripts with remarks, types, added arguments, conditions, dates and defaults: which command is read, and with what.

What a shell makes of a line is its manual's: about_Assignment_Operators, about_Comments and about_Arrays of PowerShell,
the GNU Bash manual's 3.4 and 3.5.3, ss64.com/nt/set.html.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.settings.files import parse_settings
from engine.settings.shell_variables import shell_of

WINDOWS = "D:\\m.safetensors"
SDXL = f'accelerate launch sdxl_train_network.py --pretrained_model_name_or_path="{WINDOWS}"'
POSIX_SDXL = f"accelerate launch sdxl_train_network.py --pretrained_model_name_or_path='{WINDOWS}'"


def read(text: str) -> tuple[dict[str, Any], str]:
    loaded = parse_settings(text)
    return loaded.settings.values(), " ".join(loaded.report())


THE_COMMAND = {
    "PowerShell, added": f'$told = @("--network_dim=16")\n$told += "--network_alpha=8"\n{SDXL} @told',
    "PowerShell, an array added": f'$told = @("--network_dim=16")\n$told += @("--network_alpha", 8)\n{SDXL} @told',
    "PowerShell, text added": f'$d = "1"\n$d += "6"\n$told = "--network_alpha=8"\n$told\n{SDXL} --network_dim=$d $told',
    "cmd, alone on a line": f"set ARGS=--network_dim=16 --network_alpha=8\n%ARGS%\n{SDXL} %ARGS%",
    "cmd, twice": f"set ARGS=--network_dim=16\n%ARGS%\nset ARGS=%ARGS% --network_alpha 8\n!ARGS!\n{SDXL} %ARGS%",
    "bash, alone on a line": f'ARGS="--network_dim=16 --network_alpha=8"\n$ARGS\n{POSIX_SDXL} $ARGS\n$ARGS',
    "bash, added": f'A=(--network_dim=16)\nA+=(--network_alpha 8)\n"${{A[@]}}"\n{POSIX_SDXL} "${{A[@]}}"',
    "bash, text added": f'A="--network_dim=16"\nA+=" --network_alpha=8"\n{POSIX_SDXL} $A',
    "written arguments first": f"--seed 1\n\n{SDXL} --network_dim=16 --network_alpha=8",
}


@pytest.mark.parametrize("script", THE_COMMAND.values(), ids=THE_COMMAND)
def test_the_command_is_the_line_that_names_a_script(script: str):
    found, _ = read(script)
    assert (found["sdxl"], found["pretrained_model_name_or_path"]) == (True, WINDOWS)
    assert (found["network_dim"], found["network_alpha"]) == (16, 8)


def test_arguments_alone_are_a_command_where_no_line_names_a_script():
    assert read("--network_dim 16\n--network_alpha 8")[0]["network_alpha"] == 8
    assert read("A=8\n--network_dim 16 --network_alpha $A")[0]["network_alpha"] == 8


ASSIGNED = {
    "PowerShell": "$network_dim = 16 # the rank; it's 16\n$alpha = '8' # network alpha",
    "PowerShell, one line": "$network_dim=16; $alpha=8",
    "PowerShell, typed": '[int]$network_dim = 16\n[string] $alpha = "8";  # as text',
    "PowerShell, of a class": "[System.Int32]$network_dim = 16 ; [Nullable[int]]$alpha = 8",
    "bash": '#!/bin/bash\nnetwork_dim=16                 # it\'s the rank; 4 | 8\nalpha="8" # network alpha',
    "bash, one line": "network_dim=16; alpha=8",
    "bash, exported": "export network_dim=16 # rank\nexport alpha='8'   # alpha\n",
}


@pytest.mark.parametrize("lines", ASSIGNED.values(), ids=ASSIGNED)
def test_what_stands_around_an_assignment_does_not_hide_it(lines: str):
    found, said = read(f"{lines}\npython train_network.py --network_dim=$network_dim --network_alpha=$alpha")
    assert (found["network_dim"], found["network_alpha"]) == (16, 8)
    assert "other commands" not in said


def test_cmd_exe_sets_and_goes_on_behind_an_ampersand():
    found, _ = read('set DIM=16& set "A=8" && python train_network.py --network_dim %DIM% --network_alpha %A%')
    assert (found["network_dim"], found["network_alpha"]) == (16, 8)


CONDITIONS = {
    "bash": "a=(--network_dim=16)\nif [[ $v2 == 1 ]]; then\n  a+=(--v2)\nelse\n  a=(--seed 3)\nfi\n"
    "for x in 1; do\n a+=(--v2)\ndone\npython train_network.py ${a[@]}",
    "PowerShell": '$a = @("--network_dim=16")\nif ($v2) {\n  $a += "--v2"\n}\nelse\n{\n  $a = "--seed=3"\n}\n'
    "python train_network.py $a",
    "cmd": "set A=--network_dim=16\nif defined V2 (\n  set A=%A% --v2\n) else (\n  set A=--seed=3\n)\n"
    "python train_network.py %A%",
}


@pytest.mark.parametrize("script", CONDITIONS.values(), ids=CONDITIONS)
def test_what_only_a_condition_sets_is_told_and_not_taken(script: str):
    found, said = read(script)
    assert (found["network_dim"], found["v2"], found["seed"]) == (16, False, 0)
    assert "other commands" in said


def test_an_empty_list_takes_nothing_from_the_argument_before_it():
    for script in (
        "$a = [System.Collections.ArrayList]::new()\npython train_network.py --shuffle_caption $a",
        "$a = @()\npython train_network.py --shuffle_caption @a",
        "a=()\npython train_network.py --shuffle_caption ${a[@]}",
    ):
        assert read(script)[0]["shuffle_caption"] is True, script


DATES = {
    "a command's": "#!/bin/bash\nD=/data\nN=x_$(date +%Y%m%d)\npython train_network.py --vae=$D/v.pt --seed 7",
    "printf": 'printf "%s%s\\n" a b\npython train_network.py --vae=/data/v.pt --seed 7',
    "in a name": "python train_network.py --vae=/data/v.pt --seed 7 --output_name=x-%Y%m%d",
    "exported": "export D=/data\necho %s%s%\npython train_network.py --vae=$D/v.pt --seed 7",
    "on two lines": "python train_network.py --output_name=x-%Y%m%d \\\n --vae=/data/v.pt --seed 7",
}


@pytest.mark.parametrize("script", DATES.values(), ids=DATES)
def test_a_date_makes_no_batch_file(script: str):
    assert shell_of(script, False) == "posix"
    found, said = read(script)
    assert (found["vae"], found["seed"]) == ("/data/v.pt", 7)
    assert "%Y" not in said.partition("Shell variables")[2]


def test_batch_files_stay_such():
    for text in ("set N=%DATE%\npython x.py %N%", "python x.py --a %NAME%", "@set A=1\r\npython x.py --o=C:\\%A%"):
        assert shell_of(text, False) == "cmd", text


@pytest.mark.parametrize("alpha", ["${ALPHA:-8}", '"${ALPHA:-8}"', "${ALPHA-8}", "${1:-8}", "${EMPTY:-8}"])
def test_a_default_is_used_where_nothing_is_set(alpha: str):
    found, said = read(f"EMPTY=\npython train_network.py --network_dim=${{DIM}} --network_alpha={alpha}")
    assert found["network_alpha"] == 8
    assert "Shell variables were not filled in: ${DIM}." in said
    assert read("ALPHA=4\npython train_network.py --network_alpha=${ALPHA:-8}")[0]["network_alpha"] == 4


@pytest.mark.parametrize("use", ["${ALPHA:?unset}", "${ALPHA%.*}", "${ALPHA[@]}"])
def test_what_is_not_filled_in_is_shown_whole(use: str):
    assert f"not filled in: {use}." in read(f"python train_network.py --output_name={use}")[1]
