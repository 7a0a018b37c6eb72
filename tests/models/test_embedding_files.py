"""Files of new words: in the layouts that other programs read and write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.failure import Failure
from engine.models.embedding_files import read_embeddings, write_embeddings

ROWS = torch.arange(8.0).view(2, 4)
OTHERS = torch.arange(12.0).view(2, 6)
OF_ONE, OF_TWO = {"emb_params": ROWS}, {"clip_l": ROWS, "clip_g": OTHERS}
WIDTHS = {"emb_params": 4}, {"clip_l": 4, "clip_g": 6}


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
@pytest.mark.parametrize(("tables", "widths"), zip((OF_ONE, OF_TWO), WIDTHS, strict=True))
def test_what_is_written_is_read_again(ending: str, tables: Any, widths: Any, tmp_path: Path):
    write_embeddings(tmp_path / f"a{ending}", "zig", tables, {})
    found = read_embeddings(tmp_path / f"a{ending}", widths)
    assert found.keys() == tables.keys()
    assert all(torch.equal(found[name], tables[name]) for name in tables)


def test_safetensors_have_sd_scripts_names(tmp_path: Path):
    for tables in (OF_ONE, OF_TWO):
        write_embeddings(tmp_path / "a.safetensors", "zig", tables, {"a": "b"})
        assert load_file(tmp_path / "a.safetensors").keys() == tables.keys()


def test_torch_s_format_has_the_web_ui_s_layout_and_is_read_without_code(tmp_path: Path):
    write_embeddings(tmp_path / "a.pt", "zig", OF_ONE, {})
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    assert loaded["name"] == "zig"
    assert loaded["string_to_token"] == {"*": 265}
    assert torch.equal(loaded["string_to_param"]["*"], ROWS)
    write_embeddings(tmp_path / "b.pt", "zig", OF_TWO, {})
    assert torch.load(tmp_path / "b.pt", weights_only=True).keys() == {"clip_l", "clip_g"}


def test_a_file_of_diffusers_own_or_with_a_single_row_is_read(tmp_path: Path):
    save_file({"<zig>": ROWS[0]}, tmp_path / "learned_embeds.safetensors")
    torch.save({"<zig>": ROWS}, tmp_path / "learned_embeds.bin")
    assert torch.equal(read_embeddings(tmp_path / "learned_embeds.safetensors", WIDTHS[0])["emb_params"], ROWS[:1])
    assert torch.equal(read_embeddings(tmp_path / "learned_embeds.bin", WIDTHS[0])["emb_params"], ROWS)


@pytest.mark.parametrize(
    ("tensors", "widths", "what"),
    [
        ({"emb_params": OTHERS}, WIDTHS[0], "are 6 numbers wide, for another family"),
        (OF_ONE, WIDTHS[1], "no embeddings for this model's text encoder clip_l"),
        (OF_TWO, WIDTHS[0], "no embeddings for this model's text encoder emb_params"),
        ({"clip_l": ROWS, "clip_g": OTHERS[:1]}, WIDTHS[1], "more vectors for one text encoder"),
        ({"emb_params": torch.zeros(1, 2, 4)}, WIDTHS[0], "is no file of embeddings"),
        ({"emb_params": torch.zeros(0, 4)}, WIDTHS[0], "is no file of embeddings"),
        ({"emb_params": ROWS.log()}, WIDTHS[0], "is no file of embeddings"),
    ],
)
def test_files_of_other_models_are_refused_in_a_sentence(tensors: Any, widths: Any, what: str, tmp_path: Path):
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(Failure, match=what) as caught:
        read_embeddings(tmp_path / "a.safetensors", widths)
    assert caught.value.option == "embedding_weights"


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"\x80\x04}."])
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_files_that_are_none_are_refused_in_a_sentence(content: bytes, ending: str, tmp_path: Path):
    (tmp_path / f"a{ending}").write_bytes(content)
    with pytest.raises(Failure, match=r"no file of embeddings|no embeddings for"):
        read_embeddings(tmp_path / f"a{ending}", WIDTHS[0])
    with pytest.raises(Failure, match="There is no file"):
        read_embeddings(tmp_path / f"b{ending}", WIDTHS[0])
