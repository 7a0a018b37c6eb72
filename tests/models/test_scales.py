"""Files whose weights are in 8 bits with scales beside them."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.failure import Failure
from engine.models import flux, single_file
from engine.models.recognise import Found, recognise
from engine.models.scales import widened
from engine.models.single_file import Weights
from tests.models.files import write_files
from tests.models.loading import loaded
from tests.models.small import FLUX, pipeline

FP8 = torch.float8_e4m3fn


def narrowed(weights: dict[str, Tensor], ending: str, mark: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Matrices in fp8 with a scale each, and what such a file means at full width."""
    stored: dict[str, Tensor] = {"scaled_fp8": torch.empty(2, dtype=FP8)} if mark else {}
    meant = {}
    for name, tensor in weights.items():
        stored[name] = meant[name] = tensor
        if tensor.ndim == 2 and name.endswith(".weight"):
            scale = tensor.abs().max() / 400
            stored[name] = (tensor / scale).to(FP8)
            stored[name.removesuffix(".weight") + ending] = scale.reshape(1)
            stored[name.removesuffix(".weight") + ".input_scale"] = torch.ones(1)
            meant[name] = stored[name].float() * scale
    return stored, meant


@pytest.mark.parametrize(("ending", "mark"), [(".scale_weight", True), (".weight_scale", False)])
def test_a_model_and_its_text_encoder_in_scaled_fp8_are_what_they_stand_for(
    ending: str, mark: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = pipeline("flux")
    made.save_pretrained(tmp_path / "folder")
    monkeypatch.setattr(flux, "CONFIGS", tmp_path / "folder")
    files = write_files("flux", made, tmp_path / "files")
    for option in ("pretrained_model_name_or_path", "t5xxl"):
        stored, meant = narrowed(load_file(files[option]), ending, mark)
        save_file(stored, files[option])
        weights = Weights(Path(files[option]), option)
        assert sorted(weights) == sorted(meant)
        assert all(torch.equal(weights[name].float(), meant[name]) for name in meant)
        assert "scaled_fp8" not in weights
    assert recognise(files["pretrained_model_name_or_path"]) == Found("denoiser", "flux")
    name = files.pop("pretrained_model_name_or_path")
    _, parts = loaded(name, **FLUX, **files)
    for module, own in ((parts.denoiser, made.transformer), (parts.text_encoders[1], made.text_encoder_2)):
        for key, tensor in own.state_dict().items():
            torch.testing.assert_close(module.state_dict()[key], tensor, atol=tensor.abs().max().item() / 16, rtol=0.07)


def test_scales_are_of_all_of_rows_or_of_blocks():
    weight = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]).to(FP8)
    assert widened(weight, torch.tensor(2.0)).tolist() == [[2, 4, 6, 8], [10, 12, 14, 16]]
    assert widened(weight, torch.tensor([1.0, 10])).tolist() == [[1, 2, 3, 4], [50, 60, 70, 80]]
    assert widened(weight, torch.tensor([[1.0], [10]])).tolist() == [[1, 2, 3, 4], [50, 60, 70, 80]]
    blocks = torch.tensor([[[1.0], [2]], [[3], [4]]])
    assert widened(weight, blocks).tolist() == [[1, 2, 6, 8], [15, 18, 28, 32]]
    for odd in (torch.ones(3), torch.ones(4, 0), torch.ones(2).to(torch.uint8)):
        with pytest.raises(ValueError, match=r"its scale|a scale of uint8"):
            widened(weight, odd)
    with pytest.raises(ValueError, match="is of int8"):
        widened(torch.ones(2, 2).to(torch.int8), torch.ones(2))


def test_narrow_formats_that_are_not_read_are_named(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    save_file({"a.weight": torch.zeros(2, 2, dtype=torch.uint8), "a.weight_scale_2": torch.ones(1)}, file)
    with pytest.raises(
        Failure, match=r"quantized weights in a format that this version does not read \(a\.weight_scale_2\)"
    ):
        Weights(file, "pretrained_model_name_or_path")
    save_file({"a.weight": torch.zeros(2, 2, dtype=FP8), "a.weight_scale": torch.ones(3)}, file)
    weights = Weights(file, "pretrained_model_name_or_path")
    with pytest.raises(Failure, match=r"scales of a kind that this version does not read: a\.weight has"):
        weights["a.weight"]


@pytest.mark.parametrize(("told", "why"), [('{"format": "mxfp8"}', "in the format 'mxfp8'"), ("{", "cannot be read")])
def test_a_format_that_means_something_else_is_refused(told: str, why: str, tmp_path: Path):
    file = tmp_path / "model.safetensors"
    plain = {"a.weight": torch.ones(2, 2).to(FP8), "a.weight_scale": torch.ones(1)}
    words = {"a.comfy_quant": torch.tensor(list(told.encode()), dtype=torch.uint8)}
    save_file(plain | words, file)
    with pytest.raises(Failure, match=why):
        Weights(file, "pretrained_model_name_or_path")["a.weight"]
    words = {"a.comfy_quant": torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)}
    save_file(plain | words, file)
    assert Weights(file, "pretrained_model_name_or_path")["a.weight"].tolist() == [[1, 1], [1, 1]]


def test_of_a_large_file_no_two_copies_are_held_at_full_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each tensor is brought to the number format of the module before the next is read."""
    made = pipeline("flux")
    stored, _ = narrowed(write_and_load(made, tmp_path), ".scale_weight", True)
    save_file(stored, tmp_path / "files" / "model.safetensors")
    widths: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    plain = single_file.scales.widened

    def watched(weight: Tensor, scale: Tensor) -> Tensor:
        wide = plain(weight, scale)
        alive.append(sum(one() is not None for one in widths))
        widths.append(weakref.ref(wide))
        return wide

    monkeypatch.setattr(single_file.scales, "widened", watched)
    monkeypatch.setattr(flux, "CONFIGS", tmp_path / "folder")
    made.save_pretrained(tmp_path / "folder")
    others = {n: str(tmp_path / "files" / f"{n}.safetensors") for n in ("clip_l", "t5xxl", "flux_vae")}
    loaded(tmp_path / "files" / "model.safetensors", torch.bfloat16, **FLUX, **others)
    assert len(alive) > 20
    assert max(alive) <= 2


def write_and_load(made: object, folder: Path) -> dict[str, Tensor]:
    return load_file(write_files("flux", made, folder / "files")["pretrained_model_name_or_path"])
