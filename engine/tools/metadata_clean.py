"""Captions and tags of a metadata file cleaned, with the results of sd-scripts' finetune/clean_captions_and_tags.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.settings.values import JobSettings
from engine.tools import metadata_file
from engine.tools.folder_work import Outcome, counted

HAIR_LENGTH = re.compile(r"(long|short|medium) hair")
HAIR = re.compile(r"[\w\-]+ hair")

CONTRADICTING = (
    HAIR_LENGTH,
    re.compile(r"(bob|hime) cut"),
    re.compile(r"[\w\-]+ eyes"),
    re.compile(r"[\w\-]+ sleeves|sleeveless"),
    re.compile(r"ponytail|braid|ahoge|twintails|two side up|two tails|sidelocks|[\w\-]+ bun|single (hair|side) bun"
               r"|[\w\-]+ braid"),
)  # fmt: skip
"""Where several people are in a picture, several tags of a kind do not say whose they are."""

ONE_WORD = re.compile(r"[\w\-]+|hair ornament")

SAID_PLAINLY = {
    "anime anime": "anime", "young ": "", "anime girl": "girl", "cartoon female": "girl", "cartoon lady": "girl",
    "cartoon character": "girl", "cartoon woman": "girl", "cartoon women": "girls", "cartoon girl": "girl",
    "anime female": "girl", "anime lady": "girl", "anime character": "girl", "anime woman": "girl",
    "anime women": "girls", "lady": "girl", "female": "girl", "woman": "girl", "women": "girls", "people": "girls",
    "person": "girl", "a cartoon figure": "a figure", "a cartoon image": "an image",
    "a cartoon picture": "a picture", "an anime cartoon image": "an image",
    "a cartoon anime drawing": "a drawing", "a cartoon drawing": "a drawing", "girl girl": "girl",
}  # fmt: skip
"""What captioners say of drawn people, and what sd-scripts puts in its place, in this order."""


class Cleaning(Group):
    in_json: str = option(
        "",
        label="Metadata file to clean",
        section="Metadata",
        widget="file",
        must_be="file",
        help="A JSON file of captions and tags, as Merge writes it.",
    )
    out_json: str = option(
        "",
        label="Metadata file to write",
        section="Metadata",
        widget="file",
        must_be="given",
        help="May be the same file; the old version is kept as a .bak file.",
    )


class Settings(JobSettings):
    cleaning: Cleaning = Field(default_factory=Cleaning)

    def title(self) -> str:
        return f"clean-{Path(self.cleaning.in_json).stem}"

    def failures(self) -> Iterator[Failure]:
        try:
            metadata_file.read(Path(self.cleaning.in_json), "in_json")
        except Failure as failure:
            yield failure


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Clean every entry; nothing is written before all were."""
    metadata = metadata_file.read(Path(settings.cleaning.in_json), "in_json")
    control = run.control()
    changed = 0
    for number, (key, entry) in enumerate(metadata.items(), start=1):
        if "stop" in control.take():
            report.result("Stopped. The metadata file was not changed.")
            return "stopped", 0
        before = dict(entry)
        for kind, clean in (("tags", clean_tags), ("caption", clean_caption)):
            if isinstance(entry.get(kind), str):
                entry[kind] = clean(entry[kind])
        if not entry.keys() & {"tags", "caption"}:
            report.left_out(Path(key), "has neither tags nor a caption")
        changed += entry != before
        report.progress(number, len(metadata), "entries")
    metadata_file.write(Path(settings.cleaning.out_json), metadata, "out_json")
    report.result(f"{changed} of {counted(len(metadata), 'entry', 'entries')} changed.")
    return "done", changed


def clean_tags(text: str) -> str:
    """Tags with blanks for underscores, without ratings, contradictions among several people, and repetition."""
    tags = text.replace("^_^", "^\0^").replace("_", " ").replace("^\0^", "^_^").partition(", rating")[0].split(", ")
    if any("girls" in tag or "boys" in tag for tag in tags):
        for kind in CONTRADICTING:
            tags = _without_several(tags, [tag for tag in tags if kind.fullmatch(tag)])
        colours = [tag for tag in tags if HAIR.fullmatch(tag) and not HAIR_LENGTH.fullmatch(tag)]
        tags = _without_several(tags, colours)
    # "shirt" says nothing beside "white shirt".
    said = [tag for tag in tags if ONE_WORD.fullmatch(tag)]
    more = {tag for tag in said if any(re.fullmatch(rf"(\w+ )+{re.escape(tag)}", other) for other in tags)}
    return ", ".join(tag for tag in tags if tag not in more)


def _without_several(tags: list[str], found: list[str]) -> list[str]:
    return [tag for tag in tags if tag not in found] if len(found) > 1 else tags


def clean_caption(text: str) -> str:
    """A caption in the words of SAID_PLAINLY, each put in as often as it can be."""
    for words, plain in SAID_PLAINLY.items():
        while words in text:
            text = text.replace(words, plain)
    return text
