"""The reference page of all options, derived from their declarations (docs/options.md)."""

from __future__ import annotations

from engine.settings.option import Option
from engine.settings.training import training_options

INTRODUCTION = """# Options

Every option of a training run, as the page shows them and as files and the command line name them.
This page is made from the declarations: `python -m engine options > docs/options.md`.
"""


def reference_page() -> str:
    """The page as Markdown, one table a section."""
    lines = [INTRODUCTION]
    for section in dict.fromkeys(item.section for item in training_options()):
        lines += [
            f"## {section}",
            "",
            "| label | name | default | allowed | what it does |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(item) for item in training_options() if item.section == section]
        lines.append("")
    return "\n".join(lines)


def _row(item: Option) -> str:
    name = f"`{item.name}`" + (f" (kohya: `{item.kohya}`)" if item.kohya != item.name else "")
    default = "" if item.default == "" else f"`{item.default}`"
    source = f" *{item.source}*" if item.source else ""
    cells = [item.label, name, default, item.range_text(), item.help + source]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
