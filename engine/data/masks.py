"""Finds the masks that say which part of a picture is learned.  Needs no torch."""

from __future__ import annotations

from pathlib import Path

from engine.data.folders import PICTURE_ENDINGS


class Masks:
    """folder: of mask pictures, named like the training pictures, in sub-folders named like theirs or all in one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, dict[str, Path]] = {}

    def of(self, picture: Path) -> Path | None:
        """The mask of a picture: preferably with the same extension."""
        for place in (self._folder / picture.parent.name, self._folder):
            found = self._in(place)
            mask = found.get(picture.name) or found.get(picture.stem)
            if mask:
                return mask
        return None

    def _in(self, folder: Path) -> dict[str, Path]:
        """Masks by name with and without extension; a folder is listed once."""
        if folder not in self._listed:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            pictures = [file for file in files if file.name.lower().endswith(PICTURE_ENDINGS)]
            self._listed[folder] = {file.stem: file for file in pictures} | {file.name: file for file in pictures}
        return self._listed[folder]
