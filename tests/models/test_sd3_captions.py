"""What Stable Diffusion 3's transformer is told of captions: what sd-scripts' strategy for it gives its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.models.conditioning import Reading
from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.kept_captions import kept_captions
from tests.models.loading import loaded
from tests.models.small import pipeline
from tests.pictures import draw_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd3")
    pipeline("sd3").save_pretrained(folder)
    return folder


def model(folder: Path, t5: bool = True, **changes: Any) -> tuple[Family, Parts]:
    family, parts = loaded(folder, sd3_checkbox=True, **changes)
    if not t5:
        parts.text_encoders, parts.tokenizers = parts.text_encoders[:2], parts.tokenizers[:2]
    for module in parts.modules():
        module.eval()
    return family, parts


@pytest.mark.shows("apply_t5_attn_mask")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("caption", ["star", "a red star above two blue hearts", ""])
def test_what_t5_says_behind_a_captions_end_is_shown_as_it_is(folder: Path, masked: bool, caption: str):
    """sd-scripts gives T5 the mask, and its transformer the states unmasked."""
    family, parts = model(folder, apply_t5_attn_mask=masked, t5xxl_max_token_length=64)
    t5, tokenizer = parts.text_encoders[2], parts.tokenizers[2]
    read = tokenizer([caption], padding="max_length", max_length=64, truncation=True, return_tensors="pt")
    with torch.no_grad():
        expected = t5(read.input_ids, attention_mask=read.attention_mask if masked else None).last_hidden_state
        told = family.encode_text(parts, [caption], Reading())["states"]
    torch.testing.assert_close(told[:, 77:], expected)
    count = int(read.attention_mask.sum())
    assert count < 64
    assert told[:, 77 + count :].abs().sum() > 0


@pytest.mark.parametrize("asked", [64, 256, 512])
def test_without_t5_there_are_77_places_of_zeros(folder: Path, asked: int):
    """sd-scripts' concat_encodings(); diffusers has 256 of them."""
    family, parts = model(folder, t5=False, t5xxl_max_token_length=asked)
    with torch.no_grad():
        told = family.encode_text(parts, ["star", "heart"], Reading())["states"]
    assert told.shape[:2] == (2, 77 + 77)
    assert not told[:, 77:].any()
    form = family.caption_format(parts)
    assert form is not None
    arrays = family.caption_to_file(parts, "star", {"states": told[0], "pooled": torch.zeros(8)})
    assert form.lengths["t5_out"] == len(arrays["t5_out"]) == len(arrays["t5_attn_mask"]) == 77


@pytest.mark.parametrize(("masked", "lacking"), [(True, [0, 1]), (False, [])])
def test_files_in_which_these_places_were_zeros_are_encoded_anew(
    folder: Path, tmp_path: Path, masked: bool, lacking: list[int], monkeypatch: pytest.MonkeyPatch
):
    pictures = sorted(draw_pictures(tmp_path / "img", 2, caption=False).glob("*.png"))
    family, parts = model(folder, apply_t5_attn_mask=masked)
    settings = TrainingSettings().with_values(
        {"sd3_checkbox": True, "sd3_cache_text_encoder_outputs_to_disk": True, "apply_t5_attn_mask": masked}
    )

    def kept() -> Any:
        return kept_captions(
            CaptionEncoder(family, parts, Reading()), settings, pictures=pictures, captions=["a", "b"],
            variations=[settings.captions] * 2, warn=print,
        )  # fmt: skip

    plain = family.caption_format(parts)
    assert plain is not None
    with monkeypatch.context() as patched:
        patched.setattr(type(family), "caption_format", lambda *_: replace(plain, revision=0))
        older = kept()
        for picture, caption in zip(pictures, ["a", "b"], strict=True):
            with torch.no_grad():
                encoded = {name: told[0] for name, told in family.encode_text(parts, [caption], Reading()).items()}
            older._files.write(picture, caption, family.caption_to_file(parts, caption, encoded))
        assert kept().lacking == []
    assert kept().lacking == lacking
