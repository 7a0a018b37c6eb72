"""What every browser loads first."""

from __future__ import annotations

import json

from ui.page import build


def test_the_page_is_small_whatever_it_holds():
    """Under 600 KB with its search index; a plain form of kohya_ss's options alone has half a megabyte."""
    config = build().config
    assert len(config["components"]) > 300
    assert len(json.dumps(config, default=str)) < 520_000
