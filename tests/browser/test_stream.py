"""Clicks that are made while Gradio's event stream is being closed get their answers."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Driver, Server

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
