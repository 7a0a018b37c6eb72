"""What is wrong with a utility's settings, by their declarations alone."""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Checked, Problem
from engine.settings.option import Option
from engine.settings.paths import typed_path, why_unusable, with_whole_paths
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
    return Checked(problems, None)


def _look_at(item: Option, text: str) -> Iterator[Problem]:
    if item.must_be and not text.strip():
        yield Problem(item.name, f"{item.short_label} is empty.", _wanted(item))
    elif item.widget not in ("path", "folder", "file"):
        return
    elif why := why_unusable(text):
        yield Problem(item.name, f"{item.short_label} {why}.", "Correct the path.")
    elif item.must_be == "folder" and not typed_path(text).is_dir():
        yield Problem(item.name, f"There is no folder {typed_path(text)}.", "Correct the path.")
    elif item.must_be == "file" and not typed_path(text).is_file():
        yield Problem(item.name, f"There is no file {typed_path(text)}.", "Correct the path.")


def _wanted(item: Option) -> str:
    return {"folder": "Give the folder's path.", "file": "Give the file's path."}.get(item.must_be, "Fill it in.")
