"""Basic captioning: one text for every picture, prefix and postfix, find and replace."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.tools.captioning import CaptionerSettings, caption_folder
from engine.tools.folder_work import Captioner, Outcome

TEXT = "Text"


class Text(Group):
    caption_text: str = option(
        "",
        label="Caption text",
        section=TEXT,
        help="The caption for every picture. Leave empty to edit the existing captions instead.",
    )
    find_text: str = option(
        "", label="Find text", section=TEXT, help="Text to find in the captions, matched exactly; applied last."
    )
    replace_text: str = option(
        "", label="Replacement text", section=TEXT, help="Text to replace it with. Leave empty to delete it."
    )

    def changed(self, caption: str) -> str:
        """A caption with what was found replaced, without blanks around it."""
        return (caption.replace(self.find_text, self.replace_text) if self.find_text else caption).strip()


class Settings(CaptionerSettings):
    words: Text = Field(default_factory=Text)

    def failures(self) -> Iterator[Failure]:
        new = self.words.caption_text.strip() or self.text.prefix.strip() or self.text.postfix.strip()
        if not new and not self.words.find_text:
            yield Failure("There is no caption to write and no text to find.", "Fill in Caption text.", "caption_text")
        elif not self.text.overwrite and not new:
            yield Failure(
                "Find and replace only works if existing captions may be overwritten.",
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
