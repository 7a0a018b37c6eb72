"""Encoded captions in files: with all of them there, of sd-scripts or our own, no text encoder is asked."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.ahead import Ahead
from engine.data.batches import MicroBatch
from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.source import Source
from engine.models.conditioning import Conditioning, Reading
from engine.models.families import family_of
from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.conditioning import CaptionConditioning
from engine.training.kept_captions import KeptCaptions, kept_captions
from engine.training.read_ahead import Reader
from tests.models.loading import loaded
from tests.models.small import pipeline
from tests.pictures import draw_pictures

OF = {
    "flux": ("flux1_checkbox", "flux1_cache_text_encoder_outputs_to_disk", "_flux_te.npz"),
    "sd3": ("sd3_checkbox", "sd3_cache_text_encoder_outputs_to_disk", "_sd3_te.npz"),
    "lumina": ("lumina_checkbox", "lumina_cache_text_encoder_outputs_to_disk", "_lumina_te.npz"),
}
READING = Reading()
CAPTIONS = ["a cat", "a dog, sitting"]


@pytest.fixture(scope="module", params=["flux", "sd3", "lumina"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Family, Parts]:
    folder = tmp_path_factory.mktemp("model")
    pipeline(request.param).save_pretrained(folder)
    family, parts = loaded(folder, **{OF[request.param][0]: True})
    for module in parts.modules():
        module.eval()
    return request.param, family, parts


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return sorted(draw_pictures(tmp_path, 2, caption=False).glob("*.png"))


def kept_by(model: Any, pictures: list[Path], captions: list[str], **changes: Any) -> KeptCaptions:
    name, family, parts = model
    values = {OF[name][0]: True, OF[name][1]: True, **changes}
    settings = TrainingSettings().with_values(values)
    kept = kept_captions(
        CaptionEncoder(family, parts, READING), settings, pictures=pictures, captions=captions,
        variations=[settings.captions] * len(captions), warn=print,
    )  # fmt: skip
    assert kept
    return kept


def conditioning(model: Any, captions: list[str], kept: KeptCaptions | None, **changes: Any) -> CaptionConditioning:
    _, family, parts = model
    settings = TrainingSettings().with_values(changes)
    variations = [settings.captions] * len(captions)
    encoder, device = CaptionEncoder(family, parts, READING), torch.device("cpu")
    return CaptionConditioning(encoder, captions, variations, steps=9, device=device, kept=kept)


def batch_of(*pictures: int) -> MicroBatch:
    return MicroBatch(pictures, 1.0, 7, 1, 0)


@pytest.mark.shows("flux1_cache_text_encoder_outputs_to_disk", "sd3_cache_text_encoder_outputs_to_disk",
                   "lumina_cache_text_encoder_outputs_to_disk")  # fmt: skip
def test_the_next_run_is_told_the_same_without_its_text_encoders(model: Any, pictures: list[Path], monkeypatch):
    direct = conditioning(model, CAPTIONS, None).of(batch_of(0, 1))
    first = kept_by(model, pictures, CAPTIONS)
    assert first.lacking == [0, 1]
    conditioning(model, CAPTIONS, first)
    monkeypatch.setattr(type(model[1]), "encode_text", None)
    second = kept_by(model, pictures, CAPTIONS)
    assert not second.needs_encoders
    told = conditioning(model, CAPTIONS, second).of(batch_of(0, 1))
    assert set(told) == set(direct)
    for name in direct:
        torch.testing.assert_close(told[name].float(), direct[name].float(), rtol=0, atol=0)


def test_the_file_has_what_sd_scripts_looks_for(model: Any, pictures: list[Path]):
    """The keys by which its strategies for SD 3 and FLUX.1 say whether a file is as expected."""
    kept = kept_by(model, pictures, CAPTIONS)
    conditioning(model, CAPTIONS, kept)
    with np.load(pictures[0].with_name(f"00{OF[model[0]][2]}")) as file:
        arrays = {name: file[name] for name in file.files}
    if model[0] == "lumina":
        assert set(arrays) == {"hidden_state", "attention_mask", "input_ids", "darkroom"}
        assert arrays["attention_mask"].shape == arrays["input_ids"].shape == arrays["hidden_state"].shape[:1]
        assert arrays["attention_mask"].sum() == (arrays["input_ids"] != model[2].tokenizers[0].pad_token_id).sum()
        return
    both = {"t5_out", "t5_attn_mask", "apply_t5_attn_mask", "darkroom"}
    if model[0] == "flux":
        assert set(arrays) == both | {"l_pooled", "txt_ids"}
        assert arrays["txt_ids"].shape == (len(arrays["t5_out"]), 3)
    else:
        assert set(arrays) == both | {"lg_out", "lg_pooled", "clip_l_attn_mask", "clip_g_attn_mask",
                                      "apply_lg_attn_mask"}  # fmt: skip
        assert arrays["lg_out"].shape == (77, 192)  # both CLIPs side by side, not filled up
        assert arrays["clip_l_attn_mask"].shape == (77,)
    assert not arrays["apply_t5_attn_mask"]
    assert arrays["t5_attn_mask"].shape == arrays["t5_out"].shape[:1]


def test_only_what_is_stale_is_encoded_again(model: Any, pictures: list[Path]):
    conditioning(model, CAPTIONS, kept_by(model, pictures, CAPTIONS))
    assert kept_by(model, pictures, ["a cat", "a dog, running"]).lacking == [1]
    name, _, parts = model
    otherwise = {"lumina_system_prompt": "You draw"} if name == "lumina" else {"apply_t5_attn_mask": True}
    values = {OF[name][0]: True, **otherwise, "pretrained_model_name_or_path": "of/no-one"}
    masking = family_of(TrainingSettings().with_values(values))
    assert kept_by((name, masking, parts), pictures, CAPTIONS).lacking == [0, 1]
    weight = next(parts.text_encoders[0].parameters())
    with torch.no_grad():
        weight += 1
        try:
            assert kept_by(model, pictures, CAPTIONS).lacking == [0, 1]
        finally:
            weight -= 1


def test_files_of_sd_scripts_are_used_unless_the_caption_was_changed_since(model: Any, pictures: list[Path]):
    conditioning(model, CAPTIONS, kept_by(model, pictures, CAPTIONS))
    file = pictures[0].with_name(f"00{OF[model[0]][2]}")
    with np.load(file) as ours:
        arrays = {name: ours[name] for name in ours.files if name != "darkroom"}
    np.savez(file, **arrays)
    kept = kept_by(model, pictures, CAPTIONS)
    assert (kept.lacking, kept.foreign) == ([], 1)
    pictures[0].with_suffix(".txt").write_text("a cat")
    os.utime(file, (0, 0))
    assert kept_by(model, pictures, CAPTIONS).lacking == [0]


def test_dropped_captions_are_empty_also_where_the_others_come_from_files(model: Any, pictures: list[Path]):
    kept = kept_by(model, pictures, CAPTIONS, caption_dropout_rate=1.0)
    assert kept.needs_encoders
    told = conditioning(model, CAPTIONS, kept, caption_dropout_rate=1.0).of(batch_of(0, 1))
    empty = conditioning(model, ["", ""], None).of(batch_of(0, 1))
    assert all(torch.equal(told[name], empty[name]) for name in empty)


def test_two_pictures_that_share_a_name_keep_their_own_captions(model: Any, pictures: list[Path]):
    twin = pictures[0].with_suffix(".webp")
    kept = kept_by(model, [pictures[0], twin], CAPTIONS)
    told = conditioning(model, CAPTIONS, kept).of(batch_of(0, 1))
    direct = conditioning(model, CAPTIONS, None).of(batch_of(0, 1))
    assert all(torch.equal(told[name].float(), direct[name].float()) for name in direct)


def test_what_varies_is_not_kept(model: Any, pictures: list[Path]):
    name, family, parts = model
    said: list[str] = []
    settings = TrainingSettings().with_values({OF[name][0]: True, OF[name][1]: True, "shuffle_caption": True})
    plain = settings.with_values({"shuffle_caption": False})
    for values, trained in ((settings, False), (plain, True)):
        each = [values.captions] * 2
        assert not kept_captions(
            CaptionEncoder(family, parts, READING, trained), values, pictures=pictures, captions=CAPTIONS,
            variations=each, warn=said.append,
        )  # fmt: skip
    assert ["varies during the run" in said[0], "is trained" in said[1]] == [True, True]


def test_captions_that_are_alike_are_encoded_once(model: Any, pictures: list[Path], monkeypatch):
    asked: list[str] = []
    encode = type(model[1]).encode_text
    monkeypatch.setattr(
        type(model[1]),
        "encode_text",
        lambda self, parts, texts, *more: asked.extend(texts) or encode(self, parts, texts, *more),
    )
    conditioning(model, ["a cat", "a cat"], kept_by(model, pictures, ["a cat", "a cat"]))
    assert asked == ["a cat"]
    assert kept_by(model, pictures, ["a cat", "a cat"]).lacking == []


def test_what_is_told_is_read_by_the_threads_that_read_pictures_ahead(model: Any, pictures: list[Path], monkeypatch):
    """And of a picture that is gone, the caption of the one in its place."""
    conditioning(model, CAPTIONS, kept_by(model, pictures, CAPTIONS))
    kept = kept_by(model, pictures, CAPTIONS)
    threads, read = set(), KeptCaptions.get

    def get(self: KeptCaptions, index: int) -> Conditioning:
        threads.add(threading.current_thread().name.partition("_")[0])
        return read(self, index)

    monkeypatch.setattr(KeptCaptions, "get", get)
    told = conditioning(model, CAPTIONS, kept)
    latents = Latents([Source(picture, Placed((64, 64), (64, 64))) for picture in pictures], lambda p, _: p)
    pictures[0].unlink()
    ahead = Ahead(Reader(latents, told), iter([batch_of(0, 1), batch_of(1)]))
    first, second = ahead.take(), ahead.take()
    ahead.close()
    assert threads == {"read-ahead"}
    assert first.pictures.pictures == (1, 1)
    direct = conditioning(model, CAPTIONS, None).of(batch_of(1, 1))
    of_both, of_one = told.of(batch_of(1, 1), first.conditioning), told.of(batch_of(1), second.conditioning)
    for name in direct:
        torch.testing.assert_close(of_both[name].float(), direct[name].float(), rtol=0, atol=0)
        torch.testing.assert_close(of_one[name].float(), direct[name][:1].float(), rtol=0, atol=0)


def test_captions_that_vary_are_not_read_ahead(model: Any):
    assert conditioning(model, CAPTIONS, None, shuffle_caption=True).read(batch_of(0)) is None
