"""What is kept for good is no work for the garbage collector any more."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from engine.garbage import kept_for_good


def looked_through(thing: object) -> bool:
    return any(each is thing for each in gc.get_objects())


def test_what_is_imported_within_is_not_looked_through_and_what_comes_later_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "large_library.py").write_text("class Thing: pass\nthing = Thing()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "large_library", raising=False)
    with kept_for_good():
        library = importlib.import_module("large_library")
        assert not gc.isenabled()
    later = library.Thing()
    assert gc.isenabled()
    assert not looked_through(library.thing)
    assert looked_through(later)


def test_nothing_is_kept_where_nothing_is_new():
    with kept_for_good():
        made = [[]]
    assert looked_through(made)


def test_the_collector_goes_on_where_an_import_fails():
    with pytest.raises(ImportError), kept_for_good():
        raise ImportError
    assert gc.isenabled()


def test_the_outermost_block_decides():
    with kept_for_good():
        with kept_for_good():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_family_comes_without_being_looked_through():
    work = (
        "import gc; from engine.settings.training import TrainingSettings; from engine.demo.demo import MODEL_FOLDER\n"
        "from engine.models.families import family_of\n"
        "values = {'pretrained_model_name_or_path': str(MODEL_FOLDER)}\n"
        "family_of(TrainingSettings().with_values(values))\n"
        "print(gc.get_freeze_count() > len(gc.get_objects()))"
    )
    assert (
        subprocess.run([sys.executable, "-c", work], stdout=subprocess.PIPE, text=True, check=True).stdout == "True\n"
    )
