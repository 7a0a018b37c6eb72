"""Headers that lie: one sentence each, and no exception of another kind."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from engine.check.model import check_model
from engine.models.header import LARGEST_HEADER, NoModel, read_header, read_metadata
from engine.models.recognise import recognise
from engine.models.sizes import sizes_of
from engine.settings.training import TrainingSettings
from tests.models.test_recognise import FLUX, SD1, SDXL, write
from ui.model_switches import switches_for


def lying(file: Path, header: Any, behind: int = 0) -> Path:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(data)) + data)
        stream.truncate(8 + len(data) + behind)
    return file


def tensor(shape: Any, begin: Any = 0, end: Any = 8, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


UNET = "model.diffusion_model.input_blocks.0.0.weight"

LIES: dict[str, Any] = {
    "text as shape": {UNET: tensor("12")},
    "texts as sides": {UNET: tensor(["2", "1"])},
    "no shape": {UNET: {"dtype": "F32", "data_offsets": [0, 8]}},
    "null as shape": {UNET: tensor(None)},
    "number as shape": {UNET: tensor(2)},
    "negative side": {UNET: tensor([-2, -1])},
    "broken side": {UNET: tensor([0.5, 4])},
    "side of true": {UNET: tensor([True, 2])},
    "endless side": {UNET: tensor([10**400])},
    "side beyond the file": {UNET: tensor([2**62])},
    "a thousand sides": {UNET: tensor([1] * 1000, 0, 4)},
    "unknown kind beyond the file": {UNET: tensor([10**30], dtype="Q3")},
    "no kind": {UNET: tensor([10**30], dtype=None)},
    "end before begin": {UNET: tensor([0], 8, 0)},
    "negative place": {UNET: tensor([2], -8, 0)},
    "text as place": {UNET: tensor([2], "0", "8")},
    "one place": {UNET: {"dtype": "F32", "shape": [2], "data_offsets": [8]}},
    "endless place": {UNET: tensor([2], 10**400, 10**400 + 8)},
    "infinite place": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e400]}}',
    "no number": b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}',
    "two in one place": {"a": tensor([2]), "b": tensor([2])},
    "half in one place": {"a": tensor([2]), "b": tensor([2], 4, 12)},
    "a gap": {"a": tensor([2]), "b": tensor([2], 16, 24)},
    "a list for a tensor": {UNET: []},
    "a text for a tensor": {UNET: "tensor"},
    "a list for all": [1, 2],
    "a number for all": 7,
    "metadata of a list": {"__metadata__": [1], "a": tensor([2])},
    "metadata of a text": {"__metadata__": "x", "a": tensor([2])},
    "the same name twice": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],'
    b'"data_offsets":[8,16]}}',
    "half a character": b'{"\xff": {}}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_one_sentence_wherever_it_is_asked_for(name: str, tmp_path: Path) -> None:
    file = lying(tmp_path / "model.safetensors", LIES[name], behind=8)
    for ask in (read_header, lambda file: recognise(str(file))):
        with pytest.raises(NoModel, match=r"model\.safetensors") as refused:
            ask(file)
        assert str(refused.value).endswith(".")
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 250
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(file), "vae": str(file)})
    found = {problem.option: problem for problem in check_model(settings)}
    assert found["pretrained_model_name_or_path"].blocking
    assert "model.safetensors" in found["vae"].what
    assert sizes_of(str(file), "sd1") is not None  # what is usual
    assert switches_for(str(file), {"v2": False})[0] == {}


@pytest.mark.parametrize("shapes", [SD1, SDXL, FLUX], ids=["sd1", "sdxl", "flux"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (1, 1), (0, 0, 0, 0), (1,) * 5])
def test_tensors_of_any_shape_break_nothing_that_counts_or_looks(
    shapes: dict[str, tuple[int, ...]], shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Each in turn, and all at once."""
    for odd in (*([name] for name in shapes), list(shapes)):
        file = write(tmp_path / "m.safetensors", shapes | dict.fromkeys(odd, shape))
        found = recognise(file)
        assert found is not None
        assert found.title
        assert sizes_of(file, "sd1") is not None
        settings = TrainingSettings().with_values({"pretrained_model_name_or_path": file})
        assert all(problem.what for problem in check_model(settings))


def test_a_header_of_95_megabytes_is_bounded_before_it_is_parsed(tmp_path: Path) -> None:
    """Lists within lists would take thirty times their bytes."""
    import tracemalloc

    data = b'{"a":[' + b"[]," * 33_000_000 + b"0]}"
    assert len(data) < LARGEST_HEADER
    file = lying(tmp_path / "big.safetensors", data)
    del data
    tracemalloc.start()
    try:
        with pytest.raises(NoModel, match=r"big\.safetensors is not a \.safetensors file"):
            read_header(file)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


def test_one_of_long_words_is_read(tmp_path: Path) -> None:
    """As LoRA files have them that name every caption they learned."""
    words = {"ss_tag_frequency": json.dumps({"10_cat": {f"caption {n}, {{a|b}}": 1 for n in range(200_000)}})}
    file = lying(tmp_path / "lora.safetensors", {"__metadata__": words, "a": tensor([2])}, behind=8)
    assert read_header(file).metadata == words
    assert read_metadata(file) == words


@pytest.mark.parametrize("make", ["pipe", "device", "loop", "folder", "gone"])
def test_what_is_no_file_is_said_and_not_waited_for(make: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    if make == "pipe":
        os.mkfifo(file)
    elif make == "device":
        file.symlink_to("/dev/zero")
    elif make == "loop":
        file.symlink_to(file)
    elif make == "folder":
        file.mkdir()
    with pytest.raises(NoModel):
        read_metadata(file)
    if make in ("pipe", "device"):
        settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(file)})
        found = {problem.option: problem.what for problem in check_model(settings)}
        assert found["pretrained_model_name_or_path"] == f'"{file}" is a device or a pipe, not a file.'


@pytest.mark.parametrize("typed", ["~nobody/x.safetensors", "x" * 5000, "a\0b", "", "~", "loop", "\ud800"])
def test_whatever_is_typed_as_a_model_the_form_stays(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert switches_for(typed, {"v2": False})[0] == {}


@pytest.mark.parametrize("content", ['{"in_channels": []}', '{"in_channels": "4"}', '{"in_channels": {}}', "[]", "{",
                                     '{"in_channels": 1e400}', '{"in_channels": true}'])  # fmt: skip
def test_lists_of_a_folder_that_say_odd_things_are_passed_over(content: str, tmp_path: Path) -> None:
    for file in ("unet/config.json", "scheduler/scheduler_config.json"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(content)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    found = recognise(str(tmp_path))
    assert found is not None
    assert (found.family, found.channels, found.prediction) == ("sd1", 4, None)
    (tmp_path / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": ["epsilon"]}')
    assert recognise(str(tmp_path)) == found


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt", "odd.json"])
@pytest.mark.parametrize("to", ["/dev/zero", "a pipe", "a large file"])
def test_what_has_no_end_in_a_models_folder_is_named_before_a_library_opens_it(
    name: str, to: str, tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    if to == "a pipe":
        os.mkfifo(file)
    elif to == "/dev/zero":
        file.symlink_to(to)
    else:
        file.touch()
        os.truncate(file, 3 * 2**30)
        if file.suffix != ".json":
            return  # weights may be large
    with pytest.raises(NoModel, match=file.name):
        recognise(str(tmp_path))
