"""Inputs that cost everything: each is bounded before it is parsed, and said in one sentence."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import reading
from engine.check.check import check
from engine.data.batches import Batches
from engine.data.captions import LONGEST_CAPTION, caption_of
from engine.data.dataset_config import read_dataset_config
from engine.data.items import Item, Subset, balanced
from engine.data.metadata_list import listed_items
from engine.data.survey import survey
from engine.data.training_set import MOST_SHOWN, training_set
from engine.failure import Failure
from engine.reading import NoRegularFile, TooLarge, opened, parse_json, small_bytes, small_json
from engine.runs.saved_state import saved_progress
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, read_settings
from engine.settings.toml_files import LARGEST_TOML, looks_like_toml, parse_toml
from engine.settings.training import TrainingSettings
from engine.tools import metadata_file
from engine.tools.caption_files import CaptionWriter, keep, read_caption
from engine.tools.taggers import read_mapping, read_tags
from tests.pictures import draw_pictures

PROGRAM = Path(__file__).parents[1]
SOON = 10.0
"""Seconds on a machine with much else to do; what is bounded takes a fraction of one."""


def swollen(file: Path, size: int) -> Path:
    """A file of that size, without the room that it would take."""
    file.touch()
    os.truncate(file, size)
    return file


def said(ask: Callable[[], Any]) -> str:
    """The sentence with which it is refused, soon."""
    begun = time.monotonic()
    with pytest.raises((Failure, SettingsFileError, OSError, ValueError)) as refused:
        ask()
    assert time.monotonic() - begun < SOON
    what = refused.value.what if isinstance(refused.value, Failure) else str(refused.value)
    assert "\n" not in what
    assert len(what) < 300
    return what


# ── whatever file ─────────────────────────────────────────────────────────────────────────────────


READERS: dict[str, Callable[[Path], Any]] = {
    "settings": read_settings,
    "caption of a run": lambda file: caption_of(file.with_suffix(".png"), file.suffix, ""),
    "caption of a utility": read_caption,
    "kept caption": keep,
    "dataset config": lambda file: read_dataset_config(file, TrainingSettings()),
    "list of pictures": lambda file: listed_items(file, None, 1, Subset()),
    "metadata file": lambda file: metadata_file.read(file, "in_json"),
    "list of tags": read_tags,
    "numbered tags": read_mapping,
    "bytes": lambda file: small_bytes(file, 100),
    "JSON": lambda file: small_json(file, 100),
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_takes_a_file_that_is_larger_than_the_memory(name: str, tmp_path: Path) -> None:
    assert said(lambda: READERS[name](swollen(tmp_path / "a.txt", 3 * 2**30)))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("to", ["/dev/zero", "a pipe", "itself"])
def test_no_reader_waits_for_what_has_no_end(name: str, to: str, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    if to == "a pipe":
        os.mkfifo(tmp_path / "pipe")
        file.symlink_to(tmp_path / "pipe")
    else:
        file.symlink_to(file if to == "itself" else to)
    if name == "caption of a run":  # what is no file beside a picture is no caption of it
        assert READERS[name](file) == ""
    else:
        assert said(lambda: READERS[name](file))


def test_each_kind_of_file_is_told_from_the_others(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="it is 3 MB, and at most 1 KB can be read"):
        opened(swollen(tmp_path / "large", 3 * 2**20), 1024)
    with pytest.raises(NoRegularFile, match="it is a device or a pipe, not a file"):
        opened(Path("/dev/zero"))
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        opened(tmp_path)
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "gone")
    (tmp_path / "small").write_bytes(b"abc")
    assert small_bytes(tmp_path / "small", 3) == b"abc"


@pytest.mark.parametrize("one", [b"[],", b"0,", b"{},", b'"",'])
def test_values_are_counted_before_they_are_made(one: bytes) -> None:
    with pytest.raises(ValueError, match="it contains more than 1,000,000 values"):
        parse_json(b"[" + one * 2_000_000 + b"0]")


def test_what_stands_in_texts_is_not_counted() -> None:
    """Captions have as many commas as they have tags."""
    whole = {"a": '1girl, {a|b}, [c], \\", ' * 100_000, "b": ["x"] * 10}
    assert parse_json(json.dumps(whole).encode()) == whole


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000, b"\xff", b"{", b""])
def test_json_that_cannot_be_read_is_an_error_of_values(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(data)


def test_files_that_people_name_are_opened_by_the_bounded_reader() -> None:
    """By the program's text: whatever else opens a file is listed here, with the reason."""
    own = {
        "engine/check/signatures.py": "the libraries' own source",
        "engine/data/structure.py": "a picture, after opening.py had it",
        "engine/demo/make_model.py": "the script that made the built-in model",
        "engine/disk.py": "what is being written",
        "engine/install.py": "the program's own",
        "engine/models/noise_schedule.py": "the program's own configurations",
        "engine/models/classic.py": "what the run has just written",
        "engine/models/mapped.py": "a checkpoint, after pickled.py had it",
        "engine/runs/events.py": "the run's own, to write",
        "engine/runs/folder.py": "the run's own, to write",
        "engine/runs/process.py": "the run's own, to write",
        "engine/settings/reference.py": "the program's own",
        "engine/tools/caption_files.py": "the run's own notes",
        "engine/tools/compare_copies.py": "the run's own",
        "engine/tools/scoring.py": "the run's own notes",
        "engine/training/metadata.py": "what the run has just written",
        "engine/reading.py": "the bounded reader",
        "ui/access.py": "a password, of which a kilobyte is read, and which a shell may hand over through a pipe",
        "ui/page.py": "the program's own",
    }
    found = set()
    for file in sorted([*PROGRAM.glob("engine/**/*.py"), *PROGRAM.glob("ui/**/*.py"), PROGRAM / "app.py"]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            whose, _, name = ast.unparse(called).rpartition(".") if called else ("", "", "")
            is_opened = name == "open" and whose not in ("Image", "archive", "self._zip", "os", "webbrowser")
            if is_opened or (name in ("read_text", "read_bytes") and whose):
                found.add(file.relative_to(PROGRAM).as_posix())
    assert found - set(own) == set()
    assert set(own) - found == set()


# ── settings ──────────────────────────────────────────────────────────────────────────────────────

DOTTED = {
    "bare": "a" + ".a" * 40_000 + " = 1",
    "in quotes": '"a"' + '."a"' * 20_000 + " = 1",
    "in quotes with escapes": '"\\""' + '."\\""' * 15_000 + " = 1",
    "in plain quotes": "'a'" + ".'a'" * 20_000 + " = 1",
    "a section": "[a" + ".a" * 40_000 + "]\nb = 1",
    "a list's section": "[[a" + ".a" * 40_000 + "]]\nb = 1",
    "within braces": "a = {b" + ".b" * 40_000 + " = 1}",
    "with blanks": "a" + " . a" * 20_000 + " = 1",
    "many": "\n".join(f"a{n}" + ".a" * 200 + " = 1" for n in range(200)),
}


@pytest.mark.parametrize("name", DOTTED)
def test_dotted_keys_are_counted_before_they_are_read(name: str, tmp_path: Path) -> None:
    """80 KB of them took 25 s and 6 GB."""
    assert "a key in it has more than 4 parts" in said(lambda: parse_toml(DOTTED[name]))
    (tmp_path / "a.toml").write_text(DOTTED[name])
    assert "a key in it has more than 4 parts" in said(lambda: read_settings(tmp_path / "a.toml"))
    if looks_like_toml(DOTTED[name]):
        assert "a key in it has more than 4 parts" in said(lambda: parse_settings(DOTTED[name]))
    assert "more than 4 parts" in said(lambda: read_dataset_config(tmp_path / "a.toml", TrainingSettings()))


@pytest.mark.parametrize(
    "text",
    [
        "[darkroom.kept]\na = 1",
        'prompt = "one. two. three. four. five. six. seven"',
        'model = "C:/a.b.c/d.e/v1.0.safetensors"',
        "prompt = 'cat. dog. tree. sky. sun. moon. x.y.z.a.b.c.d'",
        'prompt = """a.b.c.d.e.f\n"a.b.c.d.e.f" \\"""a.b.c.d.e.f"""',
        "prompt = '''\na.b.c.d.e.f ' '' a.b.c.d.e.f'''",
        "a = 1 # cat. dog. tree. sky. sun. a.b.c.d.e.f",
        'prompt = "a \\" a.b.c.d.e.f"',
        "lr = 1.5\nname = 'x.y.z'",
        '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"',
    ],
)
def test_what_settings_have_is_read(text: str) -> None:
    assert parse_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 3_000_000, '{"a":' * 100_000, "[[a]]\n" * 500_000, "a = [" + "[" * 100_000, "a = " + "{b = " * 5000,
        "k = 1\n" * 800_000, "--x " * 1_100_000, "a=" + "1" * 100_000, 'a="' + "x" * 5_000_000, "\\" * 300_000,
        '"' * 300_000, "a " * 2_000_000, "python train_network.py " + "--a=1 " * 40_000, "%a%" * 80_000,
    ],
    ids=["braces", "objects", "tables", "lists", "inline", "lines", "arguments", "digits", "text", "backslashes",
         "quotes", "words", "command", "variables"],
)  # fmt: skip
def test_pasted_texts_of_any_kind_are_read_or_refused_soon(text: str) -> None:
    begun = time.monotonic()
    with suppress(SettingsFileError):
        parse_settings(text)
    assert time.monotonic() - begun < SOON


def test_a_toml_file_has_a_bound_of_its_own_for_it_is_slow_to_read() -> None:
    assert "a TOML settings file is only a few KB" in said(lambda: parse_toml("a = 1\n" * (LARGEST_TOML // 5)))


# ── pictures and captions ─────────────────────────────────────────────────────────────────────────


def shown_folder(tmp_path: Path, repeats: str) -> TrainingSettings:
    draw_pictures(tmp_path / "img" / f"{repeats}_cat", 2)
    return TrainingSettings().with_values({"train_data_dir": str(tmp_path / "img")})


@pytest.mark.parametrize("repeats", ["10000001", "1000000000", "9" * 200])
def test_repeats_beyond_all_bounds_are_refused_before_any_list_is_made(repeats: str, tmp_path: Path) -> None:
    settings = shown_folder(tmp_path, repeats)
    what = said(lambda: training_set(settings))
    assert "(pictures × repeats); at most 20,000,000 are possible" in what
    assert what in [problem.what for problem in check(settings).problems if problem.option == "train_data_dir"]
    assert said(lambda: survey(settings)) == what


def test_repeats_within_them_are_taken(tmp_path: Path) -> None:
    assert sum(item.repeats for item in training_set(shown_folder(tmp_path, "10000000")).items) == MOST_SHOWN


@pytest.mark.parametrize("by", ["dataset_config", "in_json"])
def test_other_descriptions_are_bounded_as_well(by: str, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "cat", 30)
    if by == "dataset_config":
        (tmp_path / "d.toml").write_text(
            f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{tmp_path / "cat"}"\nnum_repeats = 1000000\n'
        )
        settings = TrainingSettings().with_values({"dataset_config": str(tmp_path / "d.toml")})
        assert "Lower num_repeats" in str(refused(settings).mend)
    else:
        listed = {str(file): {"caption": "a"} for file in (tmp_path / "cat").glob("*.png")}
        (tmp_path / "m.json").write_text(json.dumps(listed))
        settings = (
            TrainingSettings()
            .for_method("finetune")
            .with_values({"in_json": str(tmp_path / "m.json"), "dataset_repeats": 10_000_000})
        )
        assert "Lower Dataset repeats" in str(refused(settings).mend)


def refused(settings: TrainingSettings) -> Failure:
    with pytest.raises(Failure) as failure:
        training_set(settings)
    return failure.value


def test_regularisation_pictures_are_balanced_at_once_as_one_by_one() -> None:
    """However often they are to be shown once more; the reference counts as sd-scripts does."""

    def one_by_one(items: list[Item], total: int) -> list[int]:
        counts: list[int] = []
        for item in items:
            if sum(counts) >= total:
                break
            counts.append(item.repeats)
        while sum(counts) < total:
            for index in range(len(counts)):
                if sum(counts) < total:
                    counts[index] += 1
        return counts

    items = [Item(Path(f"{n}.png"), "", repeats) for n, repeats in enumerate((3, 1, 2, 5))]
    for total in range(60):
        assert [item.repeats for item in balanced(items, total)] == one_by_one(items, total)
    begun = time.monotonic()
    assert sum(item.repeats for item in balanced(items, 10**12)) == 10**12
    assert time.monotonic() - begun < 1


def test_a_caption_of_three_gigabytes_is_said_in_the_check(tmp_path: Path) -> None:
    settings = shown_folder(tmp_path, "1")
    swollen(tmp_path / "img" / "1_cat" / "00.caption", 3 * 2**30)
    swollen(tmp_path / "img" / "1_cat" / "00.txt", 3 * 2**30)
    found = [problem for problem in check(settings).problems if problem.option == "caption_extension"]
    assert [problem.what for problem in found if problem.blocking] == ['Captions that cannot be read: "1_cat/00.txt".']
    seen = next(one for one in survey(settings).seen if one.picture.stem == "00")
    assert seen.problem == "its caption cannot be read: it is 3,072 MB, and at most 1 MB can be read"


def test_captions_up_to_the_bound_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * LONGEST_CAPTION)
    assert read_caption(tmp_path / "a.txt") == "x" * LONGEST_CAPTION
    (tmp_path / "a.txt").write_bytes(b"x" * (LONGEST_CAPTION + 1))
    with pytest.raises(OSError, match="at most 1 MB"):
        read_caption(tmp_path / "a.txt")


def test_a_list_of_endless_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.metadata_list.MOST_VALUES", 100_000)
    for name, text in (
        ("a.json", '{"a":{"b":[' + "[]," * 500_000 + "0]}}"),
        ("b.json", "{" + ",".join(f'"{n}":{{}}' for n in range(150_000)) + "}"),
        ("c.jsonl", '{"image_path":"a","x":[]}\n' * 60_000),
    ):
        file = tmp_path / name
        file.write_text(text)
        assert "it contains more than 100,000 values" in said(partial(listed_items, file, None, 1, Subset()))


def test_a_shown_epoch_of_the_most_pictures_is_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of it, for which the memory is a hundredth too."""
    import tracemalloc

    tracemalloc.start()
    try:
        assert len(Batches([MOST_SHOWN // 100], 1, 1, 0).at(5)) == 1
        assert tracemalloc.get_traced_memory()[1] < 100 * 150 * MOST_SHOWN // 100 / 100 * 1.2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", ["[]", "7", '{"step": "3"}', '{"step": 1e400, "total_steps": 1, "seed": 0}',
                                     '{"step": -1, "total_steps": 1, "seed": 0}', "{", "[" * 100_000,
                                     '{"step": 1.5, "total_steps": 1, "seed": 0}'])  # fmt: skip
def test_a_state_whose_progress_is_damaged_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(content)
    assert saved_progress(tmp_path) is None
    (tmp_path / "progress.json").write_text('{"step": 3, "total_steps": 9, "seed": 0, "smoothed_loss": NaN}')
    found = saved_progress(tmp_path)
    assert found is not None
    assert found.step == 3


def test_the_writer_of_captions_refuses_one_that_is_no_caption(tmp_path: Path) -> None:
    from engine.runs.folder import RunFolder

    run = RunFolder.create("caption-basic", "{}", "x", tmp_path / "runs")
    swollen(tmp_path / "a.txt", 3 * 2**30)
    with pytest.raises(OSError, match="at most"):
        CaptionWriter(run).write(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").stat().st_size == 3 * 2**30
    assert reading.megabytes(2**20) == "1 MB"
