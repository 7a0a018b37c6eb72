"""The page in a real browser: how soon it can be used, how soon it answers, and what that costs.

python -m benchmarks.page [ROUNDS]    needs chromium on the PATH

Every figure is of one browser beside one server. Seconds of processors are those of the page's own process, which other
work on the machine hardly changes; seconds by the clock grow with whatever else the machine does.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]

ONE_TEXTBOX = """
import gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    gr.Textbox(label="Text")
page.launch(server_port={port}, quiet=True, ssr_mode=False)
"""

CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

IDLE = 30.0
"""Seconds for which an open page is left alone: some three of its rare looks."""

SETTLED = 1.5
"""Seconds after an action that still count as its own for the processor's time."""

TEXT = "a name of thirty-one characters"

WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({ type: "longtask" });
window.when = (condition, act) => new Promise((done) => {
  const began = performance.now();
  const look = () => {
    if (!condition()) return;
    observer.disconnect();
    clearInterval(often);
    done((performance.now() - began) / 1000);
  };
  const observer = new MutationObserver(look);
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  const often = setInterval(look, 50); // for values of fields, which change without a mutation
  act();
});
window.field = (name) => document.querySelector(`[id="option-${name}"] :is(textarea, input)`);
window.steps = () => document.querySelector("#steps")?.textContent || "";
window.click = (...words) => [...document.querySelectorAll("button")]
  .find((button) => words.includes(button.textContent.trim())).click();
"""

ACTIONS: dict[str, tuple[str, str]] = {
    "Try it now": ("steps().includes('408')", "click('Try it now')"),
    "Undo": ("!steps().includes('408')", "click('Undo Try it now')"),
    "LoRA → DreamBooth": ("field('learning_rate').value === '0.00001'", "click('DreamBooth')"),
    "DreamBooth → LoRA": ("field('learning_rate').value === '0.0001'", "click('LoRA')"),
    "open Parameters": ("field('max_resolution')?.getClientRects().length", "click('Parameters')"),
    "open Advanced": ("field('noise_offset')?.getClientRects().length", "click('Advanced')"),
}
"""What is done, and by what one sees that it is answered.  All fields must have been drawn."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A page's process.  started: seconds from its start until `/` answered."""

    def __init__(self, command: Callable[[int], list[str]], root: Path = ROOT) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        began = time.monotonic()
        self._folder = tempfile.TemporaryDirectory()
        runs = Path(self._folder.name) / "runs"
        environment = os.environ | {"DARKROOM_RUNS": str(runs), "GRADIO_ANALYTICS_ENABLED": "False"}
        self._process = psutil.Popen(
            command(self.port), cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not self._answers():
            time.sleep(0.02)
        self.started = time.monotonic() - began

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                self.size = len(answer.read())
            return True
        except OSError:
            return False

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def darkroom(port: int) -> list[str]:
    return [sys.executable, "app.py", "--headless", "--server_port", str(port)]


def one_textbox(port: int) -> list[str]:
    return [sys.executable, "-c", ONE_TEXTBOX.format(port=port)]


@contextmanager
def opened(url: str, selector: str) -> Iterator[tuple[Page, float]]:
    """(A page in a fresh browser profile, seconds from the request until what the selector names is clickable)."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        page.add_init_script(WATCH)
        began = time.monotonic()
        page.goto(url)
        page.locator(selector).click(trial=True)
        yield page, time.monotonic() - began
        browser.close()


class Meter:
    """What the page's process has spent."""

    def __init__(self, page: Page) -> None:
        self._page, self._devtools = page, page.context.new_cdp_session(page)
        self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent(self) -> float:
        """Seconds of the page's main thread on a processor."""
        told = self._devtools.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in told if metric["name"] == "TaskDuration"))

    def of(self, condition: str, act: str) -> dict[str, float]:
        """seconds until the condition holds, cpu: seconds of the processor, long: the sum of long tasks, in seconds."""
        self._page.evaluate("longTasks.length = 0")
        before = self.spent()
        seconds = self._page.evaluate(f"when(() => {condition}, () => {act})")
        time.sleep(SETTLED)
        long_tasks = self._page.evaluate("longTasks.reduce((sum, one) => sum + one, 0)") / 1000
        return {"seconds": seconds, "cpu": self.spent() - before, "long": long_tasks}


def measured(url: str) -> dict[str, dict[str, float]]:
    """What the page does, by what is done with it."""
    found: dict[str, dict[str, float]] = {}
    with opened(url, "#start") as (page, seconds):
        meter = Meter(page)
        page.wait_for_timeout(2000)
        long_tasks = page.evaluate("longTasks.reduce((sum, one) => sum + one, 0)") / 1000
        found["until Start can be clicked"] = {"seconds": seconds, "cpu": meter.spent(), "long": long_tasks}
        for tab in (
            "Folders",
            "Parameters",
            "Advanced",
            "Basic",
            "Folders",
        ):  # where fields are drawn when they are seen
            page.get_by_role("tab", name=tab, exact=True).locator("visible=true").first.click()
            page.wait_for_timeout(2500)
        for name, (condition, act) in ACTIONS.items():
            found[name] = meter.of(condition, act)
            print(name, found[name], file=sys.stderr, flush=True)
        page.get_by_role("tab", name="Folders", exact=True).locator("visible=true").first.click()
        found["type a name"] = typed(page, meter)
        before = meter.spent()
        page.wait_for_timeout(1000 * IDLE)
        found[f"idle, {IDLE:.0f} s"] = {"cpu": meter.spent() - before}
    return found


def typed(page: Page, meter: Meter) -> dict[str, float]:
    """From the first key on until what hangs on the form has followed the last."""
    field = page.locator('[id="option-output_name"] :is(textarea, input)').first
    field.fill("")
    page.wait_for_timeout(3000)
    page.evaluate("longTasks.length = 0")
    before, began = meter.spent(), time.monotonic()
    field.press_sequentially(TEXT, delay=60)
    keys = time.monotonic() - began
    page.locator("#changed").get_by_text("1 option differs").wait_for(state="attached")
    page.wait_for_function(f"document.querySelector('#changed').textContent.includes({TEXT!r})")
    seconds = time.monotonic() - began
    long_tasks = page.evaluate("longTasks.reduce((sum, one) => sum + one, 0)") / 1000
    return {"seconds": seconds - keys, "cpu": meter.spent() - before, "long": long_tasks}


def main(rounds: int = 3, root: str = str(ROOT)) -> None:
    """root: another checkout, to be measured beside this one."""
    all_found: dict[str, list[dict[str, float]]] = {}
    starts: list[tuple[float, float]] = []
    bases: list[float] = []
    size = 0
    for _ in range(rounds):
        with Server(darkroom, Path(root)) as server:
            size = server.size
            started = server.started
            for name, figures in measured(server.url).items():
                all_found.setdefault(name, []).append(figures)
        with Server(one_textbox) as server:
            starts.append((started, server.started))
            with opened(server.url, "textarea") as (_, seconds):
                bases.append(seconds)
    show(all_found, starts, bases, size)


def show(
    found: dict[str, list[dict[str, float]]], starts: list[tuple[float, float]], bases: list[float], size: int
) -> None:
    def middle(name: str, figure: str) -> str:
        values = [figures[figure] for figures in found[name] if figure in figures]
        return f"{statistics.median(values):.2f}" if values else ""

    print(f"medians of {len(bases)} rounds; one text box can be used after {statistics.median(bases):.2f} s")
    print(f"start until / answers: {statistics.median(s for s, _ in starts):.2f} s, ", end="")
    print(f"one text box {statistics.median(s for _, s in starts):.2f} s")
    print(f"bytes of /: {size:,}\n")
    print("| | seconds | of the processor | in long tasks |\n|---|---|---|---|")
    for name in found:
        print(f"| {name} | {middle(name, 'seconds')} | {middle(name, 'cpu')} | {middle(name, 'long')} |")


if __name__ == "__main__":
    arguments: list[Any] = sys.argv[1:]
    main(*(int(one) if one.isdecimal() else one for one in arguments))
