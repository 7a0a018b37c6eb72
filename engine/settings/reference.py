"""The reference page of all options, derived from their declarations (docs/options.md)."""

from __future__ import annotations

from engine.settings.option import Option, sections_of
from engine.settings.training import training_options

INTRODUCTION = """# Options

Every option of a training run, as the page shows them and as files and the command line name them.
This page is made from the declarations: `python -m engine options > docs/options.md`.

The last column says what an option does in this version: **acts**; **maps**, where something else says
the same; **has no meaning here**; or **waits** for something that is not there yet. The value of every
option is kept, whatever its standing, and saved again.
"""


def reference_page() -> str:
    """The page as Markdown, one table a section."""
    options = training_options()
    lines = [INTRODUCTION, _counts(options), ""]
    for section in sections_of(options):
        lines += [
            f"## {section}",
            "",
            "| label | name | default | allowed | what it does | standing |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(item) for item in options if item.section == section]
        lines.append("")
    return "\n".join(lines)


def _counts(options: tuple[Option, ...]) -> str:
    kinds = [item.standing.kind for item in options]
    return (
        f"Of {len(kinds)} options {kinds.count('acts')} act, {kinds.count('maps')} map, "
        f"{kinds.count('idle')} have no meaning here, and {kinds.count('later')} wait."
    )


def _row(item: Option) -> str:
    name = f"`{item.name}`" + (f" (kohya: `{item.kohya}`)" if item.kohya != item.name else "")
    default = "" if item.default == "" else f"`{item.default}`"
    source = f" *{item.source}*" if item.source else ""
    cells = [item.label, name, default, item.range_text(), item.help + source, _standing(item)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _standing(item: Option) -> str:
    reasons = dict.fromkeys(item.not_yet.values())
    waiting = [
        f"{', '.join(choice for choice, why in item.not_yet.items() if why == reason)} wait for {reason}"
        for reason in reasons
    ]
    return "; ".join([item.standing.text(), *waiting])
