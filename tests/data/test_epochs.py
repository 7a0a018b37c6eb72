"""An epoch shows every picture its repeats, no more and no less, whatever buckets, caches and processes there are."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.data.batches import Batches
from engine.data.items import places_of
from engine.data.training_set import training_set
from tests.data.epochs import draw, one_process, settings_of

ROOT = Path(__file__).parents[2]


def shown(processes: list[dict[str, Any]]) -> Counter[int]:
    return Counter(picture for process in processes for step in process["steps"] for batch in step for picture in batch)


@pytest.mark.parametrize("kind", ["memory", "disk", "each time"])
@pytest.mark.parametrize("epoch", [0, 2])
def test_one_process_is_shown_every_picture_its_repeats(tmp_path: Path, kind: str, epoch: int):
    wanted = draw(tmp_path / "img")
    caching = {"cache_latents": kind == "memory", "cache_latents_to_disk": kind == "disk"}
    seen = one_process(tmp_path / "img", 1, epoch, **caching)
    assert shown([seen]) == wanted
    assert {len(batch) for step in seen["steps"] for batch in step} == {1, 2}  # buckets with a rest are among them
    again = one_process(tmp_path / "img", 1, epoch, **caching)
    assert again["steps"] == seen["steps"]
    assert again["asked"] == (0 if kind == "disk" else seen["asked"])


@pytest.mark.parametrize("accumulation", [1, 3, 4])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_several_processes_share_what_one_with_more_accumulation_is_shown(
    tmp_path: Path, processes: int, accumulation: int
):
    wanted = draw(tmp_path / "img")
    items = training_set(settings_of(tmp_path / "img", processes)).items
    buckets = [item.bucket(place) for item, place in zip(items, places_of(items), strict=True)]
    repeats = [item.repeats for item in items]
    assert len(set(buckets)) == 5
    of_rank = [Batches(repeats, 2, accumulation, 7, processes, rank, buckets) for rank in range(processes)]
    alone = Batches(repeats, 2, accumulation * processes, 7, buckets=buckets)
    seen = Counter[int]()
    for step in range(alone.steps_per_epoch):
        together = [batch for each in of_rank for batch in each.at(step) if batch.weight]
        assert sorted(batch.pictures for batch in together) == sorted(batch.pictures for batch in alone.at(step))
        for batch in together:
            assert len({buckets[index] for index in batch.pictures}) == 1
            seen.update(batch.pictures)
    assert [seen[index] for index in range(len(items))] == repeats
    assert sorted(repeats) == sorted(wanted.values())


def assert_captions_are_shared(first: list[dict[str, int]], again: list[dict[str, int]]) -> None:
    """Each is encoded by one process, but for the one that has no file of its own, which all of them need."""
    different, processes = first[0]["different"], len(first)
    assert sum(each["asked"] for each in first) == different + processes - 1
    assert max(each["asked"] for each in first) <= different // processes + 2
    assert [each["asked"] for each in again] == [1] * processes


@pytest.mark.parametrize("processes", [2, 4])
def test_real_processes_share_an_epoch_and_what_is_encoded_for_the_disk(tmp_path: Path, processes: int):
    wanted = draw(tmp_path / "img")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.data.epochs", str(tmp_path / "img"), str(processes)]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "MASTER_PORT": str(port)}, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    told = [json.loads((tmp_path / "img" / f"shown-{rank}.json").read_text()) for rank in range(processes)]
    for kind in ("memory", "disk"):
        of_kind = [each[kind] for each in told]
        assert shown(of_kind) == wanted
        assert len({len(each["steps"]) for each in of_kind}) == 1
    # On disk each picture is encoded by one of them, in memory by all.
    assert sum(each["disk"]["asked"] for each in told) == len(wanted)
    assert [each["memory"]["asked"] for each in told] == [len(wanted)] * processes
    assert max(each["disk"]["asked"] for each in told) <= len(wanted) // processes + 1
    assert [each["stopped captions"]["stopped"] > 0 for each in told] == [True] + [False] * (processes - 1)
    assert_captions_are_shared([each["captions"] for each in told], [each["captions again"] for each in told])
    alone = one_process(tmp_path / "img", 1, 1, cache_latents=True, gradient_accumulation_steps=3 * processes)
    beside = [
        sorted(batch for each in told for batch in each["disk"]["steps"][step])
        for step in range(len(told[0]["disk"]["steps"]))
    ]
    assert beside == [sorted(step) for step in alone["steps"]]
