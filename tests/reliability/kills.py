"""Kills runs everywhere, resumes them, and compares what they leave with a run that was left alone.

    python -m tests.reliability.kills --kills 100 [--seed 1] [--folder /tmp/kills]

A third of the kills strikes at a moment, a third as a stage begins, a third just before a change of a file. A run is
killed up to three times in a row before it may end. It must then have the same bits in all files, the same losses,
validation losses and samples, and nothing beside them: no file that is hidden or half, none that lacks.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import begin
from engine.demo.demo import MODEL_FOLDER
from engine.runs import process
from engine.runs.events import Finished, Stage, Started
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.saved_state import tidy_done_runs
from engine.settings.training import Method, TrainingSettings
from tests.pictures import draw_pictures

KILLER = Path(__file__).with_name("killer")
PATIENCE = 600.0
MOST_KILLS_OF_A_RUN = 3
STAGES = ("loading", "caching", "captions", "training", "validating", "sampling", "saving")

COMMON: dict[str, Any] = {
    "pretrained_model_name_or_path": str(MODEL_FOLDER), "output_name": "shapes", "max_resolution": "64,64",
    "network_dim": 4, "network_alpha": 4, "learning_rate": 1e-3, "unet_lr": 1e-3, "optimizer": "AdamW",
    "mixed_precision": "no", "num_cpu_threads_per_process": 1, "seed": 7, "save_precision": "float",
    "sample_prompts": "a red circle --s 1 --d 1\na blue square --s 1 --d 2", "lr_scheduler": "cosine",
    "max_data_loader_n_workers": 0,
}  # fmt: skip

SCENARIOS: dict[str, tuple[Method, dict[str, Any]]] = {
    # Numbered by step and by epoch, older ones deleted with their states, latents on disk, captions encoded at once.
    "lora": ("lora", {
        "epoch": 2, "text_encoder_lr": 0.0, "cache_latents": True, "cache_latents_to_disk": True,
        "save_every_n_steps": 3, "save_every_n_epochs": 1, "save_state": True, "save_state_on_train_end": True,
        "save_last_n_steps": 6, "sample_every_n_steps": 6, "sample_at_first": True, "validation_split": 0.2,
        "validate_every_n_steps": 6,
    }),
    # Folders for diffusers that are written again and again, averages beside them, the text encoder learns too.
    "whole": ("dreambooth", {
        "epoch": 1, "learning_rate_te": 1e-4, "save_model_as": "diffusers_safetensors", "save_every_n_steps": 4,
        "save_every_n_epochs": 0, "save_last_n_steps": 4, "save_state": True, "sample_every_n_steps": 4,
        "ema": True, "ema_every_n_steps": 3,
    }),
    # Small files that are no safetensors, with a network whose dropout and whose count of steps go on.
    "hypernetwork": ("hypernetwork", {
        "max_train_steps": 9, "hypernetwork_structure": "1, 2, 2, 1", "hypernetwork_dropout": "0.2",
        "save_every_n_steps": 2, "save_last_n_steps": 4, "save_state": True, "ema": True, "sample_every_n_steps": 4,
    }),
    # Without pictures, at strengths of both signs.
    "leco": ("leco", {
        "max_train_steps": 9, "leco_target": "a circle", "leco_positive": "a red circle", "leco_action": "slide",
        "max_denoising_steps": 4, "save_every_n_steps": 3, "save_state": True, "ema": True, "ema_save": "instead",
        "sample_every_n_steps": 3,
    }),
    # Two words in files of their own, guided between them.
    "words": ("textual_inversion", {
        "max_train_steps": 6, "token_string": "zig", "dreamartist": True, "negative_vectors": 2,
        "caption_template": "style template", "save_every_n_steps": 2, "save_state": True, "ema": True,
    }),
    # Nothing on the way: where it is killed before its first state, it begins again.
    "short": ("lora", {"max_train_steps": 4, "text_encoder_lr": 1e-3, "cache_latents": False}),
}  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """how: "moment" (after so many seconds), "stage" (its name, and seconds after that), "change" (which one)."""

    how: str
    at: float
    stage: str = ""


@dataclass
class Left:
    """What a run left: the digest of each file by its path, and what it told."""

    files: dict[str, str]
    losses: list[tuple[int, float | None]]
    validated: list[tuple[int, float | None]]
    samples: list[tuple[int, int]]

    def differences(self, other: Left) -> Iterator[str]:
        for name in sorted(self.files.keys() ^ other.files.keys()):
            yield f"{name} is {'lacking' if name in self.files else 'left over'}"
        for name in sorted(self.files.keys() & other.files.keys()):
            if self.files[name] != other.files[name]:
                yield f"{name} has other bits"
        for what in ("losses", "validated", "samples"):
            if getattr(self, what) != getattr(other, what):
                yield f"the {what} differ"


@dataclass
class Scenario:
    """A kind of run, in a folder of its own.  changes: of files, in one that is left alone.  took: its seconds."""

    name: str
    root: Path
    changes: int = 0
    took: float = 0.0
    alone: Left = field(default_factory=lambda: Left({}, [], [], []))

    def learn(self) -> None:
        """Let one run alone."""
        self.root.mkdir(parents=True)
        place, counted, began = self.root / "alone", self.root / "changes", time.monotonic()
        with killed_at(0, place, counted):
            run = self.begin(place)
            assert process.wait(run, PATIENCE), run.log_tail()
        self.took, self.changes = time.monotonic() - began, int(counted.read_text())
        assert run.status_now() == "done", run.log_tail()
        self.alone = left_by(run, place)

    def begin(self, place: Path) -> RunFolder:
        method, changes = SCENARIOS[self.name]
        draw_pictures(place / "img" / "2_shapes", 5)
        told = {"train_data_dir": str(place / "img"), "output_dir": str(place / "out")}
        settings = TrainingSettings().with_values(COMMON | changes | told).model_copy(update={"method": method})
        os.environ["DARKROOM_RUNS"] = str(place / "runs")
        checked, run = begin.begin(settings)
        assert run, [problem.sentences for problem in checked.problems]
        return run

    def any_kill(self, chance: random.Random) -> Kill:
        match chance.randrange(3):
            case 0:
                return Kill("moment", chance.uniform(0.0, self.took))
            case 1:
                return Kill("stage", chance.choice([0.0, 0.02, 0.1]), chance.choice(STAGES))
            case _:
                return Kill("change", chance.randint(1, self.changes))


@contextmanager
def killed_at(change: int, place: Path, counts: Path | str = "") -> Iterator[None]:
    """Engines that are started within the block are killed before this change of a file (0: never)."""
    watched = os.pathsep.join(str(place / name) for name in ("runs", "out", "img"))
    told = {
        "PYTHONPATH": str(KILLER), "KILLER_AT": str(change), "KILLER_WATCHES": watched, "KILLER_COUNTS": str(counts),
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def left_by(run: RunFolder, place: Path) -> Left:
    story = History(run).update()
    stamp = f"{run.created:%Y%m%d%H%M%S}"
    files = {
        str(file.relative_to(place)).replace(run.name, "RUN").replace(stamp, "TIME"): digest(file)
        for folder in ("out", "img", "runs")
        for file in (place / folder).rglob("*")
        if file.is_file()
    }
    told_otherwise = ("events.jsonl", "log.txt", "process.json", "heartbeat", "lock", "settings.json", "control.jsonl")
    return Left(
        {name: bits for name, bits in files.items() if not name.endswith(told_otherwise)},
        [(step.step, step.loss) for step in story.steps],
        [(validated.step, validated.loss) for validated in story.validated],
        sorted({(sample.step, sample.prompt_index) for sample in story.samples}),
    )


def digest(file: Path) -> str:
    """Of the bits; of what names the run or the time in it, that it is there."""
    if file.suffix in (".pt", ".npz") or file.name in ("progress.json", "model_index.json"):
        return "there" if file.stat().st_size else "empty"
    data = file.read_bytes()
    if file.suffix == ".safetensors":
        data = data[8 + int.from_bytes(data[:8], "little") :]  # behind the header, which tells when it was trained
    return hashlib.sha256(data).hexdigest()


def strike(run: RunFolder, kill: Kill, events_before: int) -> str:
    """Kill the engine that was just started; returns in which stage, or nothing where it ended before that."""
    if kill.how == "moment":
        time.sleep(kill.at)
    elif kill.how == "stage":
        until = time.monotonic() + PATIENCE
        while run.is_alive() and kill.stage not in stages_since(run, events_before) and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(kill.at)
    if kill.how == "change":
        assert process.wait(run, PATIENCE), run.log_tail()
    else:
        for engine in process.processes_of(run):
            engine.kill()
        assert process.wait(run, 30.0)
    since = told_since(run, events_before)
    if since and isinstance(since[-1], Finished):
        return ""
    stages = stages_since(run, events_before)
    if not any(isinstance(event, Started) for event in since):
        return "importing"
    return stages[-1] if stages else "beginning"


def told_since(run: RunFolder, events_before: int) -> list[Any]:
    reader = run.events()
    reader._offset = events_before
    return reader.read()


def stages_since(run: RunFolder, events_before: int) -> list[str]:
    return [event.name for event in told_since(run, events_before) if isinstance(event, Stage)]


@dataclass
class Tally:
    kills: int = 0
    runs: int = 0
    resumed: int = 0
    by_stage: Counter[str] = field(default_factory=Counter)
    by_how: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"{self.kills} kills in {self.runs} runs, resumed {self.resumed} times, {len(self.faults)} faults"
        yield "struck: " + ", ".join(f"{how} {count}" for how, count in sorted(self.by_how.items()))
        yield "while: " + ", ".join(f"{stage} {count}" for stage, count in self.by_stage.most_common())
        yield from self.faults


def torment(scenario: Scenario, chance: random.Random, most: int, tally: Tally) -> None:
    """One run: killed up to `most` times, resumed each time, and compared at its end."""
    place = scenario.root / f"run-{tally.runs}"
    kills: list[Kill] = []
    run: RunFolder | None = None
    tally.runs += 1
    for number in range(most + 1):
        kill = scenario.any_kill(chance) if number < most else Kill("never", 0.0)
        events_before = run.events_size() if run else 0
        with killed_at(int(kill.at) if kill.how == "change" else 0, place):
            try:
                if run is None:
                    run = scenario.begin(place)
                else:
                    begin.resume(run)
                    tally.resumed += 1
            except begin.CannotResume as refused:
                tally.faults.append(f"{scenario.name} {kills}: cannot be resumed: {refused}")
                return
            if kill.how == "never":
                assert process.wait(run, PATIENCE), run.log_tail()
                break
            stage = strike(run, kill, events_before)
        if not stage:
            break  # it was done before the kill struck
        kills.append(kill)
        tally.kills += 1
        tally.by_stage[stage] += 1
        tally.by_how[kill.how] += 1
        if run.status_now() == "done":
            break
    if run.status_now() != "done":
        tally.faults.append(f"{scenario.name} {kills}: {run.status_now()}: {run.log_tail(3)}")
        return
    tidy_done_runs()
    differences = list(scenario.alone.differences(left_by(run, place)))
    if differences:
        tally.faults.append(f"{scenario.name} {kills}: {'; '.join(differences[:6])}")
    else:
        shutil.rmtree(place)


def torment_all(kills: int, seed: int, folder: Path, names: list[str], says: bool = False) -> Tally:
    chance, tally = random.Random(seed), Tally()
    scenarios = [Scenario(name, folder / name) for name in names]
    for scenario in scenarios:
        scenario.learn()
        if says:
            print(f"{scenario.name}: {scenario.changes} changes of files, {scenario.took:.0f} s", flush=True)
    while tally.kills < kills:
        scenario = scenarios[tally.runs % len(scenarios)]
        torment(scenario, chance, min(MOST_KILLS_OF_A_RUN, kills - tally.kills), tally)
        if says:
            print(next(tally.lines()), *tally.faults[-1:], flush=True)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where the runs lie; those with a fault stay")
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    told = parser.parse_args()
    folder = told.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    tally = torment_all(told.kills, told.seed, folder, told.scenarios, says=True)
    print(*tally.lines(), sep="\n")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
