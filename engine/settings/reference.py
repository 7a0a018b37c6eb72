"""The reference page of all options, derived from their declarations (docs/options.md)."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from engine.settings.form_plan import headed
from engine.settings.option import Option, sections_of
from engine.settings.training import training_options

INTRODUCTION = """# Options

Every option of a training run, in the order and under the labels of the page, with the name it has in files and
on the command line. This page is generated: `python -m engine options > docs/options.md`.

The last column says what an option does in this version: it **acts**, with the test that shows it; it is
**covered by** something else that does the same; it has **no effect here**; or it is **not supported yet**.
Whichever it is, its value is kept and saved again.
"""


UTILITIES = """# Utilities

Each is a tab under Utilities, and a command with the same options: `python -m engine NAME --help`."""

TESTS = Path(__file__).parents[2] / "tests"


def reference_page(utilities: Mapping[str, Sequence[Option]]) -> str:
    """The page as Markdown, one table a section; then one for each utility, whose options are given by its name."""
    options = training_options()
    shown_by = shown_by_tests(TESTS)
    lines = [INTRODUCTION, _counts(options), ""]
    for section in sections_of(options):
        lines += [f"## {section}", ""]
        for heading, block in headed(section, options):
            lines += [f"### {heading}", ""] if heading else []
            lines += _table(block, shown_by)
    lines += [UTILITIES, ""]
    for name, items in utilities.items():
        shown_here = {item.name: test for item in items for test in _showing(f"{name}.{item.name}", shown_by)}
        lines += [f"## {name}", "", *_table(items, shown_here)]
    return "\n".join(lines)


def _showing(name: str, shown_by: Mapping[str, str]) -> list[str]:
    """The tests of a utility's option, such as "caption-git.prefix": one may be for several, "caption-*.prefix"."""
    return [test for shown, test in shown_by.items() if fnmatchcase(name, shown)]


def _table(items: Sequence[Option], shown_by: Mapping[str, str]) -> list[str]:
    return [
        "| label | name | default | allowed | what it does | standing |",
        "|---|---|---|---|---|---|",
        *(_row(item, shown_by.get(item.name, "")) for item in items),
        "",
    ]


def _counts(options: tuple[Option, ...]) -> str:
    kinds = [item.standing.kind for item in options]
    return (
        f"Of {len(kinds)} options, {kinds.count('acts')} act, {kinds.count('maps')} are covered by others, "
        f"{kinds.count('idle')} have no effect here, and {kinds.count('later')} are not supported yet."
    )


def shown_by_tests(folder: Path) -> dict[str, str]:
    """The test that shows an option's effect, by the option's name: those marked with pytest.mark.shows."""
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found |= {option: node.name for mark in node.decorator_list for option in _options_shown(mark)}
    return found


def _options_shown(mark: ast.expr) -> list[str]:
    if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.shows":
        return []
    return [str(ast.literal_eval(argument)) for argument in mark.args]


def _row(item: Option, shown_by: str) -> str:
    name = f"`{item.name}`" + (f" (kohya: `{item.kohya.key}`)" if item.kohya.key != item.name else "")
    default = "" if item.default == "" else f"`{item.default}`"
    source = f" *{item.source}*" if item.source else ""
    cells = [item.label, name, default, item.range_text(), item.help + source, _standing(item, shown_by)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _standing(item: Option, shown_by: str) -> str:
    reasons = dict.fromkeys(item.not_yet.values())
    waiting = [
        f"not supported yet ({reason}): {', '.join(choice for choice, why in item.not_yet.items() if why == reason)}"
        for reason in reasons
    ]
    test = f" (`{shown_by}`)" if shown_by else ""
    return "; ".join([item.standing.text() + test, *waiting])
