"""A small hub on this machine: it answers as the Hugging Face hub does, so that the real client can be asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """models: the files of each by name.  gated: names for which a token is asked.  fetched: files that were got.

    cut_after: bytes of a file after which the line is cut, once for each number in it.
    """

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.gated: dict[str, str] = {}
        self.fetched: list[str] = []
        self.asked = 0
        self.cut: set[str] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name: str, folder: Path) -> None:
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        self.models[name] = files

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        path = unquote(urlsplit(request.path).path).strip("/").split("/")
        name = "/".join(path[2:4] if path[0] == "api" else path[:2])
        files = self.models.get(name)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if files is None:
            self._send(request, 401, b"Invalid username or password.", {"X-Error-Code": "RepoNotFound"})
        elif name in self.gated and token != self.gated[name] and not self._is_listing(path):
            self._send(request, 403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        elif path[0] != "api":
            self._file(request, files, "/".join(path[4:]))
        elif "tree" in path:
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": _etag(content)}
                for file, content in files.items()
            ]
            self._send(request, 200, json.dumps(entries).encode(), {})
        else:
            siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
            said = {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0, "private": False}
            self._send(request, 200, json.dumps(said).encode(), {})

    def _is_listing(self, path: list[str]) -> bool:
        """The hub shows the list of a gated model's files to everybody."""
        return path[0] == "api"

    def _file(self, request: BaseHTTPRequestHandler, files: dict[str, bytes], file: str) -> None:
        content = files.get(file)
        if content is None:
            self._send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if request.command == "HEAD":
            self._send(request, 200, content, headers)
            return
        self.fetched.append(file)
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._send(request, 206 if begin else 200, content[begin:], headers, cut=file in self.cut)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str], cut: bool = False
    ) -> None:
        request.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            request.close_connection = True


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def served(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the real client asks within the block.  cache: where it keeps what it has fetched."""
    hub, constants = Hub(), huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
