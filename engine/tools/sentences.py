"""What captioners share that write sentences: their settings, and how a model of transformers goes through a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from PIL import Image
from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.tools.captioning import CaptionerSettings, caption_folder
from engine.tools.describing import Batch, Decoding, seeded
from engine.tools.folder_work import Captioner, Outcome

Describe = Callable[[Sequence[Image.Image]], list[str]]
"""Some pictures → a caption for each, on one line."""


class SentenceSettings(CaptionerSettings):
    batch: Batch = Field(default_factory=Batch)
    decoding: Decoding = Field(default_factory=Decoding)

    def failures(self) -> Iterator[Failure]:
        if failure := self.decoding.too_short():
            yield failure
        yield from super().failures()


def describe_folder(
    settings: SentenceSettings, source: str, run: RunFolder, report: Report, load: Callable[[], Describe]
) -> Outcome:
    """source: the model, for people.  load: loads it, once there is something to do."""

    def begin() -> Captioner:
        report.stage("loading", detail=source)
        describe = load()
        seeded(settings.decoding.seed)
        return Captioner(describe, settings.batch.batch_size)

    return caption_folder(settings, run, report, begin)
