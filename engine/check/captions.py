"""Are there captions where they are looked for, and what is read of them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine.check.problem import Problem, counted, listed
from engine.data.captions import caption_file, caption_lines, is_ending, is_usual, other_endings
from engine.data.items import Item
from engine.data.training_set import described_by
from engine.failure import Failure
from engine.settings.training import TrainingSettings

OPTION = "caption_extension"
LOOK_FOR = "Look for captions that end in "


@dataclass(frozen=True)
class _Looked:
    """One picture whose caption is looked for beside it.  file: the caption.  other: the ending of one that lies there
    instead.
    """

    item: Item
    ending: str
    file: Path | None
    other: str = ""

    @property
    def picture(self) -> Path:
        return self.item.picture


def check_captions(items: list[Item], settings: TrainingSettings) -> Iterator[Problem]:
    """Captions of another ending, those that cannot be read or say nothing, and pictures to learn from without one."""
    beside = [(item, item.subset.pictures.caption_ending()) for item in items if item.caption is None]
    endings = list(dict.fromkeys(ending for _, ending in beside))
    for ending in endings:
        if not is_ending(ending):
            yield Problem(OPTION, f'"{ending}" cannot be a file extension.', "Enter .txt or .caption.")
            return
    looked = [_Looked(item, ending, caption_file(item.picture, ending)) for item, ending in beside]
    yield from _read(looked)
    others = other_endings(dict.fromkeys(one.picture for one in looked if not one.file))
    looked = [one if one.file else replace(one, other=others.get(one.picture, "")) for one in looked]
    for ending in endings:
        yield from _of_another_ending(ending, [one for one in looked if one.ending == ending], settings)
    yield from _without([one for one in looked if not one.item.is_regularisation])


def _of_another_ending(ending: str, looked: list[_Looked], settings: TrainingSettings) -> Iterator[Problem]:
    """looked: all whose captions are to end so.

    It hinders the start where nothing to learn from has its caption, unless the ending is one that no caption has, such
    as .none: so one trains on folder names on purpose.
    """
    pictures = list(dict.fromkeys(one.picture for one in looked if one.other))
    if not pictures:
        return
    theirs = Counter(one.other for one in looked if one.other).most_common()
    usual, count = theirs[0]
    learned = [one for one in looked if not one.item.is_regularisation]
    in_vain = is_usual(ending) and any(one.other for one in learned) and not any(one.file for one in learned)
    named = ", ".join(f'"{other}"' for other, _ in theirs[:3])
    told = (
        f'No caption ends in "{ending}"'
        if in_vain
        else f'{counted(len(pictures), "picture has", "pictures have")} no caption that ends in "{ending}"'
    )
    in_file = described_by(settings) == "dataset_config"
    found = sum(bool(one.file) for one in looked)
    if count <= found:
        mend = f'Rename those captions so that they end in "{ending}".'
    else:
        mend = f'Set caption_extension = "{usual}" in the dataset config.' if in_file else f"Enter {usual}."
    yield Problem(
        OPTION,
        f"{told}; next to the pictures there are captions that end in {named}: {listed(pictures)}.",
        f"{mend} To train on the folder names alone, enter .none." if in_vain else mend,
        blocking=in_vain,
        fix=f"{LOOK_FOR}{usual}" if not in_file and count > found else "",
    )


def _read(looked: list[_Looked]) -> Iterator[Problem]:
    """What is wrong with the captions that there are, each kind in one list."""
    garbled: list[Path] = []
    empty: list[Path] = []
    late: list[Path] = []
    further: list[Path] = []
    all_lines = {one.file: one.item.subset.captions.enable_wildcard for one in looked if one.file}
    for file, are_read in all_lines.items():
        try:
            first, *more = caption_lines(file)
        except (Failure, OSError):
            garbled.append(file)
            continue
        if not first and not any(more):
            empty.append(file)
        elif any(more) and not are_read:
            (further if first else late).append(file)
    if garbled:
        what = f"Captions that cannot be read: {listed(garbled)}."
        yield Problem(OPTION, what, "Save them as UTF-8 text of at most 1 MB each.")
    if empty:
        yield Problem(
            OPTION,
            f"{counted(len(empty), 'caption is', 'captions are')} empty: {listed(empty)}.",
            "Their pictures are trained without a caption. Write one, or delete the files to use the words in the "
            "folder names.",
            blocking=False,
        )
    if late:
        yield Problem(
            OPTION,
            f"{counted(len(late), 'caption begins', 'captions begin')} with an empty line, and only the first line is "
            f"read: {listed(late)}.",
            "Their pictures are trained without a caption. Remove the empty lines.",
            blocking=False,
        )
    if further:
        yield Problem(
            OPTION,
            f"{counted(len(further), 'caption has', 'captions have')} more than one line, and only the first is read: "
            f"{listed(further)}.",
            "Put each caption on one line. With Wildcards on, one of its lines is chosen each time.",
            blocking=False,
        )


def _without(learned: list[_Looked]) -> Iterator[Problem]:
    """Pictures to learn from that have no caption at all."""
    without = [one for one in learned if not one.file and not one.other]
    silent = [one.picture for one in without if not one.item.words]
    if silent:
        yield Problem(
            OPTION,
            f"{counted(len(silent), 'picture has', 'pictures have')} no caption: {listed(silent)}.",
            "They are trained with an empty caption.",
            blocking=False,
        )
    described = [one.picture for one in without if one.item.words]
    if described and any(one.file for one in learned):
        yield Problem(
            OPTION,
            f"{counted(len(described), 'picture has', 'pictures have')} no caption file, while others have one: "
            f"{listed(described)}.",
            "They use the words in their folder's name.",
            blocking=False,
        )
