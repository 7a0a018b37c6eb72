"""What the saved file says about itself."""

from __future__ import annotations

from engine.settings.option import Group, option

SECTION = "Parameters/Metadata"
SOURCE = "Stability AI ModelSpec 1.0.1"


class Metadata(Group):
    metadata_title: str = option(
        "", label="Metadata title", section=SECTION, source=SOURCE, help="Title; empty for the output name."
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
        help="Under which terms others may use it.",
    )
    metadata_tags: str = option(
        "", label="Metadata tags", section=SECTION, source=SOURCE, help="Words to find it by, with commas."
    )
    no_metadata: bool = option(
        False,
        label="No metadata",
        section=SECTION,
        help="Leave out of the file how it was trained: folders, tags, rates and all else. Only what programs need to "
        "use it stays, and what stands in the fields here.",
        ours=True,
    )
