"""Weights in files that are whole, alone and for everyone to read."""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.models.weights_file import bytes_in, write_weights

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3)}


@pytest.mark.parametrize("name", ["cat.safetensors", "cat.ckpt", "v1.5.safetensors"])
def test_a_file_has_the_rights_of_any_other_and_nothing_lies_beside_it(tmp_path: Path, name: str):
    """safetensors by itself lets only its owner read it."""
    (tmp_path / "other").touch()
    write_weights(tmp_path / name, WEIGHTS, {})
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "other"])


def test_what_is_written_is_read_again(tmp_path: Path):
    write_weights(tmp_path / "a.safetensors", WEIGHTS, {"ss_seed": "7"})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["a"], WEIGHTS["a"])
    write_weights(tmp_path / "a.ckpt", WEIGHTS, {}, pickled={"state_dict": WEIGHTS})
    assert torch.equal(torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]["a"], WEIGHTS["a"])


def test_where_rights_cannot_be_given_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on a disk of Windows' that another user mounted."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    write_weights(tmp_path / "a.safetensors", WEIGHTS, {})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["a"], WEIGHTS["a"])


def test_bytes_of_what_is_nested():
    tree = {
        "a": torch.zeros(3),
        "b": [torch.zeros(2, dtype=torch.float16), {"c": torch.zeros(1, dtype=torch.int64)}],
        "d": 5,
    }
    assert bytes_in(tree) == 12 + 4 + 8


def test_the_web_ui_opens_what_is_not_safetensors(tmp_path: Path):
    """Its check refuses archives with entries other than data, data.pkl and version, of which torch writes more now,
    and pickles that name anything but a few functions.
    """
    told = {768: ({"w": torch.ones(2).half(), "b": torch.zeros(300, 2)}, {}), "n": "a"}
    for name in ("a.pt", "b.pt"):
        write_weights(tmp_path / name, {"a": torch.ones(2)}, {}, pickled=told)
    torch.save(told, tmp_path / "usual.pt")
    with zipfile.ZipFile(tmp_path / "usual.pt") as usual, zipfile.ZipFile(tmp_path / "a.pt") as ours:
        assert len(usual.namelist()) > len(ours.namelist())
        assert all(re.match(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$", name) for name in ours.namelist())
        assert ours.testzip() is None
        pickled = ours.read(next(name for name in ours.namelist() if name.endswith("data.pkl")))

    class Allowed(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            assert (module, name) in {
                ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch", "FloatStorage"),
                ("torch", "HalfStorage"),
            }  # fmt: skip
            return super().find_class(module, name)

        def persistent_load(self, saved: Any) -> Any:
            assert saved[0] == "storage"
            return torch.storage.TypedStorage(_internal=True)

    Allowed(io.BytesIO(pickled)).load()
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert torch.equal(found[768][0]["w"], torch.ones(2).half())
    assert torch.equal(found[768][0]["b"], torch.zeros(300, 2))


def test_the_same_weights_are_the_same_bytes(tmp_path: Path):
    for name in ("cat.safetensors", "cat.ckpt"):
        write_weights(tmp_path / name, WEIGHTS, {})
        before = (tmp_path / name).read_bytes()
        write_weights(tmp_path / name, {"a": torch.arange(6.0).reshape(2, 3).clone()}, {})
        assert (tmp_path / name).read_bytes() == before
