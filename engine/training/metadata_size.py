"""Keeps a file's metadata short: a safetensors header has a size limit, and programs that list such files read all of
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

MOST = 10_000_000
"""Bytes of metadata.  safetensors itself limits the header, which also lists the tensors, to 100,000,000; above that
nothing could be saved or read."""

FIRST_TO_GO = (
    "ss_tag_frequency", "ss_datasets", "ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_bucket_info",
)  # fmt: skip
"""Removed first: what grows with the pictures, least important first, if it is long; then whatever is longest."""


def length(text: str) -> int:
    """Bytes in the file, where the text is JSON."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))


def within(metadata: Mapping[str, str], most: int = MOST) -> tuple[dict[str, str], list[str]]:
    """The metadata without what exceeds the limit, and the names of what was removed."""
    sizes = {key: length(key) + length(text) + 2 for key, text in metadata.items()}
    total, left_out = sum(sizes.values()), []
    for key in _in_order(sizes, most):
        if total <= most:
            break
        total -= sizes[key]
        left_out.append(key)
    return {key: text for key, text in metadata.items() if key not in left_out}, left_out


def _in_order(sizes: Mapping[str, int], most: int) -> list[str]:
    first = [key for key in FIRST_TO_GO if sizes.get(key, 0) > most / 100]
    return first + sorted((key for key in sizes if key not in first), key=lambda key: -sizes[key])


def sentence(left_out: list[str]) -> str:
    return (
        f"The file's metadata would be longer than {MOST // 1_000_000} MB, which other programs read slowly or not at "
        f"all, so it leaves out {', '.join(left_out)}. The weights are complete."
    )
