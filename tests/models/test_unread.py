"""What OpenCLIP's text encoders have in a model's single file and nothing reads is in the file that is saved.

sd-scripts writes logit_scale into SDXL's file where it was in the model's, and leaves of SD 2's file what it does not
train as it was there: logit_scale, text_projection, and the last layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.models import recognise, refiner, sd, sdxl
from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.whole_model_method import WholeModelMethod
from tests.models.files import write_files
from tests.models.loading import loaded
from tests.models.small import REFINERS_LABELS, SETTINGS
from tests.models.small import pipeline as small

PREFIX = {
    "sd2": "cond_stage_model.model.",
    "sdxl": "conditioner.embedders.1.model.",
    "sdxl-refiner": "conditioner.embedders.0.model.",
}
"""What stands before the names of OpenCLIP's encoder in each file."""


@pytest.fixture(params=PREFIX)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def file(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model's single file."""
    made = small(family)
    made.save_pretrained(tmp_path / "small")
    monkeypatch.setitem(sd.CONFIGS, 2, tmp_path / "small")
    for module in (sdxl, refiner):
        monkeypatch.setattr(module, "CONFIGS", tmp_path / "small")
    monkeypatch.setattr(refiner, "BASE", tmp_path / "small")
    monkeypatch.setattr(recognise, "REFINERS_LABELS", REFINERS_LABELS)
    return Path(write_files(family, made, tmp_path / "files")["pretrained_model_name_or_path"])


def extra(family: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What real files have beside what is read."""
    prefix = PREFIX[family]
    found = {f"{prefix}logit_scale": torch.tensor(4.6052)}
    if family == "sd2":
        width = weights[f"{prefix}ln_final.weight"].shape[0]
        layer = f"{prefix}transformer.resblocks."
        found |= {f"{prefix}text_projection": torch.randn(width, width)}
        found |= {n.replace(f"{layer}1.", f"{layer}2."): torch.randn_like(t)
                  for n, t in weights.items() if n.startswith(f"{layer}1.")}  # fmt: skip
    return found


def saved(family: Family, parts: Parts, name: str, file: Path, **changes: Any) -> dict[str, torch.Tensor]:
    settings = TrainingSettings().for_method("dreambooth").with_values({**SETTINGS[name], **changes})
    WholeModelMethod(family, parts, settings, total_steps=1, dtype=torch.float32).save(file, {})
    return load_file(file)


def test_they_are_in_the_saved_file_to_the_same_bits(family: str, file: Path, tmp_path: Path):
    weights = load_file(file)
    source = weights | extra(family, weights)
    save_file(source, file)
    again = saved(*loaded(file), family, tmp_path / "saved.safetensors", save_precision="float")
    assert again.keys() == source.keys()
    assert [name for name, tensor in source.items() if not torch.equal(again[name], tensor)] == []


def test_they_come_in_the_number_format_that_is_asked_for(family: str, file: Path, tmp_path: Path):
    weights = load_file(file)
    added = extra(family, weights)
    save_file(weights | added, file)
    again = saved(*loaded(file), family, tmp_path / "saved.safetensors", save_precision="fp16")
    for name, tensor in added.items():
        assert torch.equal(again[name], tensor.half())


@pytest.mark.parametrize("family", ["sd2", "sdxl"], indirect=True)  # a refiner is known by a safetensors header alone
def test_they_come_from_a_checkpoint_of_torchs_own_format_too(family: str, file: Path, tmp_path: Path):
    weights = load_file(file)
    source = weights | extra(family, weights)
    torch.save({"state_dict": source}, file.with_suffix(".ckpt"))
    read, parts = loaded(file.with_suffix(".ckpt"), **SETTINGS[family])
    again = saved(read, parts, family, tmp_path / "saved.safetensors", save_precision="float")
    assert [name for name, tensor in source.items() if not torch.equal(again[name], tensor)] == []


def test_the_source_file_may_be_gone_by_then(family: str, file: Path, tmp_path: Path):
    weights = load_file(file)
    added = extra(family, weights)
    save_file(weights | added, file)
    read, parts = loaded(file)
    file.unlink()
    assert added.keys() <= saved(read, parts, family, tmp_path / "saved.safetensors", save_precision="float").keys()


def test_a_file_without_them_gets_none(family: str, file: Path, tmp_path: Path):
    names = saved(*loaded(file), family, tmp_path / "saved.safetensors", save_precision="float").keys()
    assert f"{PREFIX[family]}logit_scale" not in names
    if family == "sd2":
        assert f"{PREFIX[family]}text_projection" not in names
        # The last layer, which it does not read, is asked for by programs: it gets a copy of the one before.
        assert f"{PREFIX[family]}transformer.resblocks.2.ln_1.weight" in names


def test_a_folder_has_none_to_keep(family: str, file: Path, tmp_path: Path):
    names = saved(*loaded(tmp_path / "small"), family, tmp_path / "saved.safetensors").keys()
    assert f"{PREFIX[family]}logit_scale" not in names
