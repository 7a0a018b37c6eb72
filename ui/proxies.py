"""The environment's proxies are for downloads such as from the hub; the page itself makes no requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

ALL_WITHOUT = "no_proxy"


@contextmanager
def no_proxies() -> Iterator[None]:
    """Within the block, new HTTP clients use no proxy; afterwards the environment is restored.

    Gradio creates one when it is imported, and httpx refuses to create it for a proxy that it does not know, such as
    socks5://. urllib, and so httpx, takes an asterisk for all addresses; it also keeps them from reading the settings
    of Windows and macOS.
    """
    # If both spellings are set, urllib uses the lower-case one. Windows makes no difference.
    before = os.environ.get(ALL_WITHOUT)
    os.environ[ALL_WITHOUT] = "*"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ALL_WITHOUT]
        else:
            os.environ[ALL_WITHOUT] = before
