"""Kept latents and captions that others wrote: what swells or has no end is no kept file."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.data import npz
from engine.data.npz import Npz


def array_of_zeros(size: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros(size, np.uint8))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["latents", "darkroom"])
def test_an_array_that_swells_is_not_unpacked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "LARGEST_ARRAY", 1_000_000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"{name}.npy", array_of_zeros(2_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    with Npz(tmp_path / "a.npz") as kept:
        assert kept.stamp() is None
        with pytest.raises(ValueError, match="larger than expected"):
            kept.read(name)


@pytest.mark.parametrize("to", ["/dev/zero", "a pipe", "itself", "a folder"])
def test_what_has_no_end_is_not_waited_for(to: str, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    if to == "a pipe":
        os.mkfifo(file)
    elif to == "a folder":
        file.mkdir()
    else:
        file.symlink_to(file if to == "itself" else to)
    with pytest.raises(OSError, match=r"."):
        Npz(file)


def test_a_kept_file_is_read_as_before(tmp_path: Path) -> None:
    npz.write(tmp_path / "a.npz", {"latents": np.arange(6).reshape(2, 3)}, {"of": "a picture"})
    with Npz(tmp_path / "a.npz") as kept:
        assert kept.stamp() == {"of": "a picture"}
        assert kept.shape("latents") == (2, 3)
        assert np.array_equal(kept.read("latents"), np.arange(6).reshape(2, 3))
