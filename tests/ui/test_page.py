"""What every browser loads first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MEASURE = """
import json
from ui.page import build
config = build().config
print(len(config["components"]), len(json.dumps(config, default=str)))
"""


def test_the_page_is_small_whatever_it_holds():
    """With scripts and search index it comes to some 650 KB. Each component costs all others time at each event, so
    a form is one; the bounds leave room for a handful of buttons, and of fields at 700 bytes each with their help.

    In a process of its own, as a page is: Gradio numbers components through all pages of one.
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=root, capture_output=True, text=True, check=True)
    components, size = map(int, done.stdout.split())
    assert 100 < components < 300
    assert size < 455_000
