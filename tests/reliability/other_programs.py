"""Words of other programs, drawn at random: secrets that are planted in them, and commands that are written for them.

    python -m tests.reliability.other_programs --tries 2000 --seed 3

A secret is planted in a settings file or command in a way that people have; it must be in nothing that is written or
said of the settings. Settings with a dozen random values are written as sd-scripts' command, which its program must
take, and are read again. Ends with 1 where something fails, and shows it.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings
from engine.settings.training import TrainingSettings, training_options
from tests.settings.test_nothing_lost import KINDS, other_values
from tests.settings.test_sd_scripts_accepts import FOLDERS, USERS_OWN_WORDS, refused
from tests.settings.test_secrets import S, is_told, written

NAMES = (
    "huggingface_token", "wandb_api_key", "hf_token", "HF_TOKEN", "hub_token", "WANDB_API_KEY", "api-key", "hfToken",
    "password", "my_secret", "huggingface_to", "wandb_api", "AWS_SECRET_ACCESS_KEY", "token",
)  # fmt: skip
VALUES = (S, f"{S}-b", f"{S} and {S}", f"x{S}'y", f'"{S}"', f"{S}=={S}", f"-{S}")


def argument(draw: random.Random, name: str, value: str) -> str:
    """An argument as people write it on a command line."""
    dash = draw.choice(("--", "–", "—", "–-", "-"))
    quoted = draw.choice((shlex.quote(value), json.dumps(value), f"“{value}”"))
    return f"{dash}{name}{draw.choice(('=', ' ', '  '))}{quoted}"


def planted(draw: random.Random) -> str:
    """The text of a settings file or command with a secret in it."""
    name, value = draw.choice(NAMES), draw.choice(VALUES)
    words = [f"--network_dim {draw.choice((4, 16))}", argument(draw, name, value), "--log_prefix a"]
    draw.shuffle(words)
    line = " ".join(words)
    way = draw.randrange(9)
    if way == 0:
        return json.dumps({"network_dim": 8, draw.choice(("additional_parameters", "optimizer_args")): line})
    if way == 1:
        return json.dumps({"network_dim": 8, name: draw.choice([value, [value], {"a": [value]}, {"b": {"c": value}}])})
    if way == 2:
        return json.dumps({"network_dim": 8, "unknown": {"deeper": [{name: value}, 3]}, "extra": shlex.split("a b")})
    if way == 3:
        return json.dumps({"network_dim": 8, "extra_accelerate_launch_args": line, "additional_parameters": [line]})
    if way == 4:
        return (
            f"network_dim = 8\n[more]\n{json.dumps(name)} = {draw.choice((json.dumps(value), json.dumps([value])))}\n"
        )
    if way == 5:
        return f"accelerate launch train_network.py {line}\n"
    if way == 6:
        return f"set {name}={value}\npython train_network.py ^\n --network_dim 8 --hub_token=%{name}%\n"
    if way == 7:
        variable = name.replace("-", "_")
        return f"export {variable}={shlex.quote(value)}\nwandb login {S}\npython train_network.py --token ${variable}\n"
    return f"$env:{name.replace('-', '_')} = '{S}'\npython train_network.py `\n --network_dim 8 --wandb_api_key {S}\n"


def secret_told(text: str, folder: Path) -> str:
    """Where a planted secret came out, empty where it did nowhere."""
    try:
        loaded = parse_settings(text)
    except SettingsFileError as error:
        return "the refusal" if is_told(str(error)) else ""
    if any(map(is_told, loaded.report())):
        return "the report"
    return next((f"what is written: {part[:200]}" for part in written(loaded.settings, folder) if is_told(part)), "")


def command_refused(draw: random.Random) -> tuple[dict[str, Any], list[str]]:
    """Random values, and why sd-scripts' program would refuse the command that is written of them."""
    options = [item for item in training_options() if item.name not in USERS_OWN_WORDS and other_values(item)]
    values = {item.name: draw.choice(other_values(item)) for item in draw.sample(options, 12)}
    changed = {**values, **FOLDERS, **draw.choice(KINDS)}
    return changed, refused(TrainingSettings().with_values(changed))


def search(tries: int, seed: int) -> Counter[str]:
    draw = random.Random(seed)
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(tries):
            (own := Path(folder) / str(number)).mkdir()
            text = planted(draw)
            if where := secret_told(text, own):
                found["secrets told"] += 1
                print(f"{text!r} came out in {where}", file=sys.stderr)
            values, why = command_refused(draw)
            if why:
                found["commands refused"] += 1
                print(f"{values}: {why}", file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = search(given.tries, given.seed)
    print(f"{given.tries} planted secrets, {given.tries} commands: {dict(found) or 'nothing found'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
