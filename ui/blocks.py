"""What the block editor (assets/blocks.js) has to know: the blocks of each family, as their lists count them."""

from __future__ import annotations

import json

from engine.settings.block_lists import OF_RATES, SECTIONS
from engine.settings.families import SWITCHES


def embedded() -> str:
    """For the page's head."""
    known = {
        "sections": {family: [dict(one) for one in several] for family, several in SECTIONS.items()},
        "switches": SWITCHES,
        "rated": OF_RATES,
    }
    return f'<script type="application/json" id="model-blocks">{json.dumps(known, separators=(",", ":"))}</script>'
