"""Whole models that this program saves, loaded by other versions of diffusers and transformers.

python -m tests.reliability.older_libraries PYTHON …

PYTHON: of an environment with torch, diffusers, transformers and accelerate. A model of every family is saved as a
folder; each Python loads it with nothing of this program, and has to find what the one that runs this finds there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from engine.demo.demo import MODEL_FOLDER
from engine.models.diffusers_folder import save_folder
from tests.models.files import T5_OF
from tests.models.loading import loaded
from tests.models.small import FAMILIES
from tests.models.small import pipeline as small

READER = Path(__file__).with_name("as_diffusers_reads.py")
NEAR = 2e-4
"""By how much what is computed may differ: versions sum in other orders."""


def made(folder: Path) -> list[Path]:
    """A model of each family as this program saves it, and the built-in one as it is."""
    places = []
    for name in ("sd1", *FAMILIES):
        source = MODEL_FOLDER if name == "sd1" else folder / "source" / name
        if name != "sd1":
            small(name).save_pretrained(source)
        if name in T5_OF:
            _read_by_sentencepiece(source / T5_OF[name][1])
        family, parts = loaded(source)
        for kind in ("safetensors", "bin"):
            places.append(folder / f"{name}.{kind}")
            places[-1].mkdir()
            save_folder(places[-1], family.pipeline, parts, torch.float32, kind == "safetensors")
    return [MODEL_FOLDER, *places]


def _read_by_sentencepiece(folder: Path) -> None:
    """Put a tokenizer in place of T5's that lies there as the hub has it: as SentencePiece's file alone."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "words.txt").write_text("a red circle on a blue ground, 12 zebras\n" * 20, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"), model_prefix=str(folder / "spiece"), vocab_size=32, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    config = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
              "extra_ids": 5, "model_max_length": 512}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def read_by(python: str, places: list[Path]) -> dict[str, dict[str, Any]]:
    """What a Python finds, by the folders' names.  Raises CalledProcessError where it cannot be asked."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(READER), *map(str, places)], env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return {line.pop("folder"): line for line in map(json.loads, done.stdout.splitlines())}


def differences(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """What of a folder is read otherwise there, in words."""
    found = list(there["complaints"])
    if "weights" not in there:
        return found
    for what in ("tokens", "limits", "weights"):
        names = here[what].keys() | there[what].keys()
        unlike = sorted(name for name in names if here[what].get(name) != there[what].get(name))
        if unlike:
            found.append(f"{len(unlike)} of {len(names)} {what} differ, such as {unlike[0]}")
    for what, ours, theirs in [("picture", here["drawn"], there["drawn"])] + [
        (name, said, there["said"].get(name, [])) for name, said in here["said"].items()
    ]:
        if len(ours) != len(theirs) or max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > NEAR:
            found.append(f"{what}: {theirs} in place of {ours}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    pythons = parser.parse_args().pythons
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        places = made(Path(folder))
        here = read_by(sys.executable, places)
        for python in pythons:
            there = read_by(python, places)
            print(python)
            for name in here:
                found = here[name]["complaints"] + differences(here[name], there[name])
                wrong += bool(found)
                print(f"  {name}: {'; '.join(found) if found else 'alike'}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
