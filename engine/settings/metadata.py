"""What the saved file says about itself."""

from __future__ import annotations

from engine.settings.option import Group, option

SECTION = "Parameters/Metadata"
SOURCE = "Stability AI ModelSpec 1.0.1"


class Metadata(Group):
    metadata_title: str = option(
        "",
        label="Metadata title",
        section=SECTION,
        source=SOURCE,
        help="Title of the model; if empty, the output name.",
    )
    metadata_author: str = option("", label="Metadata author", section=SECTION, source=SOURCE, help="Who made it.")
    metadata_description: str = option(
        "", label="Metadata description", section=SECTION, source=SOURCE, help="What it is for."
    )
    metadata_license: str = option(
        "",
        label="Metadata license",
        section=SECTION,
        source=SOURCE,
        help="The terms under which others may use it.",
    )
    metadata_tags: str = option(
        "", label="Metadata tags", section=SECTION, source=SOURCE, help="Keywords, separated by commas."
    )
    no_metadata: bool = option(
        False,
        label="No metadata",
        section=SECTION,
        help="Leave out how the file was trained: folders, tags, learning rates and everything else. Only what "
        "programs need in order to use it is kept, plus the fields filled in here.",
        ours=True,
    )
