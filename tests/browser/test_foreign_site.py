"""A foreign web site, open in the same browser as the page, reads nothing, changes nothing and sends nothing.

Its name leads to this machine, as a name does after DNS rebinding: Chromium is told so.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.browser.conftest import FLAGS, PATIENCE
from tests.launched import LaunchedPage

FOREIGN_NAMES = ("evil.test", "localhost.evil.test", "127.0.0.1.evil.test")
MAPPED = f"--host-resolver-rules={', '.join(f'MAP {name} 127.0.0.1' for name in FOREIGN_NAMES)}"

ATTACK = """async (target) => {
  const tried = async (path, options) => {
    try {
      const answer = await fetch(target + path, options);
      return [answer.status, (await answer.text()).slice(0, 100_000)];
    } catch (error) {
      return [0, String(error)];
    }
  };
  const file = () => {
    const form = new FormData();
    form.append("files", new File(["stolen"], "planted.png"));
    return form;
  };
  const call = JSON.stringify({ data: [], fn_index: 0, session_hash: "foreign" });
  const json = { "Content-Type": "application/json" };
  const shown = (tag, path) => new Promise((resolve) => {
    const element = document.createElement(tag);
    element.onload = () => resolve(true);
    element.onerror = () => resolve(false);
    element.src = target + path;
    document.body.append(element);
  });
  return {
    start: await tried("/"),
    config: await tried("/config"),
    withCookies: await tried("/config", { credentials: "include" }),
    join: await tried("/gradio_api/queue/join", { method: "POST", headers: json, body: call }),
    predict: await tried("/gradio_api/run/predict", { method: "POST", headers: json, body: call }),
    upload: await tried("/gradio_api/upload", { method: "POST", body: file() }),
    blindUpload: await tried("/gradio_api/upload", { method: "POST", mode: "no-cors", body: file() }),
    blindJoin: await tried("/gradio_api/queue/join", { method: "POST", mode: "no-cors", body: call }),
    picture: await shown("img", "/gradio_api/file=" + PICTURE),
    script: await shown("script", "/config"),
  };
}"""

FORM = """([target, name]) => {
  document.body.innerHTML = `<form method="post" enctype="multipart/form-data" action="${target}/gradio_api/upload">
    <input type="file" name="files"></form>`;
  const files = new DataTransfer();
  files.items.add(new File(["stolen"], name));
  document.querySelector("input").files = files.files;
  document.querySelector("form").submit();
}"""


class ForeignSite(BaseHTTPRequestHandler):
    """A page with nothing on it, in which the tests run their scripts; /framed/URL has a frame of what URL leads to."""

    def do_GET(self) -> None:
        frame = self.path.partition("/framed/")[2]
        body = f"<title>evil</title><body>{f'<iframe src={frame}></iframe>' if frame else ''}</body>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of the foreign site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ForeignSite)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedPage]:
    page = LaunchedPage(tmp_path_factory.mktemp("page"))
    page.wait_until_it_runs()
    yield page
    page.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, MAPPED])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def picture(page: LaunchedPage) -> Path:
    """One that the page itself may show."""
    from PIL import Image

    path = page.folder / "runs" / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


def planted(page: LaunchedPage) -> list[Path]:
    return list(page.temporary.rglob("*planted*"))


def attack(tab: Page, target: str, picture: Path) -> dict[str, Any]:
    return tab.evaluate(ATTACK.replace("PICTURE", f"{str(picture)!r}"), target)


def test_a_foreign_site_gets_nothing_of_what_the_page_itself_gets(
    tab: Page, page: LaunchedPage, site: int, picture: Path
):
    target = f"http://127.0.0.1:{page.port}"
    for name in FOREIGN_NAMES:
        tab.goto(f"http://{name}:{site}/")
        got = attack(tab, target, picture)
        for what, answer in got.items():
            # Nothing can be read: there is no status, and no text of an answer.
            if what in ("picture", "script"):
                assert answer is False, what
            else:
                assert answer[0] == 0, what
                assert "components" not in answer[1], what
    # Another port of this machine is another program's.
    tab.goto(f"http://127.0.0.1:{site}/")
    got = attack(tab, target, picture)
    assert not any(answer if isinstance(answer, bool) else answer[0] for answer in got.values())
    assert planted(page) == []

    tab.goto(target + "/gradio_api/startup-events")  # a page of its own, without its scripts
    got = attack(tab, target, picture)
    assert [got[what][0] for what in ("start", "config", "upload")] == [200, 200, 200]
    assert "components" in got["config"][1]
    assert got["picture"] is True
    assert len(planted(page)) == 1
    planted(page)[0].unlink()


@pytest.mark.parametrize("name", FOREIGN_NAMES)
def test_after_dns_rebinding_the_page_is_not_there(tab: Page, page: LaunchedPage, picture: Path, name: str):
    """The foreign name leads to the page's own port, so the browser takes both for one site."""
    target = f"http://{name}:{page.port}"
    answer = tab.goto(target + "/")
    assert answer is not None
    assert answer.status == 400
    assert "Darkroom" not in tab.content()
    got = attack(tab, target, picture)
    assert {answer if isinstance(answer, bool) else answer[0] for answer in got.values()} == {False, 400}
    assert all("components" not in answer[1] for answer in got.values() if not isinstance(answer, bool))
    assert planted(page) == []


def test_a_form_of_a_foreign_site_sends_nothing(tab: Page, page: LaunchedPage, site: int):
    for source, status in (
        (f"http://evil.test:{site}", 403), (f"http://127.0.0.1:{site}", 403), (f"http://127.0.0.1:{page.port}", 200)
    ):  # fmt: skip
        tab.goto(source + "/gradio_api/startup-events")
        with tab.expect_navigation() as leads:
            tab.evaluate(FORM, [f"http://127.0.0.1:{page.port}", "planted.png"])
        assert leads.value.status == status
        assert len(planted(page)) == (status == 200)
    planted(page)[0].unlink()


@pytest.mark.parametrize("source", ["http://evil.test:{site}", "http://127.0.0.1:{site}"])
def test_no_site_has_the_page_in_a_frame(tab: Page, page: LaunchedPage, site: int, source: str):
    target = f"http://127.0.0.1:{page.port}/"
    tab.goto(f"{source.format(site=site)}/framed/{target}")
    frame = next(frame for frame in tab.frames if frame is not tab.main_frame)
    assert "Darkroom" not in frame.content()
    assert frame.locator("#start").count() == 0


def test_a_foreign_site_that_opens_the_page_has_no_hand_on_it(tab: Page, page: LaunchedPage, site: int):
    tab.goto(f"http://evil.test:{site}/")
    with tab.context.expect_page() as opened:
        tab.evaluate(f"() => {{ window.theirs = window.open('http://127.0.0.1:{page.port}/'); }}")
    opened.value.wait_for_selector("#start")
    assert opened.value.evaluate("() => window.opener") is None
    assert tab.evaluate("() => window.theirs.closed") is True
    with pytest.raises(Error):
        tab.evaluate("() => window.theirs.document.title")


def test_the_page_itself_needs_nothing_that_it_forbids(tab: Page, page: LaunchedPage):
    """Its own policy refuses nothing of it, and no request of it is refused."""
    said: list[str] = []
    refused: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"http://127.0.0.1:{page.port}/")
    tab.wait_for_selector("#start")
    tab.get_by_role("button", name="Try it now", exact=True).click()
    tab.wait_for_selector("#steps:has-text('steps')")
    assert not [text for text in said if "Content Security Policy" in text or "Content-Security-Policy" in text]
    assert refused == []
    assert not [url for url in asked if not url.startswith((f"http://127.0.0.1:{page.port}/", "data:", "blob:"))]
