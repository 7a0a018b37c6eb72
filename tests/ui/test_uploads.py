"""What browsers send stays no longer than it is needed, whole or not, also after a kill."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.launched import BOUNDARY, UPLOAD, LaunchedPage, upload_body
from ui.uploads import BEGUN, KEPT, LOCK, PREFIX, VARIABLE, remove_old, uploads_folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where such folders are made."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def aged(path: Path, seconds: float, content: bytes = b"a") -> Path:
    """A file that was written so long ago.  Its change time cannot be set: what looks at it is told a later now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_within_it_gradio_uses_a_folder_of_its_own_that_then_is_gone(temporary: Path):
    with uploads_folder() as folder:
        assert os.environ[VARIABLE] == str(folder)
        assert folder.parent == temporary
        if os.name == "posix":
            assert folder.stat().st_mode & 0o077 == 0
        aged(folder / "hash" / "a.png", 0)
    assert os.environ[VARIABLE] == str(temporary)
    assert list(temporary.iterdir()) == []
    with pytest.raises(SystemExit), uploads_folder() as folder:
        raise SystemExit
    assert not folder.exists()


def test_whole_files_go_after_a_day_and_begun_ones_after_minutes(tmp_path: Path):
    whole, begun = aged(tmp_path / "hash" / "a.png", 0), aged(tmp_path / "tmpabc", 0)
    kept = aged(tmp_path / LOCK, 10 * KEPT)
    remove_old(tmp_path, time.time() + BEGUN - 60)
    assert whole.exists()
    assert begun.exists()
    remove_old(tmp_path, time.time() + BEGUN + 60)
    assert whole.exists()
    assert not begun.exists()
    remove_old(tmp_path, time.time() + KEPT - 60)
    assert whole.exists()
    remove_old(tmp_path, time.time() + KEPT + 60)
    assert not whole.parent.exists()
    assert kept.exists()


def test_a_picture_of_long_ago_that_was_moved_here_just_now_stays(tmp_path: Path):
    old = aged(tmp_path / "hash" / "a.png", 10 * KEPT)
    remove_old(tmp_path, time.time())
    assert old.exists()


def test_no_link_leads_out_of_it(tmp_path: Path):
    mine = aged(tmp_path / "mine" / "a.png", 10 * KEPT)
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "link").symlink_to(mine.parent)
    (folder / "hash").mkdir()
    (folder / "hash" / "link").symlink_to(mine)
    remove_old(folder, time.time() + 2 * KEPT)
    assert mine.exists()
    assert list(folder.iterdir()) == []


def left_behind(temporary: Path, name: str) -> Path:
    folder = temporary / f"{PREFIX}{name}"
    aged(folder / "hash" / "a.png", 0)
    os.utime(folder, (time.time() - 2 * BEGUN,) * 2)
    return folder


def test_folders_of_killed_pages_go_and_those_of_others_stay(temporary: Path, tmp_path: Path):
    killed, living, fresh = (left_behind(temporary, name) for name in ("killed", "living", "fresh"))
    os.utime(fresh)
    others = aged(temporary / "others" / "a.png", 10 * KEPT)
    mine = aged(tmp_path / "mine" / "a.png", 10 * KEPT)
    (temporary / f"{PREFIX}link").symlink_to(mine.parent)
    lock = FileLock(living / LOCK)
    lock.acquire()
    os.utime(living, (time.time() - 2 * BEGUN,) * 2)
    with uploads_folder():
        assert not killed.exists()
        for file in (living / "hash" / "a.png", fresh / "hash" / "a.png", others, mine):
            assert file.exists()
    lock.release()


def test_a_page_takes_uploads_with_it_when_it_ends_half_finished_ones_too(tmp_path: Path):
    page = LaunchedPage(tmp_path / "page")
    page.wait_until_it_runs()
    assert page.ask("POST", "/gradio_api/upload", UPLOAD, upload_body(b"a")).status == 200
    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {page.host}\r\nContent-Length: 1000000\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
            + upload_body(b"b" * 100_000)[:50_000]
        )
        until = time.monotonic() + 30
        while not (begun := list(page.temporary.glob(f"{PREFIX}*/tmp*"))) and time.monotonic() < until:
            time.sleep(0.1)
    assert begun
    assert list(page.temporary.rglob("a.png"))
    remove_old(begun[0].parent, time.time() + BEGUN + 60)
    assert not begun[0].exists()
    assert list(page.temporary.rglob("a.png"))
    page.stop()
    assert not list(page.temporary.glob(f"{PREFIX}*"))
