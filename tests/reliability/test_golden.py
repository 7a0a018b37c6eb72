"""Five short runs cost what they cost when their figures were recorded.

The bits are compared by `python -m tests.reliability.golden`, on one machine. Here another processor's kernels may
round otherwise, by some ten-thousandths after a few steps; a mistake in the arithmetic moves the losses by far more.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reliability.golden import RUNS, figures_of

RECORDED = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_costs_what_was_recorded(name: str, tmp_path: Path):
    figures = figures_of(name, tmp_path)
    for what, values in RECORDED[name].items():
        assert figures[what] == pytest.approx(values, rel=2e-3, abs=1e-6), what
    assert figures["files"]
