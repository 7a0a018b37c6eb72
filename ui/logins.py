"""Checking a name and a password: failures are delayed and logged."""

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
"""The client's address; the guard sets it."""

BY_ONE, BY_ALL = (5, 15.0), (40, 2.0)
"""Failed attempts at once, and seconds until one more is allowed: per address, and for all together."""

LONGEST_WAIT = 20.0
"""Longest delay of an attempt, in seconds; one that would have to wait longer is turned away at once."""

MOST_CLIENTS = 1000
SHOWN_NAME = 40
"""Characters of a name that the log shows."""


class Pace:
    """A burst of attempts, then one per interval, for each key; the `most` latest keys are remembered.

    Source: the generic cell rate algorithm (ITU-T I.371), which only stores per key when its attempts are free again.
    """

    def __init__(self, burst: int, interval: float, most: int = 1) -> None:
        self._burst, self._interval, self._most = burst, interval, most
        self._free_again: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Seconds that an attempt has to wait."""
        return max(0.0, self._free_again.get(key, now) - (self._burst - 1) * self._interval - now)

    def take(self, key: str, now: float) -> None:
        self._free_again[key] = max(self._free_again.pop(key, now), now) + self._interval
        if len(self._free_again) > self._most:
            self._free_again.popitem(last=False)

    def give_back(self, key: str) -> None:
        """After a successful attempt."""
        if key in self._free_again:
            self._free_again[key] -= self._interval

    def __len__(self) -> int:
        return len(self._free_again)


class Logins:
    """Checks names and passwords for one account.  clock: seconds."""

    def __init__(self, username: str, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._username, self._password = _digest(username), _digest(password)
        self._clock = clock
        self.by_one, self.by_all = Pace(*BY_ONE, most=MOST_CLIENTS), Pace(*BY_ALL)

    async def are_right(self, username: str, password: str) -> bool:
        """Whether both are right.  Raises HTTPException 429 after too many failures.

        An attempt is counted before it is checked, so that many in parallel get no more than one after another.
        """
        client = _counted_as(CLIENT.get())
        now = self._clock()
        wait = max(self.by_one.wait(client, now), self.by_all.wait("", now))
        if wait > LONGEST_WAIT:
            raise HTTPException(429, f"Too many failed logins. Try again in {wait:.0f} seconds.")
        self.by_one.take(client, now)
        self.by_all.take("", now)
        if wait:
            await asyncio.sleep(wait)
        # Both are compared completely: the response time does not reveal which was wrong, or where.
        right = hmac.compare_digest(self._username, _digest(username)) & hmac.compare_digest(
            self._password, _digest(password)
        )
        if right:
            self.by_one.give_back(client)
            self.by_all.give_back("")
        else:
            log.warning("Failed login from %s as %s.", CLIENT.get(), ascii(username[:SHOWN_NAME]))
        return bool(right)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _counted_as(client: str) -> str:
    """Anyone with one IPv6 address has 2⁶⁴ of them."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return client
