"""A run as people see it: state, progress, loss, samples, files, log.  Pure functions of a History."""

from __future__ import annotations

import time
from datetime import timedelta
from html import escape

from engine.begin import resume_step
from engine.jobs import JOBS
from engine.runs.folder import RunFolder, Status
from engine.runs.history import History
from engine.runs.listing import ENDED, status_of
from ui import run_care, run_files
from ui.chart import loss_chart
from ui.comparison_view import comparison
from ui.samples_view import gallery

STATUS_WORDS = {
    "starting": "Starting",
    "running": "Training",
    "silent": "Not responding",
    "ending": "Finishing",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
    "died": "The engine crashed",
}

PAUSES = {
    "sampling": "paused: drawing samples", "validating": "paused: measuring", "saving": "paused: saving",
}  # fmt: skip
"""Stages in which no step is made, so that the last steps' speed says nothing."""

WORTH_TELLING = 0.05
"""Share of the time in which steps wait for pictures from which on the page says so."""

MOST_LEFT_OUT = 100

GONE = "The folder of the run {} no longer exists: it was deleted or moved."

LONG_QUIET = 180.0
"""Seconds without a step after which the page says so."""

LONGEST = 1e9
"""Seconds, some thirty years: what is longer is no time that anybody waits for."""

NO_RUN = """<div class="no-run"><p>No run yet.</p>
<p><b>Try it now</b> fills in the form with a small built-in model and pictures of a heart, which the model has never
seen. Then press <b>Start training</b> and watch it learn. It needs no GPU and no download.</p></div>"""


def gone(name: str) -> str:
    """In the place of a run whose folder is not there."""
    ends = "If it was still running, it saves what it has learned and stops. Choose another run, or start one."
    return f'<div class="no-run"><p>{escape(GONE.format(name))}</p><p>{ends}</p></div>'


def overview(history: History | None, status: Status | None = None) -> str:
    """State, progress bar, figures, and what went wrong.  status: where it was found out already."""
    if history is None:
        return NO_RUN
    status = status or history.status
    stopping = status == "running" and history.run.stop_requested()
    what = "step" if history.run.job == "train" else "batch"
    words = f"Stopping after this {what}" if stopping else _stage_words(history, status)
    return (
        f'<div class="overview status-{status}">'
        f'<div class="headline"><span class="badge" data-status="{status}">{status_word(history.run, status)}</span>'
        f'<span class="run-name" title="{escape(history.run.name)}">'
        f'{escape(history.run.title)}</span><span class="stage">{escape(words)}</span></div>'
        f"{_progress(history)}{_figures(history, status)}{_trouble(history, status)}"
        f"{_results(history)}{run_files.files(history, status)}{run_care.care(history, status)}</div>"
    )


def chart(history: History | None) -> str:
    if history is None or history.run.job != "train":
        return ""
    return loss_chart(history.losses, history.total_steps, history.held_out)


def samples(history: History | None) -> str:
    """Its sample pictures; or, of a comparison, the captioners side by side."""
    if history is None:
        return ""
    return comparison(history.run, history.captioned) if history.captioned else gallery(history.run, history.samples)


def log(history: History | None) -> str:
    return history.run.log_tail() if history else ""


def run_choice(run: RunFolder) -> str:
    """How a run is named in the list of runs: with how it ended, for what is said of a living one is soon past."""
    status = status_of(run)
    return f"{run.title} · {status_word(run, status).lower()}" if status in ENDED else run.title


def status_word(run: RunFolder, status: Status) -> str:
    return "Working" if status == "running" and run.job != "train" else STATUS_WORDS[status]


def _stage_words(history: History, status: str) -> str:
    if history.is_behind:
        return f"Reading the history of the run: {history.share_read:.0%}"
    if status == "starting":
        return "Waiting for the engine to start"
    if history.run.job != "train" and status in ENDED:
        return ""
    if history.progress:
        return history.progress.last
    if status == "died":
        return f"At step {_steps(history)}" if history.done_steps else "Before the first step"
    stage = history.stage
    if status in ("done", "stopped", "failed") or (status == "ending" and history.done_steps):
        return f"{_steps(history)} steps" if history.done_steps or history.total_steps else "No steps were run"
    if stage is None:
        return "Checking the settings, the model and the pictures"
    if stage.name == "training":
        return "Training"
    if stage.name == "loading" and stage.total:
        return f"Downloading the model: {stage.done / 1e9:.2f} of {stage.total / 1e9:.2f} GB"
    share = f" {stage.done} of {stage.total}" if stage.total else ""
    return f"{stage.words.capitalize()}{share} {stage.detail}".strip()


def _steps(history: History) -> str:
    """How many are made, of how many where that is known."""
    return f"{history.done_steps} of {history.total_steps}" if history.total_steps else str(history.done_steps)


def _progress(history: History) -> str:
    done, total = history.done_steps, history.total_steps
    stage = history.stage
    if history.progress:
        done, total = history.progress.done, history.progress.total
    elif stage and stage.name in ("loading", "caching", "captions") and not history.last_step:
        done, total = stage.done, stage.total
    percent = 100 * done / total if total else 0
    return (
        f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuenow="{percent:.0f}">'
        f'<i style="width:{percent:.1f}%"></i></div>'
    )


def _figures(history: History, status: Status) -> str:
    figures = _figures_of_training(history, status) or _figures_of_utility(history)
    if not figures:
        return ""
    return (
        '<dl class="figures">'
        + "".join(
            f'<div><dt>{escape(name)}</dt><dd data-figure="{escape(name)}">{escape(value)}</dd></div>'
            for name, value in figures
        )
        + "</dl>"
    )


def _figures_of_utility(history: History) -> list[tuple[str, str]]:
    progress = history.progress
    if progress is None:
        return []
    figures = [(progress.unit, f"{progress.done} / {progress.total}")]
    if progress.per_second:
        figures.append(("speed", _speed(progress.per_second, progress.unit)))
    if progress.eta is not None and progress.done < progress.total:
        figures.append(("time left", _duration(progress.eta)))
    return figures


def _speed(per_second: float, unit: str) -> str:
    return f"{per_second:.2f} {unit}/s" if per_second >= 0.1 else f"{1 / per_second:.0f} s each"


def _figures_of_training(history: History, status: Status) -> list[tuple[str, str]]:
    if history.planned is None:
        return []
    last = history.last_step
    figures = [("step", f"{history.done_steps} / {history.total_steps}")]
    if last:
        rates = " · ".join(f"{rate:.2e}" for rate in dict.fromkeys(last.learning_rates.values()))
        paused = PAUSES.get(history.stage.name, "") if history.stage and status == "running" else ""
        figures += [
            ("epoch", str(last.epoch)),
            ("loss", f"{last.smoothed_loss:.4f}"),
            ("learning rate", rates),
            ("speed", paused or (f"{last.images_per_second:.2f} images/s" if last.images_per_second else "…")),
            ("time left", _duration(last.eta) if last.eta is not None and not paused else "…"),
        ]
    if history.last_validated and (held_out := history.last_validated.loss) is not None:
        figures.insert(3 if last else 1, ("validation loss", f"{held_out:.4f}"))
    if last:
        if last.waiting is not None and last.waiting >= WORTH_TELLING:
            figures.append(("waiting for pictures", f"{last.waiting:.0%} of the time"))
        if history.memory:
            figures.append(("memory", f"{history.memory / 2**30:.2f} GiB"))
    return [*figures, ("device", history.planned.device)]


def _results(history: History) -> str:
    """What a utility left out and why, and what it has to say at the end."""
    parts = []
    for result in history.results:
        lines = "".join(f"<li>{escape(line)}</li>" for line in result.lines)
        parts.append(
            f"<details><summary>{escape(result.text)}</summary><ul>{lines}</ul></details>"
            if lines
            else f'<div class="result">{escape(result.text)}</div>'
        )
    if history.left_out:
        shown = history.left_out[:MOST_LEFT_OUT]
        lines = "".join(f"<li><b>{escape(item.file)}</b> {escape(item.why)}</li>" for item in shown)
        more = len(history.left_out) - len(shown)
        lines += f"<li>… and {more} more; see the log for all of them</li>" if more else ""
        parts.append(f'<div class="left-out">Left out:<ul>{lines}</ul></div>')
    return "".join(parts)


def _trouble(history: History, status: str) -> str:
    parts = [f'<div class="note">{escape(text)}</div>' for text in history.warnings]
    if history.problem:
        parts.append(_box(history.problem.what, history.problem.mend))
    if status == "died":
        smaller = JOBS[history.run.job].smaller if history.run.job in JOBS else "Choose smaller settings"
        parts.append(_box("The engine crashed without a message.", likely_cause(log(history), smaller)))
        parts.append(f"<pre>{escape(chr(10).join(log(history).splitlines()[-12:]))}</pre>")
    if status == "silent":
        parts.append(
            _box(
                "The engine's process exists, but has not responded for a minute.",
                "It may be suspended or out of memory. Wait, or end it now.",
            )
        )
    if status in ("died", "failed", "stopped") and history.run.job != "train":
        parts.append('<div class="note">Resume continues where it left off; finished work is kept.</div>')
    elif status in ("died", "failed", "stopped"):
        step = resume_step(history.run)
        begin = f"from step {step}" if step else "from the beginning, because nothing was saved yet"
        parts.append(f'<div class="note">Resume continues {begin}.</div>')
    if status == "running" and (quiet := seconds_without_news(history)) > LONG_QUIET:
        parts.append(f'<div class="note">No step for {_duration(quiet)}. If this continues, stop the run.</div>')
    return "".join(parts)


def seconds_without_news(history: History) -> float:
    """How long ago the last event of a run in training was; a loop that hangs beats on, but says no more."""
    in_training = history.stage is not None and history.stage.name == "training"
    return time.time() - history.last.time if in_training and history.last else 0.0


def likely_cause(log_text: str, smaller: str) -> str:
    """Why a process ended without a word, by what its log ends with.  smaller: what takes less memory."""
    tail = log_text[-4000:].lower()
    if "out of memory" in tail or "bad_alloc" in tail:
        return f"It ran out of memory. {smaller}, then press Resume."
    if "no space left" in tail:
        return "The disk is full. Free up some space, then press Resume."
    if "cuda error" in tail or "segmentation fault" in tail:
        return "The GPU's driver or a library crashed. Press Resume; if it happens again, restart the computer."
    return (
        "It was most likely killed from outside: by the system when memory ran out, by a power cut, or by hand. Press "
        "Resume to continue from what was saved last."
    )


def _box(what: str, mend: str) -> str:
    return f'<div class="problem-box"><b>{escape(what)}</b> {escape(mend)}</div>'


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if abs(seconds) < LONGEST else "very long"
