"""A real page in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.runs import process
from engine.runs.folder import all_runs

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "tests" / "screenshots"
PATIENCE = 180_000
"""Milliseconds: two cores may be busy with a training."""

expect.set_options(timeout=PATIENCE)

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Server:
    """The page's own process, to be stopped and started like a user's."""

    def __init__(self, runs: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._environment = os.environ | {"DARKROOM_RUNS": str(runs)}
        self.url = f"http://127.0.0.1:{self._port}/"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "app.py", "--headless", "--server_port", str(self._port)]
        self.process = psutil.Popen(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        line = ""
        while "Running on local URL" not in line:
            line = self.process.stdout.readline()
            assert line, "the page did not start"
        assert self.url.rstrip("/") in line
        threading.Thread(target=deque, args=(self.process.stdout, 0), daemon=True).start()  # a full pipe would stop it
        urllib.request.urlopen(self.url, timeout=30).close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server has beside its runs: as empty at the beginning of each test as on the first day."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's runs, and no others; for all tests the same, since one server looks at it."""
    for entry in home.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (home / "runs").mkdir()
    monkeypatch.setenv("DARKROOM_RUNS", str(home / "runs"))
    return home / "runs"


@pytest.fixture(scope="session")
def lasting_server(home: Path) -> Iterator[Server]:
    """Started for the first test that asks; what it keeps, it keeps in its home."""
    server = Server(home / "runs")
    yield server
    server.stop()


@pytest.fixture
def server(runs: Path, lasting_server: Server) -> Iterator[Server]:
    if lasting_server.process.poll() is not None:
        lasting_server.start()
    yield lasting_server
    for run in all_runs():
        process.kill(run)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Driver:
    """What a user does with the page, by the words that stand on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        # Printed, so that pytest shows it where a test fails: a page that Gradio loads anew, and what made it do so.
        page.on("framenavigated", lambda frame: print("page: went to", frame.url))
        page.on("requestfailed", lambda request: print("page: failed", request.url, request.failure))
        page.on("console", lambda told: print("page:", told.type, told.text) if told.type == "error" else None)
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        expect(page.locator("#start")).to_be_visible()

    def tab(self, *names: str) -> None:
        """Open a tab, then the sub-tab within it."""
        for name in names:
            self.page.get_by_role("tab", name=name, exact=True).locator("visible=true").first.click()

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def field(self, option: str) -> Any:
        """What holds an option's value."""
        return self.page.locator(f'[id="option-{option}"] [name]')

    def choose(self, option: str, choice: str) -> None:
        self.field(option).select_option(choice)

    def open_presets(self, preset: str) -> Any:
        """The entry of a preset in the list of presets, which shuts when its entries change."""
        entry = self.page.get_by_role("option", name=preset, exact=True)
        until = time.monotonic() + PATIENCE / 1000
        while not entry.is_visible():
            assert time.monotonic() < until, self.page.get_by_role("option").all_inner_texts()
            if self.page.locator("#preset input").get_attribute("aria-expanded") != "true":
                self.page.locator("#preset input").click()
            self.page.wait_for_timeout(200)
        return entry

    def open_field(self, option: str) -> None:
        """Open the tabs around an option's field."""
        self.page.evaluate("option => darkroom.goTo(option)", option)

    def value(self, option: str) -> str:
        self.open_field(option)
        return self.field(option).input_value()

    def problem(self, option: str) -> Any:
        return self.page.locator(f"#option-{option} .option-problem")

    def figure(self, name: str) -> str:
        return self.page.locator(f'#overview [data-figure="{name}"]').inner_text()

    def step(self) -> int:
        return int(self.figure("step").split("/")[0])

    def status(self) -> str:
        return self.page.locator("#overview .badge").inner_text()

    def wait_for_status(self, words: str, run: str = "#overview") -> None:
        expect(self.page.locator(f"{run} .badge")).to_have_text(words)

    def wait_for_utility(self, words: str) -> None:
        """The status of the utility's run, which stands apart from that of training."""
        self.wait_for_status(words, "#utility-overview")

    def wait_for_step(self, step: int) -> None:
        until = time.monotonic() + PATIENCE / 1000
        while self.page.locator('#overview [data-figure="step"]').count() == 0 or self.step() < step:
            assert time.monotonic() < until, self.page.locator("#overview").inner_text()
            time.sleep(0.2)

    def points(self) -> int:
        return int(self.page.locator("#chart polyline.smooth").get_attribute("data-points") or 0)

    def samples(self) -> int:
        """Sample pictures that have really been loaded."""
        pictures = self.page.locator("#samples img")
        return sum(pictures.nth(i).evaluate("picture => picture.naturalWidth > 0") for i in range(pictures.count()))

    def said(self) -> str:
        return self.page.locator("#said").inner_text()

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png", full_page=True)


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Any]:
    """Open the page in a browser of its own, with nothing remembered; every page must be free of script errors."""
    opened: list[Driver] = []

    def open_page(url: str = "") -> Driver:
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        opened.append(Driver(context.new_page(), url or server.url))
        return opened[-1]

    yield open_page
    errors = [error for driver in opened for error in driver.errors]
    for driver in opened:
        driver.page.context.close()
    assert not errors
