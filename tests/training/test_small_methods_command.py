"""`python -m engine train` makes of the page's command what the page's run makes of the form, whatever is trained."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.runs.history import History
from engine.settings.command import write_command
from engine.settings.training import Method, TrainingSettings

ROOT = Path(__file__).parents[2]

WORD: dict[str, Any] = {"token_string": "zig", "caption_template": "object template"}

CASES: dict[str, tuple[Method, dict[str, Any]]] = {
    "new word": ("textual_inversion", WORD),
    "DreamArtist": ("textual_inversion", WORD | {"dreamartist": True}),
    "word and LoRA": ("lora", WORD | {"pivotal": True, "save_words": "both"}),
    "hypernetwork": ("hypernetwork", {"hypernetwork_structure": "1, 2, 2, 1", "hypernetwork_dropout": "0.2"}),
    "LECO": ("leco", {"leco_target": "ring", "leco_action": "slide", "leco_positive": "red", "max_denoising_steps": 4}),
    "EMA": ("lora", {"ema": True}),
}  # fmt: skip


def results(folder: Path) -> dict[str, str]:
    """The weights of each file: what is beside them tells when they were made."""
    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        if file.suffix == ".safetensors":
            data = data[8 + int.from_bytes(data[:8], "little") :]
        found[file.name] = hashlib.sha256(data).hexdigest()
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_page_s_command_makes_the_same_files(
    case: str, settings: TrainingSettings, trained: Callable[..., History], tmp_path: Path
):
    method, changes = CASES[case]
    changes = changes | {"max_train_steps": 2, "save_precision": "float"}
    assert trained(method, **changes).last.how == "done"
    page = results(tmp_path / "out")
    assert page
    asked = settings.model_copy(update={"method": method}).with_values(
        changes | {"output_dir": str(tmp_path / "again")}
    )
    _, *words = shlex.split(write_command(asked, windows=False).replace("\\\n", " "))
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert results(tmp_path / "again") == page
