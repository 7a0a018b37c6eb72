"""Captions that are encoded once and cached in files, so that the next run does not need its text encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from engine.data.caption_files import CaptionFiles, CaptionFormat
from engine.data.captions import only_wordings, vary
from engine.disk import remove_leftovers, why_not
from engine.failure import Failure
from engine.models.conditioning import Conditioning
from engine.models.fingerprint import fingerprint
from engine.settings.captions import Captions
from engine.settings.families import KEPT_CAPTIONS
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.hardware import of_first_process


class KeptCaptions:
    """By the pictures' indices.  captions: as the model reads them.  lacking: those whose captions are to be encoded.

    drops: whether captions are sometimes dropped, so that the empty one is needed too, which has no file.

    A caption whose file belongs to another one, as when two pictures share a name, is kept in memory.

    accelerator: of a run of several processes, which share what is to be encoded.
    """

    def __init__(
        self,
        encoder: CaptionEncoder,
        form: CaptionFormat,
        settings: TrainingSettings,
        *,
        pictures: Sequence[Path],
        captions: Sequence[str],
        variations: Sequence[Captions],
        accelerator: Accelerator | None = None,
    ) -> None:
        self._encoder, self._pictures, self._accelerator = encoder, pictures, accelerator
        self.captions = only_wordings(captions, variations)
        reading = encoder.reading
        encoders = f"{fingerprint(encoder.parts.text_encoders)} {reading.clip_skip} {reading.tokens} {form.before}"
        encoders += settings.memory.encoder_format() or ""
        encoders += f" revision {form.revision}" if form.revision else ""
        self._files = CaptionFiles(form, encoders, settings.dataset.caption_ending())
        self._in_memory: dict[int, Conditioning] = {}
        for folder in {picture.parent for picture in pictures}:
            remove_leftovers(folder)
        self.lacking = self._of_all([index for index in range(len(pictures)) if not self._has(index)])
        self.foreign = len(self._files.foreign)
        self.drops = any(each.caption_dropout_rate or each.caption_dropout_every_n_epochs for each in variations)

    @property
    def needs_encoders(self) -> bool:
        return bool(self.lacking) or self.drops

    def encode(self, progress: CaptionProgress) -> None:
        """Encode and cache what is missing; if the user stops it, what is cached stays.  Raises Failure, Stopped.

        Each of several processes does a part, and all of them whatever is still missing after that.
        """
        if self._accelerator and self._accelerator.num_processes > 1:
            self._encode(progress, self._accelerator.process_index, self._accelerator.num_processes)
            self._accelerator.wait_for_everyone()
            self.lacking = [index for index in self.lacking if index not in self._in_memory and not self._has(index)]
        self._encode(progress)
        progress.check()

    def keep(self, index: int, encoded: Conditioning) -> None:
        """encoded: of this caption alone, on the CPU.  Raises Failure."""
        picture, caption = self._pictures[index], self.captions[index]
        if not self._files.owns(picture, caption):
            self._in_memory[index] = encoded
            return
        try:
            arrays = self._encoder.family.caption_to_file(self._encoder.parts, caption, encoded)
            self._files.write(picture, caption, arrays)
        except OSError as error:
            raise Failure(
                f"The encoded caption of {picture} cannot be saved next to it: {why_not(error)}.",
                "Free up some space, allow writing there, or turn off Cache Text Encoder Outputs to Disk.",
            ) from error

    def get(self, index: int) -> Conditioning:
        """Conditioning of one caption, on the CPU; thread-safe.  Raises Failure if its file is gone."""
        if index in self._in_memory:
            return self._in_memory[index]
        picture = self._pictures[index]
        try:
            arrays = self._files.read(picture, self.captions[index])
        except (OSError, ValueError) as error:
            raise Failure(
                f"The encoded caption of {picture} can no longer be read: {error}.", "Press Resume to encode it again."
            ) from error
        return self._encoder.family.caption_from_file({name: torch.from_numpy(array) for name, array in arrays.items()})

    def _encode(self, progress: CaptionProgress, rank: int = 0, processes: int = 1) -> None:
        """Each distinct caption once, however many pictures have it."""
        of_caption: dict[str, list[int]] = {}
        for index in self.lacking:
            of_caption.setdefault(self.captions[index], []).append(index)
        for some in progress.portions(list(of_caption)[rank::processes]):
            for caption, encoded in zip(some, self._encoder.encode_each(some), strict=True):
                for index in of_caption[caption]:
                    self.keep(index, encoded)

    def _of_all(self, lacking: list[int]) -> list[int]:
        """The first process's list, because one may have written files before another looks."""
        return of_first_process(lacking) if self._accelerator and self._accelerator.num_processes > 1 else lacking

    def _has(self, index: int) -> bool:
        picture, caption = self._pictures[index], self.captions[index]
        return self._files.owns(picture, caption) and self._files.fits(picture, caption)


def kept_captions(
    encoder: CaptionEncoder,
    settings: TrainingSettings,
    *,
    pictures: Sequence[Path],
    captions: Sequence[str],
    variations: Sequence[Captions],
    warn: Callable[[str], None],
    accelerator: Accelerator | None = None,
) -> KeptCaptions | None:
    """None if captions are not to be cached in files, or cannot be, which is reported."""
    option = KEPT_CAPTIONS.get(settings.families.said())
    form = encoder.family.caption_format(encoder.parts)
    if not option or not settings.values()[option]:
        return None
    if not form:
        warn(f"Captions are not cached in files: there is no file format for those of {encoder.family.name}.")
    elif encoder.learns:
        warn("Captions are not cached in files, because a text encoder is trained.")
    elif vary(captions, variations):
        warn("Captions are not cached in files, because their wording varies during the run.")
    else:
        return KeptCaptions(
            encoder,
            form,
            settings,
            pictures=pictures,
            captions=captions,
            variations=variations,
            accelerator=accelerator,
        )
    return None
