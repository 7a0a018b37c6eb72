"""The proxies that the environment names are for the hub and the like; this page asks nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

ALL_WITHOUT = "no_proxy"


@contextmanager
def no_proxies() -> Iterator[None]:
    """Within the block, what is made to speak HTTP has no proxy; after it the environment is as before.

    Gradio makes such a thing when it is imported, and httpx refuses to make it for a proxy that it does not know, such
    as socks5://. An asterisk is what urllib, and with it httpx, takes for all addresses; it also keeps them from asking
    the settings of Windows and macOS.
    """
    # Where both spellings are there, urllib follows the small one. Windows knows no difference.
    before = os.environ.get(ALL_WITHOUT)
    os.environ[ALL_WITHOUT] = "*"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ALL_WITHOUT]
        else:
            os.environ[ALL_WITHOUT] = before
