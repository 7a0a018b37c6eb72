"""Serves the page: behind the guard, on a free port, until asked to stop."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import webbrowser
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from engine.failure import Failure
from ui.access import Access
from ui.guard import MOST_UPLOADED, Guard
from ui.hosts import Hosts, in_brackets
from ui.logins import Logins

PORTS = range(7860, 7960)
"""Ports tried if none is given; the first is the one in tutorials."""

LAST_ANSWERS = 1
"""Seconds for pending responses to finish after Ctrl+C."""


def listening(address: str, port: int | None) -> list[socket.socket]:
    """Sockets on the address, all with one port: the given one, or the first free one of PORTS.  Raises Failure."""
    for one in [port] if port else PORTS:
        try:
            return _sockets(address, one)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise Failure(
                    f"--listen: this machine has no address {address}.",
                    "Give one that it has, or 0.0.0.0 for all of them.",
                ) from error
            if port and error.errno == errno.EADDRINUSE:
                raise Failure(
                    f"--server_port: port {port} on {address} is in use by another program, or by another Darkroom.",
                    "Choose another, such as "
                    f"--server_port {port + 1 if port < 65535 else PORTS[0]}, or leave it out for the first free one.",
                ) from error
            if port:
                raise Failure(
                    f"--server_port: port {port} on {address} cannot be used: {error.strerror}.",
                    "Choose one above 1023, or leave it out to use the first free one.",
                ) from error
    raise Failure(
        f"--server_port: none of the ports {PORTS[0]} to {PORTS[-1]} on {address} is free.",
        "Choose another, such as --server_port 8000.",
    )


def _sockets(address: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, place in dict.fromkeys((told[0], told[4]) for told in found):
            everywhere = family == socket.AF_INET6 and place[0] == "::" and socket.has_dualstack_ipv6()
            opened.append(socket.create_server(place, family=family, backlog=2048, dualstack_ipv6=everywhere))
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def guarded(page: gr.Blocks, access: Access, root_path: str = "", **launch: Any) -> Guard:
    """The page as an application that only answers those whom `access` admits.  launch: theme, styles, served folders.

    Gradio's own launch() leaves no place for a guard around everything, and requests itself through any proxy.
    """
    logins = Logins(access.username, access.password)
    app = Starlette()
    gr.mount_gradio_app(
        app,
        page,
        path="",
        auth=logins.are_right if access.password else None,
        root_path=root_path,
        max_file_size=MOST_UPLOADED,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        **launch,
    )
    # As launch() would set it: only then does Gradio refuse paths that were not uploaded.
    page.has_launched = True
    page.app = next(route.app for route in app.routes if isinstance(route, Mount))
    return Guard(app, access.hosts, root_path)


class Server(uvicorn.Server):
    """Announces when the page is available, and shuts down quickly."""

    def __init__(self, app: Guard, page: gr.Blocks, told: list[str], opens: str = "") -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=LAST_ANSWERS))
        self._page, self._told, self._opens = page, told, opens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(*self._told, sep="\n", flush=True)
            if self._opens:  # in a thread: a browser in a terminal would keep the page from answering it
                threading.Thread(target=webbrowser.open, args=(self._opens,), daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._page.is_running = False  # streams would continue
        self._page.app.stop_event.set()
        await super().shutdown(sockets)


def serve(
    page: gr.Blocks,
    access: Access,
    port: int | None,
    share: bool = False,
    opens: bool = False,
    root_path: str = "",
    **launch: Any,
) -> None:
    """Serve until Ctrl+C or a signal.  Raises Failure if it cannot start."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    sockets = listening(access.address, port)
    local = f"http://{_shown(access.address)}:{sockets[0].getsockname()[1]}"
    told = [*filter(None, [access.notice]), f"Running on local URL: {local}"]
    if share:
        public, access = shared(page, access, sockets[0].getsockname()[1])
        told.append(f"Running on public URL: {public}")
    app = guarded(page, access, root_path, **launch)
    with suppress(KeyboardInterrupt):
        Server(app, page, told, local if opens else "").run(sockets)


def _shown(address: str) -> str:
    """The address as this machine's browser reaches it."""
    return {"0.0.0.0": "localhost", "::": "localhost"}.get(address, in_brackets(address))


def shared(page: gr.Blocks, access: Access, port: int) -> tuple[str, Access]:
    """The public address for the port, and the access that includes it.  Raises Failure."""
    from gradio.networking import setup_tunnel

    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(access.address, access.address)
    try:
        url = str(setup_tunnel(local, port, page.share_token, None, None)).replace("http://", "https://")
        name = Hosts.of([urlsplit(url).netloc]).answered
    except Exception as error:  # anything: a download, another program's output, and proxies in between
        raise Failure(
            f"--share: no public link could be created: {error}",
            "Check the connection and its proxies, or leave out --share.",
        ) from error
    return url, replace(access, hosts=replace(access.hosts, named=(*access.hosts.named, *name)))
