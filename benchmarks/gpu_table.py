"""Results of rows as Markdown, for RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.gpu_rows import Row, bare_name
from benchmarks.gpu_runner import Result

GIB = 2**30

HEADS = (
    "run", "s/step", "images/s", "beside bare", "of the matrix peak", "estimate", "allocated", "reserved", "nvidia-smi",
    "estimate beside allocated", "first step after",
)  # fmt: skip


def table(machine: dict[str, Any], rows: Sequence[Row], results: Sequence[Result], is_over: bool) -> str:
    """machine: what is said of it at the head.  is_over: no row is to come."""
    of = {result.name: result for result in results}
    lines = [f"{_machine(machine)}{'' if is_over else ' (not all rows have run yet)'}", ""]
    lines += [_line(HEADS), _line("---" for _ in HEADS)]
    lines += [_training(row, of) for row in rows if row.kind in ("train", "bare") and row.name in of]
    others = [said for row in rows if row.name in of and (said := _other(row, of[row.name]))]
    lines += ["", *others] if others else []
    if gone := [f"- {result.name}: {_how(result)}" for result in results if result.status != "done"]:
        lines += ["", "Rows without a figure, or not with all of them:", "", *gone]
    return "\n".join([*lines, "", *NOTES]) + "\n"


NOTES = (
    "s/step by the GPU's own clock, after three warm steps. *of the matrix peak*: all matrix work of a step, with what",
    "checkpointing computes twice, beside the rate of the matrix product. *estimate*: what the product says before the",
    "start; *estimate beside allocated*: the same without what CUDA itself takes, by torch's peak. *first step after*:",
    "seconds from a process with its imports done to the end of its first step, the model made rather than read. The",
    "bare loop has noise for latents and captions, so its memory is that of the steps alone.",
)


def _machine(machine: dict[str, Any]) -> str:
    said = ", ".join(f"{name} {value}".strip() for name, value in machine.items() if value)
    return f"On {said}."


def _training(row: Row, of: dict[str, Result]) -> str:
    result, figures = of[row.name], of[row.name].figures
    took, batch = figures.get("seconds_per_step"), figures.get("batch")
    allocated, estimate = figures.get("allocated"), figures.get("estimate")
    bare = of[bare_name(row)].figures.get("seconds_per_step") if bare_name(row) in of else None
    ratio = took / bare if took and bare else None
    peak = max(one.figures.get("operations_per_second", 0.0) for one in of.values())
    share = figures["operations"] / took / peak if took and peak and "operations" in figures else None
    beside = (estimate - figures["estimate_program"]) / allocated if allocated and estimate else None
    named = f"{row.name}, {row.side}², batch {row.batch}" if row.kind == "train" else row.name
    return _line((
        named if result.status == "done" else f"{named} ({result.status})",
        _number(took, 3), _number(batch / took if batch and took else None, 2), _number(ratio, 2),
        f"{share:.0%}" if share is not None else "", _gib(estimate), _gib(allocated), _gib(figures.get("reserved")),
        _gib(figures.get("process")), _number(beside, 2), _number(figures.get("until_first_step"), 1, " s"),
    ))  # fmt: skip


def _other(row: Row, result: Result) -> str:
    f = result.figures
    if row.kind == "matrix" and "operations_per_second" in f:
        rate, copied = f["operations_per_second"] / 1e12, f.get("copied_per_second", 0) / 1e9
        return f"- {row.name} of {f['side']}²: {rate:.4g} TFLOP/s; copies from main memory {copied:.1f} GB/s"
    if row.kind == "caching" and "images_per_second" in f:
        batch = row.changes["vae_batch_size"]
        return f"- {row.name}, {row.side}², batch {batch}: {f['images_per_second']:.1f} images/s"
    return _pocket(row.name, f) if row.kind == "pocket" and "total_steps" in f else ""


def _pocket(name: str, f: dict[str, Any]) -> str:
    took, first, last = _number(f.get("seconds"), 0), _number(f["loss_at_first"], 4), _number(f["loss_at_last"], 4)
    return (
        f"- {name}: on {f['computed_on']}, {f['total_steps']} steps in {took} s with both starts, "
        f"{_number(f['steps_per_second'], 1)} steps/s; killed after step {f['killed_after']}, went on from "
        f"{f['went_on_from']}; loss {first} at first, {last} at last; {f['steps_done_twice']} steps were done twice, "
        f"their losses at most {_number(f['their_largest_difference'], 6)} apart; {f['last_samples_right']} of the "
        f"last {f['last_samples']} samples show what was asked for"
    )


def _how(result: Result) -> str:
    return f"{result.status}: {result.why}" if result.why else result.status


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _gib(count: float | None) -> str:
    return "" if count is None else f"{count / GIB:.2f} GiB"


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "" if value is None else f"{value:.{digits}f}{unit}"
