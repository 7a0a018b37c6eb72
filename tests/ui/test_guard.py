"""Whom the page answers, asked over HTTP as a foreign site, a browser and a program would."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.launched import UPLOAD, LaunchedPage, upload_body
from tests.reliability.foreign_requests import search

JOIN = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedPage]:
    page = LaunchedPage(tmp_path_factory.mktemp("page"))
    page.wait_until_it_runs()
    yield page
    page.stop()


def raw(page: LaunchedPage, request: str) -> str:
    """What comes until the page ends the connection, or nothing more does for a second."""
    answer = b""
    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(request.encode())
        connection.settimeout(30)
        with suppress(TimeoutError):
            while piece := connection.recv(65536):
                answer += piece
                connection.settimeout(1)
    return answer.decode()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "LocalHost", "[0:0:0:0:0:0:0:1]"])
@pytest.mark.parametrize("port", ["", ":7860", ":65535"])
def test_the_page_answers_under_this_machines_names_on_whatever_port(page: LaunchedPage, name: str, port: str):
    """A tunnel has a port of its own."""
    answer = page.ask("GET", "/", host=name + port)
    assert (answer.status, "Darkroom" in answer.text) == (200, True)


@pytest.mark.parametrize(
    "host",
    ["evil.com", "evil.com:{port}", "localhost.evil.com", "localhost.evil.com:{port}", "evil.com.localhost",
     "127.0.0.1.evil.com", "localhost.", "localhost@evil.com", "evil.com#localhost", "evil.com/localhost", "127.0.0.2",
     "0.0.0.0", "0x7f000001", "2130706433", "127.1", "[::]", "[::ffff:127.0.0.1]", "::1", "[::1", "localhost:0",
     "localhost:99999", "localhost:abc", "localhost localhost", "*", "*.localhost", "", "locaⅼhost"],
)  # fmt: skip
def test_it_answers_under_no_other_name_and_says_how_to_add_one(page: LaunchedPage, host: str):
    for method, path in (("GET", "/"), ("GET", "/config"), ("POST", JOIN), ("OPTIONS", JOIN)):
        answer = page.ask(method, path, host=host.format(port=page.port).encode().decode("latin-1"))
        assert answer.status == 400
        assert b"Darkroom" not in answer.body
    assert "--allowed_hosts" in answer.text or not host


def test_two_hosts_or_one_that_was_passed_on_from_elsewhere_are_refused(page: LaunchedPage):
    for told in ("evil.com", f"{page.host}, evil.com", f"evil.com, {page.host}", ""):
        assert page.ask("GET", "/", {"X-Forwarded-Host": told}).status == 400
    assert raw(page, f"GET / HTTP/1.1\r\nHost: {page.host}\r\nHost: evil.com\r\n\r\n").startswith("HTTP/1.1 400")
    assert raw(page, "GET / HTTP/1.0\r\n\r\n").startswith("HTTP/1.1 400")


FOREIGN = ["null", "http://evil.com", "https://localhost", "http://localhost", "http://localhost:1", "http://127.0.0.1",
           "http://localhost.evil.com:{port}", "http://127.0.0.1.evil.com:{port}", "http://evil.com:{port}",
           "http://127.0.0.1:{port}.evil.com", "http://127.0.0.1:{port}@evil.com", "http://evil.com/127.0.0.1:{port}",
           "file://", "chrome-extension://abc", "ftp://127.0.0.1:{port}", "http://0.0.0.0:{port}", "http://[::1]:{port}",
           "http://127.0.0.1:{port}, http://evil.com", ""]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_what_a_foreign_page_asks_is_neither_done_nor_told(page: LaunchedPage, origin: str):
    headers = {"Origin": origin.format(port=page.port)}
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": "foreign"}).encode()
    as_json = headers | {"Content-Type": "application/json"}
    asked = [
        page.ask("POST", JOIN, as_json, body),
        page.ask("POST", JOIN, headers | {"Content-Type": "text/plain"}, body),  # what needs no leave beforehand
        page.ask("POST", "/gradio_api/run/predict", as_json, body),
        page.ask("POST", "/gradio_api/cancel", as_json, body),
        page.ask("POST", "/gradio_api/upload", headers | UPLOAD, upload_body(b"a")),
        page.ask("POST", "/login", headers | {"Content-Type": "application/x-www-form-urlencoded"}, b"username=a"),
        page.ask("GET", "/config", headers),
        page.ask("GET", "/", headers),
        page.ask("OPTIONS", JOIN, headers | {"Access-Control-Request-Method": "POST"}),
    ]
    assert {answer.status for answer in asked} == {403}
    assert not [name for answer in asked for name in answer.headers if name.lower().startswith("access-control")]
    assert not list(page.temporary.rglob("a.png"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:8080", "LOCALHOST:{port}", "localhost"]
)
def test_the_page_itself_is_answered(page: LaunchedPage, host: str):
    host = host.format(port=page.port)
    for scheme in ("http", "HTTP"):
        answer = page.ask(
            "POST", "/gradio_api/upload", UPLOAD | {"Origin": f"{scheme}://{host}"}, upload_body(b"b"), host
        )
        assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_program_on_this_machine_which_has_no_origin_is_answered(page: LaunchedPage):
    assert page.ask("POST", "/gradio_api/upload", UPLOAD, upload_body(b"c")).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("mode", "destination", "path"),
    [("no-cors", "image", "/gradio_api/file=x"), ("no-cors", "script", "/config"), ("navigate", "iframe", "/"),
     ("navigate", "document", "/logout"), ("no-cors", "empty", "/"), ("navigate", "document", "/config")],
)  # fmt: skip
def test_what_a_foreign_page_embeds_is_refused(page: LaunchedPage, site: str, mode: str, destination: str, path: str):
    told = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    assert page.ask("GET", path, told).status == 403


def test_a_link_on_a_foreign_page_may_lead_here(page: LaunchedPage):
    told = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert page.ask("GET", "/", told).status == 200
    assert page.ask("GET", "/", told | {"Sec-Fetch-Site": "none"}).status == 200
    assert page.ask("POST", "/", told).status == 403


@pytest.mark.parametrize("path", ["/", "/config", "/nothing", "/gradio_api/file=/etc/passwd", "/assets/nothing.js"])
def test_every_answer_forbids_frames_and_guesses_at_its_content(page: LaunchedPage, path: str):
    for headers in ({}, {"Origin": "http://evil.com"}):
        answer = page.ask("GET", path, headers)
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'self'" in policy or "sandbox" in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


UNNEEDED = ["/monitoring", "/monitoring/summary", "/monitoring/key", "/monitoring/", "/openapi.json", "/docs", "/redoc",
            "/gradio_api/info", "/gradio_api/info/", "/gradio_api/openapi.json", "/gradio_api/runs",
            "/gradio_api/runs/", "/gradio_api/run-history/buckets", "/gradio_api/run-history/records",
            "/gradio_api/deep_link?session_hash=x", "/gradio_api/deep_link", "/gradio_api/queue/status",
            "/gradio_api/proxy=https://a.hf.space/",
            "/gradio_api/mcp/", "/gradio_api/mcp/sse", "/gradio_api/profiling/traces", "/gradio_api/vibe-code/",
            "/gradio_api/token", "/gradio_api/dev/reload", "/gradio_api/custom_component/a/b/c/d", "/pwa_icon",
            "/gradio_api/stream/a/b/1/playlist.m3u8", "/gradio_api/call/predict/1", "/gradio_api/file/etc/passwd",
            "/Monitoring", "//monitoring", "/gradio_api//info", "/%6donitoring", "/x/../monitoring"]  # fmt: skip
UNNEEDED_POSTS = ["/gradio_api/api/predict", "/gradio_api/run/predict2", "/gradio_api/call/predict",
                  "/gradio_api/vibe-edit", "/gradio_api/process_recording", "/gradio_api/component_server",
                  "/gradio_api/run-history/connect",
                  "/gradio_api/stream/1", "/gradio_api/profiling/clear", "/", "/config"]  # fmt: skip


@pytest.mark.parametrize("path", UNNEEDED)
def test_what_gradio_offers_and_nobody_needs_is_not_there(page: LaunchedPage, path: str):
    assert page.ask("GET", path).status == 404
    assert page.ask("HEAD", path).status == 404


@pytest.mark.parametrize("path", UNNEEDED_POSTS)
def test_and_its_other_ways_to_run_something_are_not_there(page: LaunchedPage, path: str):
    assert page.ask("POST", path, {"Content-Type": "application/json"}, b"{}").status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_methods_that_no_browser_needs_are_not_there(page: LaunchedPage, method: str):
    assert page.ask(method, "/").status == 404


def test_a_body_that_is_too_large_is_refused_before_it_is_read(page: LaunchedPage):
    for path, megabytes in ((JOIN, 32), ("/gradio_api/upload", 500), ("/login", 32)):
        for told in ("99999999999", "-1", "1e3", "x"):
            answer = raw(page, f"POST {path} HTTP/1.1\r\nHost: {page.host}\r\nContent-Length: {told}\r\n\r\n")
            assert answer.split()[1] in ("413", "400")
            assert f"the limit is {megabytes} MB" in answer or told != "99999999999"


def test_a_body_that_does_not_tell_its_size_is_cut_off(page: LaunchedPage):
    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(
            f"POST {JOIN} HTTP/1.1\r\nHost: {page.host}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        piece = b"f4240\r\n" + b" " * 1_000_000 + b"\r\n"
        with pytest.raises(OSError):  # noqa: PT011, a reset or a broken pipe
            connection.sendall(200 * piece)


@pytest.mark.parametrize("path", ["/etc/passwd", "README.md", "{runs}/../outside.txt", "{runs}/../../outside.txt"])
def test_no_file_but_those_of_runs_and_uploads_is_given_or_taken(page: LaunchedPage, path: str):
    (page.folder / "outside.txt").write_text("secret")
    path = path.format(runs=page.folder / "runs")
    assert page.ask("GET", f"/gradio_api/file={path}").status in (403, 404)
    # As if it had been uploaded: for whatever function takes a file.
    config = json.loads(page.ask("GET", "/config").text)
    upload = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "upload")
    index, function = next(
        (number, one) for number, one in enumerate(config["dependencies"]) if upload in one["inputs"]
    )
    data = [
        {"path": path, "meta": {"_type": "gradio.FileData"}} if one == upload else None for one in function["inputs"]
    ]
    sent = json.dumps({"data": data, "fn_index": function.get("id", index), "session_hash": "x"}).encode()
    page.ask("POST", "/gradio_api/run/predict", {"Content-Type": "application/json"}, sent)
    assert not list(page.temporary.rglob("outside.txt")) + list(page.temporary.rglob("passwd"))
    assert not list(page.temporary.rglob("README.md"))


def test_a_short_search_finds_no_foreign_request_that_is_answered(page: LaunchedPage):
    """python -m tests.reliability.foreign_requests searches for longer."""
    counted = search(page, 150, seed=7)
    foreign = sum(count for words, count in counted.items() if words.startswith("foreign"))
    assert 80 < foreign < 145
