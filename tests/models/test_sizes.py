"""How many weights a model's parts have, told from its files without loading them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.models.sizes import USUAL, Sizes, sizes_of
from tests.models.files import write_files
from tests.models.loading import loaded
from tests.models.small import FAMILIES
from tests.models.small import pipeline as small


def weights(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in USUAL])
def test_a_folders_parts_have_as_many_weights_as_its_headers_say(family: str, tmp_path: Path):
    made = small(family)
    made.save_pretrained(tmp_path / "model")
    made.save_pretrained(tmp_path / "model", variant="fp16")  # a second copy, as on the hub
    _, parts = loaded(tmp_path / "model")
    found = sizes_of(str(tmp_path / "model"), family)
    assert found is not None
    assert found.vae == weights(parts.vae)
    assert found.text_encoders == tuple(weights(encoder) for encoder in parts.text_encoders)
    # A table of positions is stored, and does not learn.
    assert weights(parts.denoiser) <= found.denoiser <= 1.2 * weights(parts.denoiser)

    file = write_files(family, made, tmp_path / "files")["pretrained_model_name_or_path"]
    of_file = sizes_of(file, family)
    assert of_file is not None
    assert of_file.denoiser == pytest.approx(found.denoiser, abs=100)
    if family in ("sd2", "sdxl", "sdxl-refiner", "sd3"):
        assert of_file.text_encoders == pytest.approx(found.text_encoders)
        assert of_file.vae == pytest.approx(found.vae)
    else:
        assert of_file.text_encoders == USUAL[family].text_encoders


def test_what_cannot_be_looked_into_has_the_usual_size(tmp_path: Path):
    (tmp_path / "model.ckpt").write_bytes(b"x")
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    for source in (tmp_path / "model.ckpt", tmp_path / "broken.safetensors", "someone/model"):
        assert sizes_of(str(source), "sdxl") == USUAL["sdxl"]
    assert sizes_of("someone/model", "hunyuan") is None


def test_the_usual_sizes_are_those_of_the_shipped_configurations():
    from accelerate import init_empty_weights

    from engine.models.sd import StableDiffusion, StableDiffusion2
    from engine.models.sdxl import StableDiffusionXL

    for name, family in {"sd1": StableDiffusion(), "sd2": StableDiffusion2(), "sdxl": StableDiffusionXL()}.items():
        with init_empty_weights():
            made = [piece.make() for piece in family._pieces()]
        assert USUAL[name] == Sizes(weights(made[0]), tuple(weights(m) for m in made[2:]), weights(made[1]))
