"""The page beside a Gradio app of one text box: start, size, and time until it can be used.

python -m benchmarks.page [ROUNDS]    needs chromium on the PATH
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
from collections.abc import Callable
from pathlib import Path

import psutil

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A page's process.  started: seconds from its start until `/` answered."""

    def __init__(self, command: Callable[[int], list[str]]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as runs:
            environment = os.environ | {"DARKROOM_RUNS": runs, "GRADIO_ANALYTICS_ENABLED": "False"}
            self._process = psutil.Popen(
                command(self.port), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        while not self._answers():
            time.sleep(0.02)
        self.started = time.monotonic() - began

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                self.size = len(answer.read())
            return True
        except OSError:
            return False

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def darkroom(port: int) -> list[str]:
    return [sys.executable, "app.py", "--headless", "--server_port", str(port)]


def one_textbox(port: int) -> list[str]:
    return [sys.executable, "-c", ONE_TEXTBOX.format(port=port)]


def seconds_until_visible(url: str, selector: str) -> float:
    """From the first request until what the selector names can be clicked, in a fresh browser profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        page = browser.new_page()
        began = time.monotonic()
        page.goto(url)
        page.locator(selector).click(trial=True)
        seconds = time.monotonic() - began
        browser.close()
    return seconds


def main(rounds: int = 5) -> None:
    starts: dict[str, list[float]] = {"darkroom": [], "one text box": []}
    visible: dict[str, list[float]] = {"darkroom": [], "one text box": []}
    size = 0
    for _ in range(rounds):
        with Server(darkroom) as server:
            starts["darkroom"].append(server.started)
            size = server.size
            visible["darkroom"].append(seconds_until_visible(server.url, "#start"))
        with Server(one_textbox) as server:
            starts["one text box"].append(server.started)
            visible["one text box"].append(seconds_until_visible(server.url, "textarea"))
    start, start_base = (statistics.median(values) for values in starts.values())
    seen, seen_base = (statistics.median(values) for values in visible.values())
    print(f"medians of {rounds} rounds, taken in turn")
    print(f"start until / answers: {start:.2f} s, one text box {start_base:.2f} s, ratio {start / start_base:.2f}")
    print(f"bytes of /: {size:,}")
    print(f"until Start can be clicked: {seen:.2f} s, one text box {seen_base:.2f} s, ratio {seen / seen_base:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
