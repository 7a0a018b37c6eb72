"""Pickled checkpoints of others: their weights are read, and nothing that they say is done."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import time
import tracemalloc
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.failure import Failure
from engine.models.file_kind import file_kind
from engine.models.header import NoModel
from engine.models.mapped import mapped
from engine.models.pickled import Harmful, Nothing, read_checkpoint
from engine.models.recognise import Found, recognise
from engine.models.single_file import Weights

SD1 = {
    "model.diffusion_model.input_blocks.0.0.weight": torch.arange(32.0).reshape(2, 4, 2, 2).half(),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(2, 768),
    "cond_stage_model.transformer.text_model.ids": torch.arange(4),
    "first_stage_model.decoder.conv_in.weight": torch.full((2, 4, 3, 3), 0.5, dtype=torch.bfloat16),
}


def lightning(file: Path, weights: dict[str, Any]) -> Path:
    """Writes a file as PyTorch Lightning does, whose classes are gone when it is read."""
    callback = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning"})
    kept = callback()
    kept.best = 3.0
    sys.modules["pytorch_lightning"] = library = types.ModuleType("pytorch_lightning")
    library.ModelCheckpoint = callback  # type: ignore[attr-defined]
    whole = {
        "epoch": 6, "global_step": 470000, "pytorch-lightning_version": "1.4.2", "state_dict": weights,
        "callbacks": {callback: {"best": kept}, "more": kept}, "lr_schedulers": [],
    }  # fmt: skip
    try:
        torch.save(whole, file)
    finally:
        del sys.modules["pytorch_lightning"]
    return file


def test_a_file_of_lightning_is_known_and_read(tmp_path: Path) -> None:
    file = lightning(tmp_path / "sd-v1-4.ckpt", OrderedDict(SD1))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    assert recognise(str(file)) == Found("model", "sd1")
    weights = Weights(file, "pretrained_model_name_or_path")
    assert set(weights) == set(SD1)
    for name, tensor in SD1.items():
        assert weights[name].dtype == tensor.dtype
        assert torch.equal(weights[name], tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(3, 4).t(),
        torch.arange(12.0)[5:9],
        torch.arange(12, dtype=torch.int64),
        torch.nn.Parameter(torch.arange(6.0)),
        torch.zeros(0, 3),
        torch.tensor(2.5),
        torch.tensor([True, False]),
    ],
    ids=["turned", "part", "whole numbers", "parameter", "empty", "scalar", "bool"],
)
def test_tensors_of_every_kind_come_out_as_they_went_in(tensor: torch.Tensor, tmp_path: Path) -> None:
    file = lightning(tmp_path / "a.ckpt", {"a": tensor, "tied": tensor})
    found = mapped(file, read_checkpoint(file))
    assert torch.equal(found["a"], tensor)
    assert torch.equal(found["tied"], tensor)
    assert found["a"].dtype == tensor.dtype


def test_files_of_old_are_known_too(tmp_path: Path) -> None:
    torch.save({"state_dict": SD1}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert recognise(str(tmp_path / "old.ckpt")) == Found("model", "sd1")
    torch.save(SD1, tmp_path / "bare.pt")
    assert recognise(str(tmp_path / "bare.pt")) == Found("model", "sd1")


class Runs:
    """What pickles can have run: each leaves a mark where it is."""

    def __init__(self, called: Any, *given: Any) -> None:
        self.called, self.given = called, given

    def __reduce__(self) -> Any:
        return self.called, self.given


ATTACKS: dict[str, Callable[[str], Any]] = {
    "os.system": lambda mark: Runs(os.system, f"touch {mark}"),
    "open": lambda mark: Runs(open, mark, "w"),
    "eval": lambda mark: Runs(eval, f"open({mark!r}, 'w')"),
    "exec": lambda mark: Runs(exec, f"open({mark!r}, 'w')"),
    "os.mkdir": lambda mark: Runs(os.mkdir, mark),
    "by torch": lambda mark: Runs(torch.save, {}, mark),
    "a method": lambda mark: Runs(getattr, Path(mark), "touch"),
    "torch.hub": lambda mark: Runs(torch.hub.load, mark, "x"),
    "of numpy": lambda mark: Runs(__import__("numpy").save, mark, [1]),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["beside", "as a weight", "as the whole", "as a key"])
def test_nothing_in_a_pickle_is_run(attack: str, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    payload = ATTACKS[attack](str(mark))
    whole: Any = {
        "beside": {"state_dict": SD1, "callbacks": payload},
        "as a weight": {"state_dict": {**SD1, "x": payload}},
        "as the whole": payload,
        "as a key": {"state_dict": SD1, payload: 1},
    }[place]
    file = tmp_path / "model.ckpt"
    torch.save(whole, file)
    before = set(os.listdir(tmp_path))
    for look in (
        lambda: mapped(file, read_checkpoint(file)),
        lambda: recognise(str(file)),
        lambda: Weights(file, "vae"),
    ):
        with suppress(NoModel, Failure):
            look()
    assert set(os.listdir(tmp_path)) == before


def test_that_test_would_see_it_run(tmp_path: Path) -> None:
    for number, name in enumerate(("os.system", "open", "eval", "exec", "os.mkdir")):
        mark = tmp_path / str(number)
        pickle.loads(pickle.dumps(ATTACKS[name](str(mark))))
        assert mark.exists()


@pytest.mark.parametrize("name", ["os.system", "eval", "open"])
def test_a_file_that_names_what_does_harm_is_called_so_before_a_start(name: str, tmp_path: Path) -> None:
    file = tmp_path / "evil.ckpt"
    torch.save({"state_dict": SD1, "x": ATTACKS[name](str(tmp_path / "mark"))}, file)
    with pytest.raises(Harmful, match=r"evil\.ckpt contains more than weights"):
        recognise(str(file))
    with pytest.raises(Failure, match=r"evil\.ckpt contains more than weights"):
        Weights(file, "vae")


def archive(file: Path, program: bytes, **data: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", program)
        for key, content in data.items():
            made.writestr(f"archive/data/{key}", content)
    return file


def tensor_program(shape: tuple[Any, ...], stride: tuple[Any, ...], begin: Any = 0, count: Any = 4) -> bytes:
    """A pickle of {"a": tensor} that says whatever it is told to."""

    class Kind:
        def __reduce__(self) -> str:
            return "FloatStorage"

    class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
        def persistent_id(self, one: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if one == "STORAGE" else None

    class Rebuilt:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, ("STORAGE", begin, shape, stride, False, OrderedDict())

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"a": Rebuilt()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "stride", "begin", "count"),
    [
        ((5,), (1,), 0, 4),
        ((4,), (1,), 1, 4),
        ((2, 2), (4, 1), 0, 4),
        ((10**9,), (0,), 0, 4),
        ((-1,), (1,), 0, 4),
        ((2,), (-1,), 1, 4),
        ((2.5,), (1,), 0, 4),
        (("2",), (1,), 0, 4),
        ((2,), (1, 1), 0, 4),
        ((1,) * 1000, (1,) * 1000, 0, 4),
        ((2,), (1,), -1, 4),
        ((2,), (1,), 0, -4),
    ],
)
def test_tensors_that_lie_outside_of_their_bytes_are_none(
    shape: Any, stride: Any, begin: Any, count: Any, tmp_path: Path
) -> None:
    file = archive(tmp_path / "a.ckpt", tensor_program(shape, stride, begin, count), **{"0": bytes(16)})
    with pytest.raises(NoModel, match="contains no named weights"):
        read_checkpoint(file)


def test_storages_that_the_archive_has_not_are_said_to_be_missing(tmp_path: Path) -> None:
    short = archive(tmp_path / "short.ckpt", tensor_program((4,), (1,)), **{"0": bytes(12)})
    gone = archive(tmp_path / "gone.ckpt", tensor_program((4,), (1,)))
    for file in (short, gone):
        with pytest.raises(NoModel, match=f"{file.name} is damaged"):
            mapped(file, read_checkpoint(file))


def shared_lists(levels: int) -> bytes:
    """Lists each of which holds the one before twice; the last is left in the memo at `levels`."""
    steps = (b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(levels))
    return b"]q\x00" + b"".join(steps)


def said(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


HASH = 2**61 - 1
"""All of whose multiples Python hashes as nought."""

HUNGRY = {
    "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**50) + b"x.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "long": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
    "long text": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
    "deep": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "key of keys": b"\x80\x02" + b")" + b"\x94".join([b"2\x86"] * 60) + b"}N.",
    "set of keys": b"\x80\x04\x8f(" + b")" + b"2\x86" * 60 + b"\x90.",
    "no end": b"\x80\x02" + b"N" * 1000,
    "no mark": b"\x80\x02u.",
    "extension": b"\x80\x02\x82\x01.",
    "storage of lists": b"\x80\x02" + shared_lists(26) + b"(" + said(b"storage") + said(b"FloatStorage") + b"h\x1a"
    + said(b"cpu") + b"K\x01tQ.",
    "sizes": b"\x80\x02(" + b"N" * 50_000 + b"lq\x00\x85q\x01ctorch\nSize\nq\x02" + b"h\x02h\x01R" * 4000 + b".",
    "dictionaries": b"\x80\x02" + b"}" * 2_500_000 + b".",
    "lists": b"\x80\x02" + b"]" * 2_500_000 + b".",
    "marks": b"\x80\x02" + b"(" * 2_500_000 + b".",
    "sets": b"\x80\x04" + b"\x8f" * 2_500_000 + b".",
    "memo of much": b"\x80\x04N" + b"\x94" * 2_500_000 + b".",
    "keys of one hash": b"\x80\x02}("
    + b"".join(b"\x8a\x0a" + (HASH * n).to_bytes(10, "little") + b"N" for n in range(60_000)) + b"u.",
    "memo of one hash": b"\x80\x02N" + b"".join(b"p%d\n" % (HASH * n) for n in range(60_000)) + b".",
    "a long shape": b"\x80\x02ctorch._utils\n_rebuild_tensor\nq\x00(("
    + said(b"storage") + said(b"FloatStorage") + said(b"0") + said(b"cpu") + b"K\x01tQK\x00("
    + b"K\x01" * 50_000 + b"tq\x01h\x01tq\x02" + b"0h\x00h\x02R" * 10_000 + b".",
    "a long call": b"\x80\x02ctorch._utils\n_rebuild_parameter\nq\x00(" + b"N" * 150_000 + b"tq\x01"
    + b"0h\x00h\x01R" * 100_000 + b".",
    "a long key": b"\x80\x02}" + (said(b"a" * 2**22) + b"q\x00Ns") * 2 + b"h\x00Ns" * 250_000 + b".",
    "a long module": b"\x80\x04" + said(b"a" * 2**22) + b"q\x00" + b"h\x00h\x00\x930" * 250_000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", HUNGRY)
def test_pickles_that_ask_for_everything_get_little_memory(name: str, tmp_path: Path) -> None:
    file = archive(tmp_path / "a.ckpt", HUNGRY[name])
    tracemalloc.start()
    try:
        with pytest.raises(NoModel):
            read_checkpoint(file)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HUNGRY)
@pytest.mark.parametrize("packed", [True, False])
def test_pickles_that_ask_for_everything_get_little_time(name: str, packed: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    if packed:
        archive(file, HUNGRY[name])
    else:
        file.write_bytes(HUNGRY[name])
    began = time.process_time()
    with pytest.raises(NoModel):
        read_checkpoint(file)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("swollen", [b"N0", b"}0", b"]0", b"(0", b"N\x94"])
@pytest.mark.parametrize("member", ["data.pkl", "byteorder"])
def test_an_archive_that_swells_is_not_unpacked(member: str, swollen: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"archive/{member}", b"\x80\x02" + swollen * 10_000_000)
        if member != "data.pkl":
            made.writestr("archive/data.pkl", tensor_program((4,), (1,)), zipfile.ZIP_STORED)
    assert file.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(NoModel, match="is not a readable checkpoint") as refused:
            read_checkpoint(file)
        assert "compressed" in str(refused.value.__cause__)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("key", [b"K\x00", said(b"0"), b"\x8a\x06" + (2**40).to_bytes(6, "little")])
def test_storages_go_by_text_and_by_small_numbers(key: bytes, tmp_path: Path) -> None:
    program = tensor_program((4,), (1,)).replace(said(b"0"), key)
    assert key in program
    stored = read_checkpoint(archive(tmp_path / "a.ckpt", program)).tensors["a"]
    assert stored.storage.key in ("0", str(2**40))


@pytest.mark.parametrize("old", [True, False])
def test_a_checkpoint_with_its_optimizer_is_read(old: bool, tmp_path: Path) -> None:
    tensors = {f"model.diffusion_model.input_blocks.{n}.weight": torch.ones(2) for n in range(2000)}
    kept = {n: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)} for n in range(2000)}
    whole = {"state_dict": tensors, "optimizer_states": [{"state": kept}], "size": torch.Size([2, 3])}
    torch.save(whole, tmp_path / "a.ckpt", _use_new_zipfile_serialization=not old)
    assert set(read_checkpoint(tmp_path / "a.ckpt").tensors) == set(tensors)


def test_what_stands_for_the_rest_takes_everything_and_does_nothing() -> None:
    assert isinstance(Nothing(1, a=2)(3, b=4), Nothing)


KINDS = {
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(64), "is a GGUF file"),
    "page": (b"<!doctype html><title>Sign in", "is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
    "empty": (b"", "is empty"),
    "text": (b"hello, I am a model", "is not a weights file"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".gguf", ".ckpt", ".safetensors", ".CKPT", ".bin"])
def test_a_file_of_another_kind_is_called_by_its_name(kind: str, ending: str, tmp_path: Path) -> None:
    content, said = KINDS[kind]
    if kind == "text" and ending == ".safetensors":
        said = "is not a .safetensors file"
    file = tmp_path / f"model{ending}"
    file.write_bytes(content)
    with pytest.raises(NoModel, match=said) as refused:
        recognise(str(file))
    assert refused.value.mend
    with pytest.raises(Failure):
        Weights(file, "vae")


@pytest.mark.parametrize("ending", [".ckpt", ".bin", "", ".SAFETENSORS"])
def test_weights_are_read_by_what_they_are_whatever_the_name_ends_with(ending: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(SD1, tmp_path / f"model{ending}")
    assert recognise(str(tmp_path / f"model{ending}")) == Found("model", "sd1")
    assert torch.equal(Weights(tmp_path / f"model{ending}", "vae")["cond_stage_model.transformer.text_model.ids"],
                       torch.arange(4))  # fmt: skip


@pytest.mark.parametrize("length", [316, 15369, 15392, 212000])
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt", ".bin"])
def test_a_header_whose_length_looks_like_a_page_is_still_a_header(length: int, ending: str, tmp_path: Path) -> None:
    header = json.dumps({"lora_unet_a.lora_down.weight": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}})
    file = tmp_path / f"model{ending}"
    file.write_bytes(length.to_bytes(8, "little") + header.encode().ljust(length) + bytes(8))
    assert file_kind(file) == "safetensors"
    assert set(Weights(file, "vae")) == {"lora_unet_a.lora_down.weight"}
