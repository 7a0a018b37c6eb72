"""A trained file's own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.models.header import read_metadata
from engine.tools.lora_metadata import unfolded


def test_the_metadata_are_the_files_text_and_are_shown_with_their_inner_json_unfolded(tmp_path: Path):
    metadata = {"ss_network_dim": "8", "ss_tag_frequency": json.dumps({"10_cat": {"cat": 3}}), "odd": "{not json"}
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata=metadata)
    read = read_metadata(tmp_path / "a.safetensors")
    assert read == metadata
    assert unfolded(read) == metadata | {"ss_tag_frequency": {"10_cat": {"cat": 3}}}


def test_a_file_without_metadata_has_none(tmp_path: Path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert read_metadata(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("content", [b"", b"\x01", b"\xff" * 100, (50).to_bytes(8, "little") + b"{cut off"])
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes):
    file = tmp_path / "odd.safetensors"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.safetensors is not a \.safetensors file"):
        read_metadata(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="There is no file"):
        read_metadata(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("metadata", ["[]", "null", '"text"'])
def test_metadata_of_another_form_is_said_in_words(tmp_path: Path, metadata: str):
    header = f'{{"__metadata__": {metadata}}}'.encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="metadata in a form"):
        read_metadata(tmp_path / "a.safetensors")


def test_nesting_without_end_is_no_crash(tmp_path: Path):
    deep = "[" * 100_000

    def read(header: str) -> dict:
        (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
        return read_metadata(tmp_path / "a.safetensors")

    assert unfolded(read(json.dumps({"__metadata__": {"ss_tag_frequency": deep}}))) == {"ss_tag_frequency": deep}
    with pytest.raises(ValueError, match=r"not a \.safetensors file"):
        read(deep)


@pytest.mark.parametrize("inner", ["\ud800", '{"a": "\\ud800"}', "[[1], {}]"])
def test_what_is_shown_can_be_sent_to_the_page(tmp_path: Path, inner: str):
    header = json.dumps({"__metadata__": {"ss_x": inner, "ss_number": 3}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    read = read_metadata(tmp_path / "a.safetensors")
    assert all(isinstance(text, str) for text in read.values())
    json.dumps(unfolded(read), ensure_ascii=False).encode()
