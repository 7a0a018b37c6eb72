"""Who logs in with a wrong password waits, is written down, and can fill no memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.exceptions import HTTPException

from tests.launched import UPLOAD, LaunchedPage, upload_body
from ui import logins as module
from ui.logins import BY_ALL, BY_ONE, CLIENT, LONGEST_WAIT, MOST_CLIENTS, Logins, Pace


class Time:
    """Passes only while somebody sleeps."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module.asyncio, "sleep", time.sleep)
    return time


def tried(logins: Logins, client: str, username: str = "me", password: str = "wrong") -> Any:
    CLIENT.set(client)
    try:
        return asyncio.run(logins.are_right(username, password))
    except HTTPException as error:
        return error.status_code


@pytest.mark.parametrize(
    ("username", "password", "right"),
    [("me", "geh€im", True), ("me", "geheim", False), ("Me", "geh€im", False), ("", "", False), ("me", "", False),
     ("me", "geh€im ", False), ("me\0", "geh€im", False), ("\ud800", "\ud800", False)],
)  # fmt: skip
def test_only_the_name_and_the_password_are_right(time: Time, username: str, password: str, right: bool):
    assert tried(Logins("me", "geh€im", time), "10.0.0.1", username, password) is right


def test_wrong_tries_of_one_address_become_slow_and_others_do_not(time: Time):
    logins = Logins("me", "right", time)
    burst, interval = BY_ONE
    began = time.now
    assert [tried(logins, "10.0.0.1") for _ in range(burst)] == [False] * burst
    assert time.now == began
    assert [tried(logins, "10.0.0.1") for _ in range(4)] == [False] * 4
    assert time.now == began + 4 * interval
    now = time.now
    assert tried(logins, "10.0.0.2", password="right") is True
    assert time.now == now


def test_many_tries_at_once_are_no_way_around(time: Time):
    """They are counted before they are judged: none sleeps for long, and few are judged."""
    logins = Logins("me", "right", time)

    async def stay(seconds: float) -> None:
        await real(0)

    real = asyncio.sleep
    module.asyncio.sleep = stay  # type: ignore[assignment]

    async def at_once() -> list[Any]:
        CLIENT.set("10.0.0.1")
        return await asyncio.gather(*(logins.are_right("me", "wrong") for _ in range(500)), return_exceptions=True)

    results = asyncio.run(at_once())
    judged = [result for result in results if result is False]
    assert len(judged) <= BY_ONE[0] + LONGEST_WAIT / BY_ONE[1]
    assert all(isinstance(result, HTTPException) for result in results if result is not False)


def test_many_addresses_together_are_slowed_down_too(time: Time):
    logins = Logins("me", "right", time)
    began = time.now
    judged = [tried(logins, f"10.0.{number // 256}.{number % 256}") for number in range(200)]
    assert judged == [False] * 200
    assert time.now - began == pytest.approx((200 - BY_ALL[0]) * BY_ALL[1])


def test_right_logins_cost_nothing(time: Time):
    logins = Logins("me", "right", time)
    began = time.now
    assert all(tried(logins, "10.0.0.1", password="right") for _ in range(200))
    assert time.now == began


def test_one_network_of_ipv6_is_one_client_and_mapped_addresses_are_themselves(time: Time):
    logins = Logins("me", "right", time)
    for number in range(BY_ONE[0]):
        tried(logins, f"2001:db8::{number:x}")
    now = time.now
    tried(logins, "2001:db8:0:1::1")
    tried(logins, "::ffff:10.0.0.1")
    assert time.now == now
    tried(logins, "2001:db8::ffff")
    assert time.now > now


def test_a_million_addresses_take_no_more_memory_than_a_thousand():
    pace = Pace(*BY_ONE, most=MOST_CLIENTS)
    for number in range(100_000):
        pace.take(str(number), 0.0)
    assert len(pace) == MOST_CLIENTS
    assert pace.wait("99999", 0.0) == 0.0
    for _ in range(BY_ONE[0] - 1):
        pace.take("99999", 0.0)
    assert pace.wait("99999", 0.0) == BY_ONE[1]
    assert pace.wait("99999", BY_ONE[0] * BY_ONE[1]) == 0.0


def test_what_failed_is_written_down_without_the_password(time: Time, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        tried(Logins("me", "right", time), "10.0.0.1", "you\n2026 Failed login from 10.9.9.9", "hunter2")
        tried(Logins("me", "right", time), "10.0.0.1", "x" * 10_000, "hunter2")
        tried(Logins("me", "right", time), "10.0.0.1", "me", "right")
    assert len(caplog.messages) == 2
    assert caplog.messages[0] == r"Failed login from 10.0.0.1 as 'you\n2026 Failed login from 10.9.9.9'."
    assert all("hunter2" not in line and len(line) < 200 for line in caplog.messages)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedPage]:
    """Served behind a proxy that tells its name in Origin alone, with a password from the environment."""
    page = LaunchedPage(
        tmp_path_factory.mktemp("page"), "--username", "me", "--allowed_hosts", "train.example.org",
        "--root_path", "/darkroom", environment={"DARKROOM_PASSWORD": "geheim"},
    )  # fmt: skip
    page.wait_until_it_runs()
    yield page
    page.stop()


def login(page: LaunchedPage, username: str, password: str, **headers: str) -> Any:
    form = urlencode({"username": username, "password": password}).encode()
    told = {"Content-Type": "application/x-www-form-urlencoded"} | headers
    return page.ask("POST", "/login", told, form)


def test_nothing_is_told_or_done_before_the_login_and_all_after_it(page: LaunchedPage):
    assert "Open to other computers" in page.output
    begin = page.ask("GET", "/")
    assert begin.status == 200
    assert len(begin.body) < 10_000  # the form to log in
    assert "/darkroom" in begin.text
    for path in ("/config", "/gradio_api/file=/etc/passwd", "/gradio_api/queue/data?session_hash=x"):
        assert page.ask("GET", path).status == 401
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert page.ask("POST", path, UPLOAD, upload_body(b"a")).status in (401, 422)
    assert not list(page.temporary.rglob("a.png"))

    assert login(page, "me", "wrong").status == 400
    right = login(page, "me", "geheim", Origin="https://train.example.org")
    assert right.status == 200
    cookies = right.headers.get_all("Set-Cookie") or []
    assert len(cookies) == 2
    assert all("samesite=lax" in cookie.lower() and "httponly" in cookie.lower() for cookie in cookies)
    signed_in = {"Cookie": "; ".join(cookie.partition(";")[0] for cookie in cookies)}
    for path in ("/", "/darkroom/"):
        whole = page.ask("GET", path, signed_in)
        assert whole.status == 200
        assert "Open to other computers: anyone with the user name and password" in whole.text
    told = signed_in | UPLOAD | {"Origin": "https://train.example.org"}
    assert page.ask("POST", "/darkroom/gradio_api/upload", told, upload_body(b"a")).status == 200
    assert page.ask("GET", "/darkroom/monitoring", signed_in).status == 404
    assert (
        page.ask("POST", "/gradio_api/upload", told | {"Origin": "https://evil.com"}, upload_body(b"a")).status == 403
    )


def test_failures_are_logged_in_the_terminal_and_many_are_turned_away(page: LaunchedPage):
    assert login(page, "them", "hunter2", **{"X-Forwarded-For": "192.0.2.9"}).status == 400
    assert any("Failed login from 192.0.2.9 as 'them'." in line for line in page.lines)
    assert "hunter2" not in page.output
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(12) as threads:
        statuses = list(
            threads.map(lambda _: login(page, "me", "x", **{"X-Forwarded-For": "192.0.2.9"}).status, range(12))
        )
    assert statuses.count(429) >= 6
    assert login(page, "me", "geheim", **{"X-Forwarded-For": "192.0.2.10"}).status == 200
