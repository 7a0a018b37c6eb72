"""Texts can be read in both themes: 4.5:1 against what they stand on, as WCAG 2.1 asks (1.4.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs.events import Checkpoint, Finished, Planned, Started
from engine.runs.folder import RunFolder

CONTRAST = """(selector) => {
  const element = [...document.querySelectorAll(selector)].find((one) => one.checkVisibility());
  if (!element) return null;
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (colours) => { // of colours painted one over the other
    canvas.fillStyle = "white";
    canvas.fillRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = [];
  for (let one = element; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
  const text = luminance([...behind, getComputedStyle(element).color]);
  const ground = luminance(behind);
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}"""
"""Relative luminance and contrast: WCAG 2.1's definitions."""

TEXTS = {
    "": [
        "#start", "#check", "#places [role=tab].selected", ".masthead > h1", "#theme", ".overview .badge",
        ".figures dt", ".form-tabs [aria-selected=false]", ".files .copy", ".overview summary",
        ".run-more [data-delete]",
    ],
    "#configuration > button": ["#configuration .info-text"],
}  # fmt: skip
"""What is clicked first, and what is looked at then."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(open_page, tmp_path: Path, theme: str):
    run = RunFolder.create("train", "{}", "cat")
    planned = Planned(total_steps=5, steps_per_epoch=5, seed=1, device="CPU")
    saved = Checkpoint(file=str(tmp_path / "cat.safetensors"), step=5)
    run.writer().write(Started(), planned, saved, Finished(how="stopped"))
    page = open_page()
    page.page.locator("#theme").select_option(theme)
    page.wait_for_status("Stopped")
    page.page.evaluate("document.querySelectorAll('.overview details').forEach((fold) => (fold.open = true))")
    for click, selectors in TEXTS.items():
        if click:
            page.page.locator(click).click()
            page.page.locator(selectors[0]).first.wait_for()
        for _ in range(100):  # colours change over a moment, which is long on a busy machine
            ratios = {selector: page.page.evaluate(CONTRAST, selector) for selector in selectors}
            if are_readable := all(ratio and ratio >= 4.5 for ratio in ratios.values()):
                break
            page.page.wait_for_timeout(100)
        assert are_readable, ratios


def test_what_screen_readers_are_told_of_a_run_and_of_what_was_found(open_page):
    RunFolder.create("train", "{}", "cat").writer().write(Started(), Finished(how="stopped"))
    page = open_page()
    assert page.page.get_by_role("heading", level=1).inner_text() == "Darkroom"
    page.wait_for_status("Stopped")
    assert page.page.get_by_role("progressbar", name="Progress").count() == 1
    page.page.locator("#option-search").fill("noise")
    lines = "[...document.querySelectorAll('#option-hits > *')].map((line) => line.getAttribute('role'))"
    assert set(page.page.evaluate(lines)) == {"option"}
