"""What the browser tells of a dropped folder is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from engine.failure import Failure
from ui.dataset_drop import kept


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Path) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads" / "hash").mkdir(parents=True)
    return tmp_path / "uploads"


def told(*files: Any) -> gr.EventData:
    return gr.EventData(None, {"files": list(files)})


def test_uploads_are_kept_under_their_names_and_then_removed(uploads: Path):
    one = uploads / "hash" / "a.png"
    one.write_bytes(b"a")
    # Files of the same name and content are uploaded to the same place.
    dropped = kept(told(["cat/a.png", str(one)], ["cat/sub/a.png", str(one)], ["cat/b.npz", ""]))
    assert [(dropped.folder / name).read_bytes() for name in ("a.png", "sub/a.png")] == [b"a", b"a"]
    assert dropped.others == ("cat/b.npz",)
    assert list(uploads.iterdir()) == []


@pytest.mark.parametrize("path", ["{}/secret.png", "{}/uploads/../secret.png", "{}/uploads/link/secret.png"])
def test_no_file_from_elsewhere_is_taken_or_removed(uploads: Path, tmp_path: Path, runs: Path, path: str):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (uploads / "link").symlink_to(tmp_path)
    with pytest.raises(Failure, match=r"secret.png was not uploaded"):
        kept(told(["cat/a.png", path.format(tmp_path)]))
    assert secret.read_bytes() == b"secret"
    assert not runs.with_name("pictures").exists()


@pytest.mark.parametrize("data", [None, {}, {"files": 3}, {"files": [["a.png"]]}, {"files": [["a.png", 3]]},
                                  {"files": [["a.png", "a\0"]]}])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_a_sentence(uploads: Path, data: Any):
    with pytest.raises(Failure, match="could not be read"):
        kept(gr.EventData(None, data))
