"""Runs on what is described otherwise than by folders, and captions on their way into a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from engine.data.batches import Batches, MicroBatch
from engine.models.conditioning import Reading
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.settings.captions import Captions
from engine.settings.from_metadata import from_metadata
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.conditioning import CaptionConditioning
from engine.training.report import Report
from engine.training.train import train
from tests.models.loading import loaded

CONFIG = """
[general]
cache_info = true
[[datasets]]
resolution = 64
batch_size = 2
  [[datasets.subsets]]
  image_dir = "img/2_shapes"
  num_repeats = 2
  caption_prefix = "sks"
[[datasets]]
resolution = [128, 64]
enable_bucket = false
  [[datasets.subsets]]
  image_dir = "other"
  class_tokens = "{a|b} thing"
  enable_wildcard = true
"""


def trained(settings: TrainingSettings) -> History:
    """The run's story, trained in this process: it needs no other to learn from other pictures."""
    run = RunFolder.create("train", settings.model_dump_json(), settings.folders.output_name)
    report = Report(run.writer())
    outcome, _ = train(settings, run, report)
    assert outcome == "done"
    report.flush()
    return History(run).update()


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_a_run_on_a_dataset_config_is_as_long_as_it_says_and_its_file_tells_of_it(
    settings: TrainingSettings, tmp_path: Path
):
    """10 pictures × repeats in twos and 2 in ones: 7 steps of one epoch."""
    (tmp_path / "other").mkdir()
    for number in range(2):
        Image.new("RGB", (96, 96), (number * 90, 0, 0)).save(tmp_path / "other" / f"{number}.png")
    (tmp_path / "img" / "2_shapes" / "00.txt").write_text("star " * 90)
    (tmp_path / "d.toml").write_text(CONFIG)
    history = trained(settings.with_values({"dataset_config": str(tmp_path / "d.toml"), "train_data_dir": ""}))
    assert (history.planned.total_steps, history.planned.steps_per_epoch) == (7, 7)
    assert any("1 of 7 captions is longer than the limit of 75 tokens" in text for text in history.warnings)
    assert "d.toml: cache_info has no effect." in history.warnings
    said = metadata_of(tmp_path / "out" / "shapes.safetensors")
    first, second = json.loads(said["ss_datasets"])
    assert (first["batch_size_per_device"], first["num_train_images"], first["resolution"]) == (2, 10, [64, 64])
    assert (second["batch_size_per_device"], second["num_train_images"], second["resolution"]) == (1, 2, [128, 64])
    assert first["subsets"][0]["caption_prefix"] == "sks"
    assert (second["subsets"][0]["class_tokens"], second["subsets"][0]["enable_wildcard"]) == ("{a|b} thing", True)
    assert "ss_resolution" not in said
    assert json.loads(said["ss_dataset_dirs"])["other"] == {"n_repeats": 1, "img_count": 2}
    again, notes = from_metadata(said, TrainingSettings())
    assert any("differ in batch_size_per_device, resolution" in note for note in notes)
    assert (again.settings.optimizer.train_batch_size, again.settings.captions.caption_prefix) == (2, "sks")


@pytest.fixture(scope="module")
def model():
    return loaded()


def conditioning(model, captions: list[str], variations: list[Captions], steps: int = 10) -> CaptionConditioning:
    return CaptionConditioning(
        CaptionEncoder(*model, Reading()), captions, variations, steps=steps, device=torch.device("cpu")
    )


def test_each_picture_has_its_own_subsets_captions(model):
    told = conditioning(
        model, ["a cat", "a dog\nb"], [Captions(caption_prefix="sks"), Captions(caption_dropout_rate=1)]
    )
    batch = MicroBatch((0, 1, 0), 1.0, 5, epoch=1, step=0)
    assert told.captions_of(batch) == ["sks a cat", "", "sks a cat"]
    with torch.no_grad():
        wanted = model[0].encode_text(model[1], ["sks a cat", "", "sks a cat"], Reading())["states"]
    torch.testing.assert_close(told.of(batch)["states"], wanted)


def test_what_varies_is_read_as_it_is_shown(model):
    told = conditioning(model, ["a cat", "a, b, c"], [Captions(), Captions(token_warmup_step=0.5, keep_tokens=1)])
    shown = [told.captions_of(MicroBatch((1, 0), 1.0, 5, epoch=1, step=step)) for step in (0, 4, 5)]
    assert shown == [["a, b", "a cat"], ["a, b", "a cat"], ["a, b, c", "a cat"]]  # over 5 of the 10 steps
    with torch.no_grad():
        wanted = model[0].encode_text(model[1], shown[0], Reading())["states"]
    torch.testing.assert_close(told.of(MicroBatch((1, 0), 1.0, 5, epoch=1, step=0))["states"], wanted)


def test_a_batch_knows_the_steps_behind_it():
    batches = Batches([1] * 4, 1, 2, seed=1)
    assert [[batch.step for batch in batches.at(step)] for step in (0, 3)] == [[0, 0], [3, 3]]
