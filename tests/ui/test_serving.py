"""The page starts where the environment names proxies, and says in one sentence why it cannot start elsewhere."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.failure import Failure
from tests.launched import ROOT, LaunchedPage, free_port
from ui.access import asked_for
from ui.proxies import no_proxies
from ui.serving import PORTS, listening, shared

PROXIES = {
    "dead": dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9"),
    "without scheme, in capitals": dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "127.0.0.1:9"),
    "socks": {"all_proxy": "socks5://127.0.0.1:9", "http_proxy": "socks5h://127.0.0.1:9"},
    "no proxy at all": {"http_proxy": "nonsense://x", "https_proxy": "://", "ALL_PROXY": "http://"},
}  # fmt: skip


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a proxy that turns everybody away, and what it was asked."""
    import threading

    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", PROXIES)
def test_the_page_starts_whatever_proxy_the_environment_names(tmp_path: Path, kind: str):
    page = LaunchedPage(tmp_path / "page", environment=PROXIES[kind])
    page.wait_until_it_runs()
    assert page.ask("GET", "/").status == 200
    page.stop()
    assert page.output == f"Running on local URL: http://127.0.0.1:{page.port}"


def test_the_page_asks_no_proxy_for_itself_or_anything(tmp_path: Path, refusing: tuple[str, list[bytes]]):
    address, asked = refusing
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    page = LaunchedPage(tmp_path / "page", environment=dict.fromkeys(names, f"http://{address}"))
    page.wait_until_it_runs()
    assert page.ask("GET", "/").status == 200
    page.stop()
    assert asked == []


SEEN_BY_ENGINE = """
import json, os, urllib.request
from ui.proxies import no_proxies
with no_proxies():
    import ui.serving
    within = urllib.request.getproxies()
print(json.dumps([within, urllib.request.getproxies(), dict(os.environ)]))
"""


@pytest.mark.parametrize("more", [{}, {"no_proxy": "example.org"}, {"NO_PROXY": "example.org,localhost"}], ids=str)
@pytest.mark.parametrize("kind", PROXIES)
def test_what_is_started_later_has_the_proxies_as_they_were(kind: str, more: dict[str, str]):
    before = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    before |= PROXIES[kind] | more
    done = subprocess.run(
        [sys.executable, "-c", SEEN_BY_ENGINE], cwd=ROOT, env=before, capture_output=True, text=True, check=True
    )
    within, after, environment = json.loads(done.stdout)
    assert within["no"] == "*"
    told = {name.lower().removesuffix("_proxy"): value for name, value in {**PROXIES[kind], **more}.items()}
    assert after == told
    assert {name: environment.get(name) for name in before} == before
    assert "no_proxy" not in set(environment) - set(before)


ASKS_THE_HUB = """
from engine.failure import Failure
from engine.models.hub import fetched
from ui.proxies import no_proxies
with no_proxies():
    import ui.serving
try:
    fetched("an/unknown-model", {"StableDiffusionPipeline": ["unet"]}, "pretrained_model_name_or_path")
except Failure as failure:
    print(failure.what)
"""


@pytest.mark.parametrize("scheme", ["http://", ""], ids=["with scheme", "without"])
def test_the_hub_is_asked_through_the_proxy(refusing: tuple[str, list[bytes]], scheme: str):
    address, asked = refusing
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy")
    environment = os.environ | dict.fromkeys(names, scheme + address) | {"HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", ASKS_THE_HUB], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert asked[0].startswith(b"CONNECT huggingface.co:443")
    assert "the Hugging Face hub cannot be reached" in done.stdout


def test_where_it_raises_the_proxies_are_back_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "example.org")
    with pytest.raises(ValueError, match="within"), no_proxies():
        raise ValueError("within")
    assert os.environ["no_proxy"] == "example.org"


def refusal(*arguments: str) -> str:
    """What app.py says instead of starting: one line, and no traceback."""
    done = subprocess.run(
        [sys.executable, "app.py", "--headless", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.strip()


def test_a_port_in_use_is_one_sentence_that_names_the_option():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refusal("--server_port", str(port))
    assert sentence.startswith(f"--server_port: port {port} on 127.0.0.1 is in use")
    assert f"--server_port {port + 1}" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "7860.5"])
def test_what_is_no_port_names_the_option(port: str):
    assert "--server_port" in refusal("--server_port", port).splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--listen", "0.0.0.0"], "--listen 0.0.0.0 opens the page"), (["--share"], "--share opens the page"),
     (["--listen", "nowhere.invalid"], "'nowhere.invalid' is not an address"),
     (["--username", "me"], "the password is missing"), (["--password", "x"], "--username is missing"),
     (["--allowed_hosts", "https://a.org"], "'https://a.org' is not a host name")],
)  # fmt: skip
def test_what_cannot_be_done_as_asked_is_one_sentence(arguments: list[str], words: str):
    sentence = refusal(*arguments)
    assert words in sentence
    assert "\n" not in sentence


def test_without_an_option_the_first_free_port_is_taken(monkeypatch: pytest.MonkeyPatch):
    first = free_port()
    while first > 65000:
        first = free_port()
    monkeypatch.setattr("ui.serving.PORTS", range(first, first + 3))
    opened: list[socket.socket] = []
    for _ in range(3):
        try:
            opened += listening("127.0.0.1", None)
        except Failure:
            break
    ports = [one.getsockname()[1] for one in opened]
    assert ports == sorted(set(ports))
    with pytest.raises(Failure, match=f"none of the ports {first} to {first + 2}"):
        listening("127.0.0.1", None)
    for one in opened:
        one.close()
    assert PORTS[0] == 7860


def test_an_address_that_this_machine_lacks_is_named():
    with pytest.raises(Failure, match=r"this machine has no address 192\.0\.2\.1"):
        listening("192.0.2.1", free_port())


def test_a_name_of_several_addresses_is_answered_on_all_of_them_at_one_port():
    port = free_port()
    opened = listening("localhost", port)
    addresses = {told[4] for told in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
    assert {one.getsockname() for one in opened} == addresses
    for one in opened:
        one.close()


class Shared:
    """As much of a page as a tunnel asks for."""

    share_token = "token"


def test_a_public_link_is_answered_under_its_own_name_alone(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("gradio.networking.setup_tunnel", lambda *told: asked.append(told) or "http://ab12.gradio.live")
    for listen, local in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")):
        url, access = shared(Shared(), asked_for(listen, share=True, everyone=True), 7860)  # type: ignore[arg-type]
        assert url == "https://ab12.gradio.live"
        assert asked[-1][:2] == (local, 7860)
        assert access.hosts.know("ab12.gradio.live")
        assert access.hosts.own("https://ab12.gradio.live", "127.0.0.1:7860")
        for other in ("cd34.gradio.live", "gradio.live", "x.ab12.gradio.live"):
            assert not access.hosts.know(other)
            assert not access.hosts.own(f"https://{other}", "127.0.0.1:7860")


@pytest.mark.parametrize("error", [RuntimeError("no link"), OSError("no file"), ValueError("Unknown scheme")])
def test_a_public_link_that_cannot_be_made_is_a_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception):
    def fails(*_: object) -> str:
        raise error

    monkeypatch.setattr("gradio.networking.setup_tunnel", fails)
    with pytest.raises(Failure, match=f"--share: no public link could be created: {error}"):
        shared(Shared(), asked_for("127.0.0.1", share=True, everyone=True), 7860)  # type: ignore[arg-type]
