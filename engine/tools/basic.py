"""Basic captioning: one text for every picture, prefix and postfix, find and replace."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.tools.captioning import Captioner, CaptionerSettings, Outcome, caption_folder

TEXT = "Text"


class Text(Group):
    caption_text: str = option(
        "",
        label="Caption text",
        section=TEXT,
        help="The caption of every picture; empty to leave the captions that there are, and change them.",
    )
    find_text: str = option(
        "", label="Find text", section=TEXT, help="What to look for in captions, letter by letter, at the last."
    )
    replace_text: str = option(
        "", label="Replacement text", section=TEXT, help="What to put in its place; empty to take it away."
    )

    def changed(self, caption: str) -> str:
        """A caption with what was found replaced, without blanks around it."""
        return (caption.replace(self.find_text, self.replace_text) if self.find_text else caption).strip()


class Settings(CaptionerSettings):
    words: Text = Field(default_factory=Text)

    def failures(self) -> Iterator[Failure]:
        new = self.words.caption_text.strip() or self.text.prefix.strip() or self.text.postfix.strip()
        if not new and not self.words.find_text:
            yield Failure("There is nothing to write and nothing to find.", "Fill in Caption text.", "caption_text")
        elif not self.text.overwrite and not new:
            yield Failure(
                "Captions are only searched where they may be written again.",
                "Turn on Overwrite existing captions in folder.",
                "overwrite",
            )
        yield from super().failures()


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Go through the captions of a folder.  kohya_ss's order: the text, then prefix and postfix, then replacing."""
    words = settings.words

    def written(before: str | None, said: str) -> str:
        return words.changed(settings.text.around(said or before or ""))

    def load() -> Captioner:
        return Captioner(lambda files: [words.caption_text.strip()] * len(files), decode=lambda file: file)

    return caption_folder(settings, run, report, load, written)
