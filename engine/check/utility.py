"""What is wrong with a utility's settings, by their declarations alone."""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.paths import check_path
from engine.check.problem import Checked, Problem
from engine.check.sources import check_utility_source
from engine.settings.option import Option
from engine.settings.paths import typed_path, with_whole_paths
from engine.settings.values import JobSettings


def check_utility(settings: JobSettings) -> Checked:
    """Look at what every option has to be, and then at what the utility itself has to say."""
    values = settings.values()
    problems = [
        problem
        for item in settings.options()
        if item.applies(values)
        for problem in _look_at(item, str(item.value_in(settings)))
    ]
    if not problems:
        problems = [Problem(f.option, f.what, f.mend) for f in with_whole_paths(settings).failures()]
    if not problems:
        applying = [item for item in settings.options() if item.applies(values)]
        problems = [p for item in applying for p in check_utility_source(item, str(item.value_in(settings)).strip())]
    return Checked(problems, None)


def _look_at(item: Option, text: str) -> Iterator[Problem]:
    if item.must_be and not text.strip():
        yield Problem(item.name, f"{item.short_label} is empty.", _wanted(item))
    elif unusable := list(check_path(item, text)):
        yield from unusable
    elif item.must_be == "folder" and not typed_path(text).is_dir():
        yield Problem(item.name, f"There is no folder {typed_path(text)}.", "Correct the path.")
    elif item.must_be == "file" and not typed_path(text).is_file():
        yield Problem(item.name, f"There is no file {typed_path(text)}.", "Correct the path.")


def _wanted(item: Option) -> str:
    return {"folder": "Enter the folder's path.", "file": "Enter the file's path."}.get(item.must_be, "Fill it in.")
