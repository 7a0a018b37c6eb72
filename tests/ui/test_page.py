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
    """About 600 KB with scripts and search index; a plain form of kohya_ss's options alone has half a megabyte.

    The bound leaves room for a handful of fields beyond today's, at 1 KB each with their help.

    In a process of its own, as a page is: Gradio numbers components through all pages of one.
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=root, capture_output=True, text=True, check=True)
    components, size = map(int, done.stdout.split())
    assert components > 300
    assert size < 530_000
