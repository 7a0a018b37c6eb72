"""Running a utility in this process, as its engine would."""

from __future__ import annotations

from typing import Any

from engine.jobs import JOBS
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.report import Report
from engine.settings.values import JobSettings


def settings_of(job: str, **values: Any) -> JobSettings:
    return JOBS[job].settings_class()().with_values(values)


def run_job(job: str, run: RunFolder | None = None, **values: Any) -> tuple[tuple[str, int], History]:
    """What the job's function returned, and what it told.  run: to go on with one."""
    settings = settings_of(job, **values)
    run = run or RunFolder.create(job, settings.model_dump_json(), settings.title())
    writer = run.writer()
    outcome = JOBS[job].load()(settings, run, Report(writer))
    writer.close()
    return outcome, History(run).update()
