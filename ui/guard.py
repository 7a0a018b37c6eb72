"""The checks that every request passes before it reaches Gradio: host name, origin, route, and size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.hosts import Hosts
from ui.logins import CLIENT

API = "/gradio_api/"

READ = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/logout"
    r"|/(assets|static|svelte)/.+"
    r"|/gradio_api/(queue/data|upload_progress|app_id|startup-events|theme\.css|(heartbeat/|file=).+)"
)
WRITTEN = re.compile(r"/login/?|/gradio_api/(queue/join|run/predict|upload|reset|cancel)/?")
"""What a browser requests on this page.  Gradio answers five times as much: queue statistics, a history of runs,
endpoints for its own clients, files from other servers."""

MOST_UPLOADED = 500 * 1000**2
"""Bytes of a file from a browser: as large as the largest scanned pictures."""

MOST_SENT = 32 * 1000**2
"""Bytes of any other request: a form with all captions of a large folder has 3 MB."""

AROUND_A_FILE = 100_000
"""Bytes that a browser adds around an uploaded file."""

HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing is loaded from or sent to elsewhere. Gradio's page is full of inline scripts, and compiles functions from
text, so these cannot be forbidden."""

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""For users' files, which contain what somebody else wrote."""


@dataclass(frozen=True)
class Refusal:
    status: int
    sentence: str


class Guard:
    """An ASGI application that wraps another.

    root_path: path or address under which a proxy serves the page, which it may leave before the path of what it
    passes on, or take away.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, root_path: str = "") -> None:
        self._app, self._hosts = app, hosts
        self._root_path = (urlsplit(root_path).path if "://" in root_path else root_path).rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        # Gradio uses no websockets; one that is not accepted is refused.

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._path(scope)
        scope = {**scope, "path": path, "raw_path": quote(path, safe="/=").encode()}
        answer = _with_headers(send, FILE_POLICY if path.startswith(f"{API}file=") else PAGE_POLICY)
        refusal = self._refusal(scope, path)
        if refusal is None:
            CLIENT.set((scope.get("client") or ("?",))[0])
            refusal = await Body(receive, _most(path)).passed_to(self._app, scope, answer)
        if refusal is not None:
            # The rest of the request is not awaited.
            response = PlainTextResponse(refusal.sentence, refusal.status, {"Connection": "close"})
            await response(scope, receive, answer)

    def _path(self, scope: Scope) -> str:
        path: str = scope["path"]
        rest = path.removeprefix(self._root_path) or "/"
        return rest if rest.startswith("/") else path

    def _refusal(self, scope: Scope, path: str) -> Refusal | None:
        headers = Headers(scope=scope)
        return (
            self._by_name(headers)
            or self._by_origin(scope, headers, path)
            or _by_route(scope, path)
            or _by_size(headers, path)
        )

    def _by_name(self, headers: Headers) -> Refusal | None:
        hosts = headers.getlist("host")
        passed_on = [name.strip() for told in headers.getlist("x-forwarded-host") for name in told.split(",")]
        if len(hosts) != 1:
            return Refusal(400, "A request must have exactly one Host header.")
        for name in (*hosts, *passed_on):
            if not self._hosts.know(name):
                return Refusal(
                    400,
                    f"This page does not answer to the name {_shown(name)}. If the name is yours, start the page "
                    "with --allowed_hosts and that name.",
                )
        return None

    def _by_origin(self, scope: Scope, headers: Headers, path: str) -> Refusal | None:
        """A browser sends the origin with everything that changes something, and when a foreign page wants to read.

        Newer ones also send with everything whether a foreign page is asking (Fetch Metadata, W3C). The one thing such
        a page may do is link here.
        """
        host = headers.getlist("x-forwarded-host") or headers.getlist("host")
        origins = headers.getlist("origin")
        foreign = any(not self._hosts.own(origin, host[0].partition(",")[0].strip()) for origin in origins)
        led_here = (
            path == "/"
            and scope["method"] in ("GET", "HEAD")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if foreign or (headers.get("sec-fetch-site") in ("cross-site", "same-site") and not led_here):
            told = f", {_shown(origins[0])}," if origins else ""
            return Refusal(
                403,
                f"A request from another site{told} was refused. If it is your own reverse proxy, start the page with "
                "--allowed_hosts and its name.",
            )
        return None


def _by_route(scope: Scope, path: str) -> Refusal | None:
    routes = {"GET": READ, "HEAD": READ, "POST": WRITTEN}.get(scope["method"])
    return None if routes and routes.fullmatch(path) else Refusal(404, "There is nothing here.")


def _by_size(headers: Headers, path: str) -> Refusal | None:
    told = headers.get("content-length", "0")
    most = _most(path)
    return None if told.isascii() and told.isdecimal() and int(told) <= most else _too_much(most)


def _most(path: str) -> int:
    return MOST_UPLOADED + AROUND_A_FILE if path.startswith(f"{API}upload") else MOST_SENT


def _too_much(most: int) -> Refusal:
    return Refusal(413, f"This is too large: the limit is {most // 1000**2} MB.")


class Body:
    """A request's body, read only up to the limit, whatever size its sender claimed."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self._read = 0

    async def passed_to(self, app: ASGIApp, scope: Scope, send: Send) -> Refusal | None:
        """Let the application answer.  If the body was too large, it has not answered."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            if not self._is_too_much:
                started = True
                await send(message)

        try:
            await app(scope, self._next, noted)
        except Exception:
            if not self._is_too_much:
                raise
        return _too_much(self._most) if self._is_too_much and not started else None

    @property
    def _is_too_much(self) -> bool:
        return self._read > self._most

    async def _next(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        # To the application it looks as if the sender had disconnected.
        return {"type": "http.disconnect"} if self._is_too_much else message


def _with_headers(send: Send, policy: str) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            # No other page may read here, so none is told that it may.
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]
            for name, value in (HEADERS | {"Content-Security-Policy": policy}).items():
                headers[name] = value
            # Gradio allows its cookie to be sent with foreign pages' requests.
            message["headers"] = [
                (name, value.replace(b"SameSite=none", b"SameSite=lax") if name == b"set-cookie" else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return answer


def _shown(told: str) -> str:
    """Text from a request, safe for a message: no longer than a name, and without control characters."""
    return ascii(told.strip()[:80])[1:-1]
