"""Follows a run: with a progress bar in a terminal, with plain lines in a file or pipe."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from tqdm import tqdm

from engine.runs import process
from engine.runs.events import (
    AnyEvent,
    Captioned,
    Checkpoint,
    EventReader,
    Finished,
    LeftOut,
    Planned,
    Problem,
    Progress,
    Result,
    Stage,
    Step,
    Validated,
    Warned,
)
from engine.runs.folder import RunFolder

LONGEST_LEFT = 1e9
"""Seconds, some thirty years, beyond which no time is shown."""

STOPPED_BY_USER = 130
"""Exit code of a run ended by Ctrl-C, as shells use for interrupted commands."""


def follow(run: RunFolder, reader: EventReader) -> int:
    """Show what the reader finds until the run's engine ends.

    Returns 0 only if everything was done: the final file saved, no picture left out by a utility.

    Ctrl-C asks the engine to save and stop; a second one kills it.
    """
    screen = _Screen()
    interrupted = 0
    while True:
        try:
            alive = run.is_alive()
            for event in reader.read():
                screen.show(event)
            if not alive:
                break
            process.reap()
            time.sleep(0.2)
        except KeyboardInterrupt:
            interrupted += 1
            if interrupted == 1:
                screen.say("Stopping after this step and saving. Press Ctrl-C again to quit immediately.")
                process.stop(run)
            else:
                process.kill(run)
    screen.close()
    return _exit_code(run, screen.last, screen.is_whole, interrupted)


def _exit_code(run: RunFolder, last: AnyEvent | None, is_whole: bool, interrupted: int) -> int:
    if isinstance(last, Finished) and last.how == "done" and is_whole:
        return 0
    if isinstance(last, Finished) and last.how == "stopped":
        return STOPPED_BY_USER
    if run.is_gone:
        print(
            f"The folder of the run {run.name} was deleted, so the run stops. What it has learned so far is saved in "
            "the output folder.",
            file=sys.stderr,
        )
    elif not isinstance(last, Finished):
        print(f"The engine crashed. The end of {run.log_file}:\n{run.log_tail(15)}", file=sys.stderr)
    return STOPPED_BY_USER if interrupted else 1


class _Screen:
    def __init__(self) -> None:
        self.last: AnyEvent | None = None
        self._final_file_lacks = False
        self._left_out: list[LeftOut] = []
        self._bar: tqdm | None = None
        self._total = 0

    @property
    def is_whole(self) -> bool:
        """Whether the run did everything it was asked to."""
        return not self._final_file_lacks and not self._left_out

    def show(self, event: AnyEvent) -> None:
        self.last = event
        if isinstance(event, Planned):
            self._total = event.total_steps
            self._final_file_lacks = True
            self.say(f"{event.total_steps} steps on {event.device}, seed {event.seed}.")
        elif isinstance(event, Stage) and event.name == "loading" and event.total:
            if event.done == 0:
                self.say(f"downloading {event.total / 1e9:.2f} GB")
        elif isinstance(event, Stage) and event.name not in ("training", "working", "validating") and event.done == 0:
            self.say(f"{event.words} {event.detail}".strip())
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Validated) and event.loss is not None:
            self.say(f"validation loss {event.loss:.4f} after step {event.step}")
        elif isinstance(event, Checkpoint):
            self._final_file_lacks = self._final_file_lacks and not event.final
            self.say(f"saved {event.file}")
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, LeftOut):
            self._left_out.append(event)
        elif isinstance(event, Captioned):
            self.say(f"{event.file}, {event.captioner}: {event.caption}")
        elif isinstance(event, Result):
            self.say("\n".join([event.text, *event.lines]))
        elif isinstance(event, Warned):
            self.say(f"warning: {event.text}")
        elif isinstance(event, Problem):
            self.close()
            print("\n".join(filter(None, [event.what, event.mend])), file=sys.stderr)
        elif isinstance(event, Finished):
            for left_out in self._left_out:
                self.say(f"left out {left_out.file}: {left_out.why}")
            self.say(event.how)

    def say(self, text: str) -> None:
        tqdm.write(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _step(self, event: Step) -> None:
        if not sys.stdout.isatty():
            if event.step % max(1, self._total // 20) == 0 or event.step == self._total:
                self.say(f"step {event.step}/{self._total}  loss {event.smoothed_loss:.4f}")
            return
        if self._bar is None:
            self._bar = tqdm(total=self._total, unit="step", file=sys.stdout)
        self._bar.set_postfix(loss=f"{event.smoothed_loss:.4f}", refresh=False)
        self._bar.update(event.step - self._bar.n)

    def _progress(self, event: Progress) -> None:
        if not sys.stdout.isatty():
            left = f", {timedelta(seconds=round(min(event.eta, LONGEST_LEFT)))} left" if event.eta else ""
            self.say(f"{event.done} of {event.total} {event.unit}{left}")
            return
        if self._bar is None:
            self._bar = tqdm(total=event.total, initial=event.done, unit=f" {event.unit}", file=sys.stdout)
        self._bar.update(event.done - self._bar.n)
