"""What is kept for good is no work for the garbage collector any more."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from engine.garbage import kept_for_good


class Thing:
    pass


def looked_through(thing: Thing) -> bool:
    return any(each is thing for each in gc.get_objects())


def test_what_is_made_within_is_not_looked_through_and_what_comes_later_is() -> None:
    with kept_for_good():
        imported = Thing()
        assert not gc.isenabled()
    later = Thing()
    assert gc.isenabled()
    assert not looked_through(imported)
    assert looked_through(later)


def test_the_collector_goes_on_where_an_import_fails() -> None:
    with pytest.raises(ImportError), kept_for_good():
        raise ImportError
    assert gc.isenabled()


def test_the_outermost_block_decides() -> None:
    with kept_for_good():
        with kept_for_good():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_family_comes_without_being_looked_through() -> None:
    code = (
        "import gc; from engine.settings.training import TrainingSettings; from engine.demo.demo import MODEL_FOLDER;"
        "from engine.models.families import family_of;"
        "values = {'pretrained_model_name_or_path': str(MODEL_FOLDER)};"
        "family_of(TrainingSettings().with_values(values));"
        "print(gc.get_freeze_count() > len(gc.get_objects()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
