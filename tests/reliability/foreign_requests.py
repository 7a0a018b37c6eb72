"""Searches for a request that the page answers though a foreign page, or a name that nobody asked for, is behind it.

python -m tests.reliability.foreign_requests [REQUESTS] [SEED]    starts a page of its own; 5,000 requests by default
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.launched import UPLOAD, LaunchedPage, upload_body

OWN = ("localhost", "127.0.0.1", "[::1]")
PIECES = [
    "localhost", "127.0.0.1", "[::1]", "evil.com", ".", ":", "@", "/", "\\", "#", "?", "%", "%2e", "*", " ", "\t", ",",
    "null", "http://", "https://", "//", "0", "80", "7860", "99999", "::", "[", "]", "ﬁ", "ⅼ", "\xad", "\xff", "a", "-",
    "_", "xn--", "localhost.evil.com", "LOCALHOST", "127.1", "0x7f.1", "2130706433", "::ffff:127.0.0.1",
]  # fmt: skip
PATHS = [
    "/", "/config", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict", "/login", "/monitoring",
    "/gradio_api/file=/etc/passwd", "/theme.css", "/gradio_api/info", "//", "/%2e%2e/", "/assets/../config",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"]


@dataclass
class Request:
    method: str
    path: str
    host: str
    headers: dict[str, str]
    is_foreign: bool


def mutated(text: str, chance: random.Random) -> str:
    """The text with pieces put in, in place of parts of it, or around it."""
    for _ in range(chance.randint(1, 3)):
        begin = chance.randint(0, len(text))
        end = min(len(text), begin + chance.choice([0, 0, 1, 3, 20]))
        text = text[:begin] + chance.choice(PIECES) + text[end:]
    return text


def request(port: int, chance: random.Random) -> Request:
    """A request that names the page, a mutation of that, or something foreign.

    It is foreign by a rule of its own: names and origins are compared with those of the page, letter by letter.
    """
    name = chance.choice(OWN)
    host = f"{name}:{port}"
    origin = f"http://{host}"
    told_host = mutated(host, chance) if chance.random() < 0.5 else host
    told_origin = mutated(origin, chance) if chance.random() < 0.7 else origin
    headers = {"Origin": told_origin} if chance.random() < 0.8 else {}
    forwarded = mutated(host, chance) if chance.random() < 0.2 else ""
    if forwarded:
        headers["X-Forwarded-Host"] = forwarded
    asked = (forwarded or told_host).strip(" \t").lower()
    is_foreign = not (is_own(told_host) and is_own(forwarded or host)) or (
        "Origin" in headers and told_origin.strip(" \t").lower() not in own_origins(asked)
    )
    return Request(chance.choice(METHODS), chance.choice(PATHS), told_host, headers, is_foreign)


def is_own(host: str) -> bool:
    """Blanks around a header are no part of it."""
    host = host.strip(" \t").lower()
    name, _, port = host.rpartition(":")
    return host in OWN or (name in OWN and port.isdecimal())


def own_origins(host: str) -> list[str]:
    """All that a browser may tell of a page at this Host."""
    told = [f"http://{host}", f"https://{host}"]
    told += [f"http://{host}:80", f"https://{host}:443"] if host in OWN else []
    for scheme, port in (("http", ":80"), ("https", ":443")):
        told += [f"{scheme}://{host.removesuffix(port)}"] if host.endswith(port) else []
    return told


def search(page: LaunchedPage, requests: int, seed: int) -> Counter[str]:
    """How the requests were answered.  Raises AssertionError with one that should not have been."""
    chance, counted = random.Random(seed), Counter[str]()
    for _ in range(requests):
        one = request(page.port, chance)
        body = upload_body(b"planted", "planted.png") if one.method == "POST" else b""
        headers = {name: as_sent(value) for name, value in one.headers.items()}
        try:
            answer = page.ask(one.method, one.path, headers | (UPLOAD if body else {}), body, host=as_sent(one.host))
        except ValueError:  # Python's own client does not send this
            counted["not sent"] += 1
            continue
        assert not (one.is_foreign and answer.status < 400), one
        assert not (one.is_foreign and list(page.temporary.rglob("planted.png"))), one
        assert answer.status < 500, one
        counted[f"{'foreign' if one.is_foreign else 'own'}: {answer.status}"] += 1
        for planted in page.temporary.rglob("planted.png"):
            planted.unlink()
    assert page.ask("GET", "/").status == 200
    return counted


def as_sent(text: str) -> str:
    """The bytes of a header, as Python's client takes them."""
    return text.encode().decode("latin-1")


def main(requests: int = 5000, seed: int = 0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = LaunchedPage(Path(folder) / "page")
        page.wait_until_it_runs()
        try:
            for words, count in sorted(search(page, requests, seed).items()):
                print(f"{count:6} {words}")
        finally:
            page.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
