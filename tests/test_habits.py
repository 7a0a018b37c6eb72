"""The checks before a commit are those that CI runs, and no others."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from engine import VERSION

ROOT = Path(__file__).parents[1]

HOOKS = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]
}


def commands_of_ci() -> set[tuple[str, ...]]:
    """The commands of tests/run.sh that check something before the tests, word by word."""
    script = (ROOT / "tests/run.sh").read_text(encoding="utf-8")
    within = re.search(r"^if \[ \$# -eq 0 \]; then\n(.*?)^fi$", script, re.MULTILINE | re.DOTALL)
    assert within
    return {tuple(shlex.split(line)) for line in within[1].splitlines()}


def test_the_hooks_are_the_checks_of_ci():
    hooks = {tuple(shlex.split(hook["entry"].removeprefix(".venv/bin/"))) for name, hook in HOOKS.items()
             if name != "options"}  # fmt: skip
    assert hooks == commands_of_ci()
    assert all(hook["language"] == "system" for hook in HOOKS.values())  # in the versions that CI has, not others


def test_the_hook_for_the_options_page_names_the_test_that_ci_runs():
    *_, file, option, words = shlex.split(HOOKS["options"]["entry"])
    assert option == "-k"
    found = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in found if words in name] == [
        "test_the_reference_page_in_docs_is_the_one_that_the_declarations_give"
    ]


@pytest.mark.parametrize(("hook", "file", "is_checked"), [
    ("mypy", "engine/training/train.py", True), ("mypy", "ui/page.py", True), ("mypy", "app.py", True),
    ("mypy", "tests/conftest.py", False), ("import-linter", "engine/jobs.py", True),
    ("import-linter", "pyproject.toml", True), ("options", "engine/settings/memory.py", True),
    ("options", "docs/options.md", True), ("options", "docs/architecture.md", False),
])  # fmt: skip
def test_a_hook_runs_where_its_check_may_change_its_mind(hook: str, file: str, is_checked: bool):
    assert bool(re.search(HOOKS[hook]["files"], file)) == is_checked


def test_the_changelog_has_this_version_or_what_is_to_come():
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heads[0] == "Unreleased"
    assert len(heads) == 1 or heads[1] == VERSION
