"""Follows a run in a terminal: a progress bar where there is one, plain lines in a file or pipe."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from engine.runs import process
from engine.runs.events import (
    AnyEvent,
    Checkpoint,
    EventReader,
    Finished,
    Planned,
    Problem,
    Stage,
    Step,
    Warned,
)
from engine.runs.folder import RunFolder

STOPPED_BY_USER = 130
"""Exit code of a run that Ctrl-C ended, as shells have it for interrupted commands."""


def follow(run: RunFolder, reader: EventReader) -> int:
    """Show what the reader finds until the run's engine ends; returns 0 only where the final file was saved.

    Ctrl-C asks the engine to save and stop; a second one ends it at once.
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
                screen.say("Stopping after this step, with what was learned saved. Press Ctrl-C again to end at once.")
                process.stop(run)
            else:
                process.kill(run)
    screen.close()
    return _exit_code(run, screen.last, screen.saved, interrupted)


def _exit_code(run: RunFolder, last: AnyEvent | None, saved: bool, interrupted: int) -> int:
    if isinstance(last, Finished) and last.how == "done" and saved:
        return 0
    if isinstance(last, Finished) and last.how == "stopped":
        return STOPPED_BY_USER
    if not isinstance(last, Finished):
        print(f"The engine died. The end of {run.log_file}:\n{run.log_tail(15)}", file=sys.stderr)
    return STOPPED_BY_USER if interrupted else 1


class _Screen:
    def __init__(self) -> None:
        self.last: AnyEvent | None = None
        self.saved = False
        self._bar: tqdm | None = None
        self._total = 0

    def show(self, event: AnyEvent) -> None:
        self.last = event
        if isinstance(event, Planned):
            self._total = event.total_steps
            self.say(f"{event.total_steps} steps on {event.device}, seed {event.seed}.")
        elif isinstance(event, Stage) and event.name == "loading" and event.total:
            if event.done == 0:
                self.say(f"downloading {event.total / 1e9:.2f} GB")
        elif isinstance(event, Stage) and event.name != "training" and event.done == 0:
            self.say(f"{event.name} {event.detail}".strip())
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Checkpoint):
            self.saved = self.saved or event.final
            self.say(f"saved {event.file}")
        elif isinstance(event, Warned):
            self.say(f"warning: {event.text}")
        elif isinstance(event, Problem):
            self.close()
            print("\n".join(filter(None, [event.what, event.mend])), file=sys.stderr)
        elif isinstance(event, Finished):
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
