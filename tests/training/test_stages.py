"""The training reads from the top to the bottom: a screen for the whole, a screen for each part of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "engine" / "training"
SCREEN, STAGE, FUNCTION = 40, 40, 60
"""Lines. Forty are what an editor shows at a time; a function of the engine's that computes may need half as many more,
and one that is longer is two."""


def functions(file: Path) -> list[tuple[str, int]]:
    """Names and lines, docstrings left out: they help to read."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            found.append((node.name, node.end_lineno - first.lineno + 1))
    return found


def test_train_is_read_on_one_screen():
    lengths = dict(functions(TRAINING / "train.py"))
    assert lengths["train"] <= SCREEN
    assert max(lengths.values()) <= SCREEN


@pytest.mark.parametrize("stage", sorted(path.stem for path in (TRAINING / "stages").glob("[a-z]*.py")))
def test_a_stage_is_read_on_one_screen(stage: str):
    assert {name: lines for name, lines in functions(TRAINING / "stages" / f"{stage}.py") if lines > STAGE} == {}


def test_no_function_of_the_training_is_longer_than_a_screen_and_a_half():
    long = {f"{file.name}:{name}": lines for file in TRAINING.rglob("*.py")
            for name, lines in functions(file) if lines > FUNCTION}  # fmt: skip
    assert long == {}


def test_what_takes_more_than_four_things_takes_them_by_name():
    """Of two positional arguments that are swapped, the checker of types finds only some."""
    wrong = []
    for file in TRAINING.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
                count = len(names) - (names[:1] in (["self"], ["cls"], ["ctx"]))
                if count > 4:
                    wrong.append(f"{file.name}:{node.name} has {count}")
    assert wrong == []


def test_a_record_of_more_than_four_things_is_made_by_name():
    wrong = []
    for file in TRAINING.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            kind = next((d for d in getattr(node, "decorator_list", []) if "dataclass" in ast.unparse(d)), None)
            if isinstance(node, ast.ClassDef) and kind and "kw_only=True" not in ast.unparse(kind):
                fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
                wrong += [node.name] * (len(fields) > 4)
    assert wrong == []
