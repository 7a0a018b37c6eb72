"""However much there is to say of a run, its files can be saved, and read again."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from engine.data.buckets import Placed
from engine.data.items import Item, Subset
from engine.data.steps import StepPlan
from engine.models.header import read_header
from engine.networks.kohya_format import save_lora
from engine.settings.kohya_json import from_kohya
from engine.settings.sd_scripts_write import to_arguments
from engine.settings.training import TrainingSettings
from engine.training.metadata import LEAST, RunMetadata
from engine.training.metadata_size import MOST, length, within
from tests.models.loading import loaded

PLAN = StepPlan(2, (1,), 1, 1, 1, 2, 2, "epoch")
PLACE = Placed((64, 64), (64, 64))


def sentences(count: int, of: int = 400) -> list[str]:
    """Captions of which no two have a part in common."""
    return [
        f"{number} " + f"a long sentence {number} of a picture "[: of - 8].ljust(of - 8, "x") for number in range(count)
    ]


def metadata(
    captions: list[str], folders: int = 1, network: dict[str, Any] | None = None, **changes: Any
) -> RunMetadata:
    settings = TrainingSettings().for_method("lora").with_values({"output_name": "cat", **changes})
    subset = Subset.of(settings)
    items = [Item(Path(f"/img/{n % folders}_cat/x"), "cat", 1, subset=subset) for n in range(len(captions))]
    facts = {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1"}
    places = [PLACE] * len(captions)
    return RunMetadata(
        settings=settings, family=facts, plan=PLAN, items=items, captions=captions, places=places, seed=42,
        precision="no", network=network or {}, optimizer="AdamW",
    )  # fmt: skip


def saved(said: dict[str, str], file: Path) -> dict[str, str]:
    save_lora({"a.lora_down.weight": torch.ones(4, 4)}, said, file, torch.float16)
    assert read_header(file)
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_long_captions_leave_the_tags_out_and_say_so(tmp_path: Path):
    """As a list of tags they would be 14 MB; 260,000 of 400 letters would be more than safetensors takes."""
    made = metadata(sentences(35_000))
    written = saved(made.at(2, 1), tmp_path / "cat.safetensors")
    assert "ss_tag_frequency" not in written
    assert json.loads(written["ss_dataset_dirs"]) == {"0_cat": {"n_repeats": 1, "img_count": 35_000}}
    (note,) = made.notes
    assert note.startswith("The file's metadata would be longer than 10 MB")
    assert "leaves out ss_tag_frequency." in note
    made.at(2, 1)
    assert made.notes == [note]  # once for a run, not for each of its files
    assert (made.new_notes(), made.new_notes()) == ([note], [])


@pytest.mark.parametrize(
    ("changes", "folders", "network", "left_out"),
    [
        ({"training_comment": "x" * 120_000_000}, 1, {}, "ss_training_comment"),
        ({"metadata_description": 'a "quoted" line\n' * 2_000_000}, 1, {}, "modelspec.description"),
        ({"training_comment": "é" * 4_000_000, "metadata_tags": "ü," * 3_000_000}, 1, {}, "modelspec.tags"),
        ({}, 30_000, {}, "ss_tag_frequency, ss_dataset_dirs"),
        ({}, 1, {"ss_network_args": "y" * 101_000_000}, "ss_network_args"),
    ],
)  # fmt: skip
def test_whatever_is_long_the_file_is_saved_and_says_what_it_leaves_out(
    changes: dict[str, Any], folders: int, network: dict[str, Any], left_out: str, tmp_path: Path
):
    made = metadata(["cat"] * max(folders, 2), folders, network, **changes)
    if folders > 1:
        made.items = [
            Item(Path(f"/img/{'folder' * 60}{n}/x"), "cat", 1, subset=item.subset) for n, item in enumerate(made.items)
        ]
    written = saved(made.at(2, 1), tmp_path / "cat.safetensors")
    assert (tmp_path / "cat.safetensors").stat().st_size < MOST + 100_000
    assert written["ss_base_model_version"] == "sd_v1"
    assert f"it leaves out {left_out}" in made.notes[0]


def test_the_tags_of_a_usual_training_set_stay(tmp_path: Path):
    captions = [f"1girl, solo, tag {number % 3000}, {number % 7} flowers, é" for number in range(20_000)]
    made = metadata(captions)
    written = saved(made.at(2, 1), tmp_path / "cat.safetensors")
    tags = json.loads(written["ss_tag_frequency"])["0_cat"]
    assert (tags["1girl"], tags["é"], len(tags)) == (20_000, 20_000, 3 + 3000 + 7)
    assert made.notes == []


@pytest.mark.parametrize("text", ["plain", 'with "quotes" and \\', "é ü 猫", "\n\t\x00\x1f", "😀" * 9])
def test_a_texts_length_is_what_it_has_in_the_file(text: str, tmp_path: Path):
    def file_length(said: dict[str, str]) -> int:
        save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors", said)
        return len((tmp_path / "x.safetensors").read_bytes()[8:].rpartition(b"}")[0])

    assert length(text) - 2 == file_length({"key": text}) - file_length({"key": ""})


def test_within_takes_the_least_missed_first():
    said = {"ss_tag_frequency": "a" * 50, "ss_datasets": "b" * 50, "ss_seed": "1", "modelspec.title": "c" * 60}
    assert within(said, 1000) == (said, [])
    assert within(said, 200)[1] == ["ss_tag_frequency"]
    assert within(said, 130)[1] == ["ss_tag_frequency", "ss_datasets"]
    assert within(said, 30)[1] == ["ss_tag_frequency", "ss_datasets", "modelspec.title"]


@pytest.mark.parametrize("count", [40_000, 80_000])
def test_counting_captions_takes_no_more_memory_than_the_file_could_hold(count: int):
    """However many there are: the list of 80,000 would be 32 MB, beside what it takes to count them."""
    made = metadata(["cat"] * 2)
    made.items, made.places, made.captions = made.items[:1] * count, [PLACE] * count, sentences(count)
    tracemalloc.start()
    try:
        assert "ss_tag_frequency" not in made.at(2, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - 80 * count < 2.5 * MOST  # 80 bytes for each picture with its caption and its place


@pytest.mark.shows("no_metadata")
@pytest.mark.parametrize("title", ["", "mine"])
def test_no_metadata_leaves_what_programs_need_and_what_its_maker_said(title: str):
    """sd-scripts' list under --no_metadata: version, kind, rank and alpha, beside modelspec's."""
    network = {"ss_network_module": "networks.lora", "ss_network_dim": 8, "ss_network_alpha": 4.0}
    told = {"no_metadata": True, "metadata_title": title, "train_data_dir": "/home/me"}
    made = metadata(["a secret place"] * 2, network=network, **told)
    written = made.at(2, 1)
    assert {key for key in written if key.startswith("ss_")} == set(LEAST) - {"ss_network_args"}
    assert written["modelspec.title"] == (title or "cat")
    assert "secret" not in json.dumps(written)
    assert "/home/me" not in json.dumps(written)
    assert made.notes == []


@pytest.mark.shows("no_metadata")
def test_a_whole_familys_facts_stay_out_too(tmp_path: Path):
    family, parts = loaded()
    made = metadata(["cat"] * 2, no_metadata=True)
    made.family = family.facts(made.settings, parts)
    assert set(saved(made.at(2, 1), tmp_path / "x.safetensors")) == {
        "ss_v2", "ss_base_model_version", "sshs_model_hash", "sshs_legacy_hash", "modelspec.sai_model_spec",
        "modelspec.architecture", "modelspec.implementation", "modelspec.prediction_type", "modelspec.date",
        "modelspec.implementation_version", "modelspec.resolution", "modelspec.title",
    }  # fmt: skip


@pytest.mark.shows("no_metadata")
def test_no_metadata_is_said_as_sd_scripts_says_it():
    typed = from_kohya({"additional_parameters": "--no_metadata --lowram"}).settings
    assert typed.metadata.no_metadata
    assert to_arguments(typed).arguments["no_metadata"] is True
    assert "no_metadata" not in to_arguments(TrainingSettings()).arguments
