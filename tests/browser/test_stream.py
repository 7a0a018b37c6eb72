"""Clicks that are made while Gradio's event stream is being closed, or after it broke off, get their answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import ROOT, Driver, Server

LATE = """
const asking = window.fetch.bind(window);
window.fetch = async (...asked) => {
  const response = await asking(...asked);
  if (!String(asked[0].url ?? asked[0]).includes('/queue/data')) return response;
  const late = new TransformStream({
    async transform(text, controller) {
      const [answers, last] = text.split(/(?=data: {"msg":"close_stream)/);
      controller.enqueue(answers);
      if (!last) return;
      await new Promise((resolve) => setTimeout(resolve, 2000));
      controller.enqueue(last);
    },
  });
  const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(late);
  return new Response(body.pipeThrough(new TextEncoderStream()), response);
};
"""
"""A connection on which the server's last word takes two seconds longer than its answers."""


def test_a_click_while_the_stream_closes_is_answered(browser: Browser, server: Server) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(LATE)
    driver = Driver(page, server.url)
    for _ in range(3):
        driver.button("Check").click()
        expect(page.locator("#findings")).to_contain_text("No output folder is chosen.")
        driver.button("Try it now").click()  # while the word is on its way
        expect(driver.button("Undo Try it now")).to_be_visible()
        driver.button("Undo Try it now").click()
    context.close()


BROKEN = """
let told;
window.fetch = async (url) => {
  if (url.includes('/queue/join')) return Response.json({event_id: url.split('?')[1]});
  return new Response(new ReadableStream({start: (controller) => (told = controller)}));
};
const tell = (message) => told.enqueue(new TextEncoder().encode('data: ' + JSON.stringify(message) + '\\n\\n'));
const messages = [];
const heard = async () => {
  try {
    const response = await fetch('http://here/queue/data');
    const parts = response.body.pipeThrough(new TextDecoderStream());
    for await (const part of parts) messages.push(JSON.parse(part.slice(5)).msg);
  } catch (error) {
    messages.push(error.name);
  }
  return messages;
};
"""
"""A server of which two clicks are asked, and which tells what a test tells it to."""

FIRST = "tell({msg: 'process_completed', event_id: 'first'});"
SECOND = "tell({msg: 'process_completed', event_id: 'second'});"
TO_ALL = "tell({msg: 'unexpected_error'});"


@pytest.mark.parametrize("breaks", ["told.error(new TypeError('network error'))", "told.close()"])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (FIRST + SECOND, ["process_completed", "process_completed", "close_stream"]),
        (FIRST + TO_ALL, ["process_completed", "unexpected_error", "close_stream"]),
        (FIRST, ["process_completed", "TypeError"]),  # the second click learns of it, and Gradio loads the page anew
    ],
)
def test_a_stream_that_broke_off_is_asked_for_again(browser: Browser, breaks: str, answers: str, expected: list[str]):
    page = browser.new_page()
    page.add_script_tag(content=BROKEN)
    page.add_script_tag(content=Path(ROOT / "ui/assets/stream.js").read_text())
    page.evaluate("Promise.all([fetch('http://here/queue/join?first'), fetch('http://here/queue/join?second')])")
    page.evaluate("void (window.hearing = heard())")
    page.evaluate(f"() => {{ {answers} }}")
    page.wait_for_function(f"messages.length === {answers.count('tell')}")  # an error overtakes what is not yet read
    page.evaluate(f"() => {{ {breaks} }}")
    assert page.evaluate("hearing") == expected
    page.close()
