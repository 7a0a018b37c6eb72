"""Asking for a name and a password: whoever is wrong waits, and is written down."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar

from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

CLIENT: ContextVar[str] = ContextVar("client", default="?")
"""The address that asks; the guard sets it."""

BY_ONE, BY_ALL = (5, 15.0), (40, 2.0)
"""Wrong tries at once, and the seconds after which one more is free: of one address, and of all together."""

LONGEST_WAIT = 20.0
"""Seconds that a try is kept waiting; one that would have to wait longer is turned away at once."""

MOST_CLIENTS = 1000
SHOWN_NAME = 40
"""Characters of a name that the log shows."""


class Pace:
    """A number of tries at once, then one an interval, for each key, of which the `most` latest are remembered.

    Source: the generic cell rate algorithm (ITU-T I.371), whose only memory of a key is when its tries are free again.
    """

    def __init__(self, burst: int, interval: float, most: int = 1) -> None:
        self._burst, self._interval, self._most = burst, interval, most
        self._free_again: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Seconds that a try has to wait."""
        return max(0.0, self._free_again.get(key, now) - (self._burst - 1) * self._interval - now)

    def take(self, key: str, now: float) -> None:
        self._free_again[key] = max(self._free_again.pop(key, now), now) + self._interval
        if len(self._free_again) > self._most:
            self._free_again.popitem(last=False)

    def give_back(self, key: str) -> None:
        """After a try that was right."""
        if key in self._free_again:
            self._free_again[key] -= self._interval

    def __len__(self) -> int:
        return len(self._free_again)


class Logins:
    """Judges names and passwords for one account.  clock: seconds."""

    def __init__(self, username: str, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._username, self._password = _digest(username), _digest(password)
        self._clock = clock
        self.by_one, self.by_all = Pace(*BY_ONE, most=MOST_CLIENTS), Pace(*BY_ALL)

    async def are_right(self, username: str, password: str) -> bool:
        """Whether both are right.  Raises HTTPException 429 where too many were wrong before.

        A try is counted before it is judged, so that many at once get no more than the same one after another.
        """
        client = _counted_as(CLIENT.get())
        now = self._clock()
        wait = max(self.by_one.wait(client, now), self.by_all.wait("", now))
        if wait > LONGEST_WAIT:
            raise HTTPException(429, f"Too many wrong logins. Try again in {wait:.0f} seconds.")
        self.by_one.take(client, now)
        self.by_all.take("", now)
        if wait:
            await asyncio.sleep(wait)
        # Both are compared, and whole: the time of an answer tells nothing of which was wrong, or where.
        right = hmac.compare_digest(self._username, _digest(username)) & hmac.compare_digest(
            self._password, _digest(password)
        )
        if right:
            self.by_one.give_back(client)
            self.by_all.give_back("")
        else:
            log.warning("Wrong login from %s, as %s.", CLIENT.get(), ascii(username[:SHOWN_NAME]))
        return bool(right)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _counted_as(client: str) -> str:
    """Whoever has one IPv6 address has 2⁶⁴ of them."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return client
