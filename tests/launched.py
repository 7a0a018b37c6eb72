"""The page's own process, and requests of any kind to it: what a browser would never send, too."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 180
"""Seconds: two cores may be busy with a training."""

BOUNDARY = "a-boundary"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def upload_body(content: bytes, name: str = "a.png") -> bytes:
    """A file as a form sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


UPLOAD = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class LaunchedPage:
    """`python app.py` on a free port of this machine, with its own runs and temporary files below `folder`."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self.host = f"127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--headless", "--server_port", str(self.port), *arguments],
            cwd=ROOT,
            env=os.environ
            | {"DARKROOM_RUNS": str(folder / "runs"), "TMPDIR": str(self.temporary)}
            | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line.rstrip())
            if "Running on local URL" in line:
                self._begun.set()
        self._begun.set()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_until_it_runs(self) -> None:
        assert self._begun.wait(PATIENCE)
        assert "Running on local URL" in self.output, self.output

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._reader.join(10)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        host: str | None = None,
    ) -> Answer:
        """One request on a connection of its own, with these headers and no others but Host and Content-Length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in ({"Host": self.host if host is None else host} | dict(headers or {})).items():
            connection.putheader(name, value)
        if body or method == "POST":
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        result = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return result
