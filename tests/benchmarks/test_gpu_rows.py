"""Every row of the GPU benchmark works and has its figures before there is a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.gpu import machine_facts
from benchmarks.gpu_meter import MatrixWork, Meter
from benchmarks.gpu_models import fill, make_skeleton, random_weights
from benchmarks.gpu_rows import FAMILIES, ROWS, bare_name, named, settings_of
from benchmarks.gpu_runner import Result
from benchmarks.gpu_table import table
from engine.failure import Stopped
from engine.models.families import family_of
from engine.models.skeleton import without_weights

ROOT = Path(__file__).parents[2]

WANTED = {
    "matrix": {"operations_per_second", "copied_per_second"},
    "pocket": {"computed_on", "killed_after", "went_on_from", "loss_at_first", "loss_at_last", "last_samples_right",
               "their_largest_difference", "steps_per_second", "seconds"},
    "train": {"seconds_per_step", "steps", "operations", "estimate", "estimate_phases", "until_first_step", "loss",
              "batch"},
    "bare": {"seconds_per_step", "steps", "operations", "until_first_step", "batch"},
    "caching": {"images_per_second", "cached"},
}  # fmt: skip
"""Figures by the kind of row; memory is a GPU's alone."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("rows")
    environment = os.environ | {"DARKROOM_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.every_row", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"row"')]
    return {each["row"]: each["figures"] for each in told}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_has_its_figures(row: Any, figures: dict[str, dict[str, Any]]):
    assert WANTED[row.kind] <= figures[row.name].keys()
    assert "estimate_failed" not in figures[row.name]


def test_the_pocket_model_goes_on_after_the_kill_as_if_there_had_been_none(figures: dict[str, dict[str, Any]]):
    pocket = figures["pocket model: learns, is killed, goes on"]
    assert 0 < pocket["went_on_from"] < pocket["total_steps"]
    assert pocket["steps_done_twice"] > 0
    assert pocket["their_largest_difference"] == 0  # on a CPU, to the bit


@pytest.mark.parametrize("row", [row for row in ROWS if bare_name(row) in {one.name for one in ROWS}],
                         ids=lambda row: row.name)  # fmt: skip
def test_the_bare_loop_does_the_same_work(row: Any, figures: dict[str, dict[str, Any]]):
    """Model, LoRA, shapes and checkpointing are alike, or a ratio of times would say nothing."""
    assert figures[row.name]["operations"] == figures[bare_name(row)]["operations"] > 0


def test_checkpointing_is_at_work(figures: dict[str, dict[str, Any]]):
    """A forward pass is done twice: of a frozen model's forward and backward pass that makes three parts of two."""
    kept, twice = (figures[name]["operations"] for name in ("SDXL LoRA", "SDXL LoRA, checkpointing"))
    assert 1.4 < twice / kept < 1.6


def test_the_table_has_a_line_for_every_row(figures: dict[str, dict[str, Any]]):
    results = [Result(row.name, figures=figures[row.name]) for row in ROWS[:-1]]
    results.append(Result(ROWS[-1].name, "not run", "no time was left"))
    results[2] = Result(ROWS[2].name, "out of memory", "OutOfMemoryError: CUDA out of memory", {"estimate": 2**33})
    text = table(machine_facts("cpu"), ROWS, results, is_over=True)
    lines = text.splitlines()
    assert f"torch {torch.__version__}" in lines[0]
    for row in ROWS:
        assert any(row.name in line for line in lines)
    assert any("(out of memory)" in line and "8.00 GiB" in line for line in lines)
    assert f"- {ROWS[-1].name}: not run: no time was left" in lines
    cells = [line.count("|") for line in lines if line.startswith("|")]
    assert len(set(cells)) == 1
    flux = next(line for line in lines if line.startswith("| FLUX.1 LoRA, checkpointing, 1024²"))
    of = figures["FLUX.1 LoRA, checkpointing"]
    ratio = of["seconds_per_step"] / figures["bare loop: FLUX.1 LoRA, checkpointing"]["seconds_per_step"]
    assert f"| {ratio:.2f} |" in flux
    peak = figures["bf16 matrix product"]["operations_per_second"]
    assert f"| {of['operations'] / of['seconds_per_step'] / peak:.0%} |" in flux


def test_the_command_runs_rows_and_leaves_a_table(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        "--device",
        "cpu",
        "--tiny",
        "--only",
        "matrix",
        "bare loop: FLUX",
    ]
    environment = os.environ | {"OUT": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["status"] for row in rows] == ["done", "done"]
    assert (tmp_path / "table.md").read_text(encoding="utf-8") in done.stdout
    # Eight at the most come back from a lent machine.
    assert {file.name for file in tmp_path.iterdir()} == {"rows.jsonl", "table.md", "log.txt"}


def test_without_a_gpu_it_says_so(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--only", "matrix", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "There is no CUDA device here" in done.stdout


def test_the_command_itself_needs_nothing_that_a_bare_machine_lacks():
    script = "import sys, benchmarks.gpu; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"gradio", "dadaptation", "pytest", "playwright"}
    assert "torch" not in loaded  # each row's process loads it; the one that watches over them need not


# The numbers of weights are those that the models' publishers name, or their files have.
@pytest.mark.parametrize(("family", "denoiser", "encoders"), [
    ("sd1", 859_520_964, [123_060_480]),
    ("sdxl", 2_567_463_684, [123_060_480, 694_659_840]),
    ("flux", 11_901_408_320, [123_060_480, 4_762_310_656]),
])  # fmt: skip
def test_the_models_have_their_full_size(family: str, denoiser: int, encoders: list[int], tmp_path: Path):
    row = next(row for row in ROWS if row.family == family)
    make_skeleton(family, tmp_path / "model", tiny=False)
    settings = settings_of(row, tmp_path, tiny=False)
    with without_weights():
        parts = family_of(settings).load(settings, torch.bfloat16)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (parts.denoiser, *parts.text_encoders)]
    assert sizes == [denoiser, *encoders]


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_are_all_there_and_the_engine_is_as_before(family: str, tmp_path: Path):
    row = next(row for row in ROWS if row.family == family)
    make_skeleton(family, tmp_path / "model", tiny=True)
    settings = settings_of(row, tmp_path, tiny=True)
    kind = family_of(settings)
    before = type(kind).load
    with random_weights(family, "cpu"):
        parts = kind.load(settings, torch.float32)
    assert type(kind).load is before
    for module in parts.modules():
        tensors = [*module.parameters(), *module.buffers()]
        assert not any(tensor.is_meta for tensor in tensors)
        assert all(tensor.isfinite().all() for tensor in tensors)
    own = {parameter.data_ptr() for parameter in parts.denoiser.parameters()}
    assert len(own) == len(list(parts.denoiser.parameters()))  # they may be trained here


def test_for_a_gpu_all_matrices_are_views_of_one_noise(monkeypatch: pytest.MonkeyPatch):
    noise = torch.randn(70_000)
    monkeypatch.setattr("benchmarks.gpu_models._noise", lambda *_: noise)
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 64))
    fill([module], "cuda")
    within = range(noise.data_ptr(), noise.data_ptr() + noise.nbytes)
    first, norm, second = module
    assert first.weight.data_ptr() in within
    assert second.weight.data_ptr() in within
    assert not torch.equal(first.weight, second.weight)
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(first.bias, torch.zeros(64))


def test_matrix_work_is_counted_forth_and_back():
    """A product of (8, 16) and (16, 32) takes 2·8·16·32 operations; its backward pass two products of that size."""
    x, w = torch.randn(8, 16, requires_grad=True), torch.randn(16, 32, requires_grad=True)
    with MatrixWork() as work:
        y = x @ w
        assert work.operations == 2 * 8 * 16 * 32
        y.sum().backward()
    assert work.operations == 3 * 2 * 8 * 16 * 32


def test_rows_are_told_apart_by_name_and_fit_into_their_time():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.needs <= row.limit for row in ROWS)
    assert named(ROWS[0].name) is ROWS[0]


class FakeCard:
    """torch.cuda in so far as a meter asks it: time and memory that the test sets."""

    def __init__(self) -> None:
        self.now, self.peak = 0.0, 0

    def Event(self, enable_timing: bool) -> FakeCard:
        event = FakeCard()
        event.card = self  # type: ignore[attr-defined]
        return event

    def record(self) -> None:
        self.now = self.card.now  # type: ignore[attr-defined]

    def elapsed_time(self, other: FakeCard) -> float:
        return (other.now - self.now) * 1000

    def max_memory_allocated(self) -> int:
        return self.peak

    def max_memory_reserved(self) -> int:
        return self.peak + 5

    def reset_peak_memory_stats(self) -> None:
        self.peak = 0

    def synchronize(self) -> None: ...

    empty_cache = synchronize


def test_on_a_gpu_steps_are_timed_by_its_clock_and_each_stage_has_its_peak(monkeypatch: pytest.MonkeyPatch):
    card, told = FakeCard(), {}
    monkeypatch.setattr("benchmarks.gpu_meter.torch.cuda", card)
    monkeypatch.setattr("benchmarks.gpu_meter.time.perf_counter", lambda: card.now)
    monkeypatch.setattr("benchmarks.gpu_meter._of_this_process", lambda: None)
    meter = Meter("cuda", told.update, seconds=4.0, fewest=4, most=40)
    for stage, peak in (("loading", 1), ("captions", 300), ("training", 200)):
        meter.stage(stage)
        card.peak = peak

    def steps() -> None:
        for number in range(1, 99):
            card.now += 0.5 if number > 2 else 9.0  # the first are slow: kernels are chosen, work is counted
            meter.step()

    with pytest.raises(Stopped):
        steps()
    meter.end()
    assert (told["steps"], told["seconds_per_step"]) == (8, 0.5)  # 8 steps of 0.5 s fill 4 s
    assert told["until_first_step"] == 9.0
    assert told["allocated"] == 300
    assert {"captions": 300, "training": 200}.items() <= told["allocated_by_stage"].items()
    assert told["reserved"] == 305
