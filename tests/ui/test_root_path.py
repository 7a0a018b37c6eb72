"""A proxy that serves the page under a path may leave that path before what it passes on, or take it away."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from ui.guard import Guard
from ui.hosts import Hosts


async def tells_its_path(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    response = PlainTextResponse(f"{request.url.path} {scope['raw_path'].decode()}")
    await response(scope, receive, send)


@pytest.mark.parametrize("root_path", ["/train", "/train/", "https://h.example/train", "https://h.example:8443/train/"])
@pytest.mark.parametrize(
    ("asked", "reached"),
    [
        ("/", "/ /"),
        ("/train", "/ /"),
        ("/train/", "/ /"),
        ("/config", "/config /config"),
        ("/train/config", "/config /config"),
        ("/train/gradio_api/file=/a%20b.png", "/gradio_api/file=/a b.png /gradio_api/file=/a%20b.png"),
    ],
)
def test_what_a_proxy_passes_on_with_or_without_its_path_is_found(root_path: str, asked: str, reached: str):
    page = TestClient(Guard(tells_its_path, Hosts.of(["h.example"], []), root_path), base_url="http://h.example")
    assert page.get(asked).text == reached


@pytest.mark.parametrize("root_path", ["", "/", "https://h.example", "https://h.example/"])
def test_without_a_path_of_its_own_nothing_is_taken_away(root_path: str):
    page = TestClient(Guard(tells_its_path, Hosts.of(["h.example"], []), root_path), base_url="http://h.example")
    assert page.get("/config").text == "/config /config"
    assert page.get("/train/config").status_code == 404


@pytest.mark.parametrize("asked", ["/trainer/config", "/train/train/config", "/trainconfig", "/train/docs"])
def test_what_lies_beside_the_path_is_not_there(asked: str):
    page = TestClient(Guard(tells_its_path, Hosts.of(["h.example"], []), "/train"), base_url="http://h.example")
    assert page.get(asked).status_code == 404
