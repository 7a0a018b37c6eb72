"""The names to which the page answers, as browsers send them in Host, X-Forwarded-Host and Origin.

A foreign page can make a browser send almost anything, but cannot change these: they alone reveal a request from a
page that someone else serves, even if its name resolves to this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

PORTS = {"http": 80, "https": 443}
"""The default ports, which a browser leaves out of Host and Origin."""

_AUTHORITY = re.compile(r"(?P<name>(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@\\]+)")


@dataclass(frozen=True)
class Authority:
    """A name or address in lower case, IPv6 in brackets, and the port if given."""

    name: str
    port: int | None = None

    def matches(self, name: str) -> bool:
        """Whether the name is this one, or below it if this is like *.example.org."""
        return name == self.name or (self.name.startswith("*.") and name.endswith(self.name[1:]))


def authority(text: str) -> Authority | None:
    """`name`, `name:port`, `[IPv6]:port`; None if it is none of these, such as a name with a trailing dot."""
    found = _AUTHORITY.fullmatch(text.lower())
    if not found:
        return None
    name = found["name"]
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1]).compressed}]"
        except ValueError:
            return None
    port = int(found["port"]) if found["port"] else None
    return Authority(name, port) if port is None or 0 < port < 65536 else None


def in_brackets(address: str) -> str:
    """An address as written in a URL: IPv6 in brackets, without the network interface after it."""
    address = address.strip().strip("[]").partition("%")[0]
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True)
class Hosts:
    """answered: names of the page itself.

    named: names forwarded by something else, such as a reverse proxy, which may send its own in Host.
    addresses: whether it also answers to any address, because what is in front of it may have others: a router, the
    host of a container or virtual machine. No foreign page has an address as its name that this one would answer to.
    """

    answered: tuple[Authority, ...]
    named: tuple[Authority, ...] = ()
    addresses: bool = False

    @staticmethod
    def of(answered: Iterable[str], named: Iterable[str] = (), addresses: bool = False) -> Hosts:
        """From names as people write them.  Raises ValueError with the invalid one."""
        return Hosts(tuple(map(_named, answered)), tuple(map(_named, named)), addresses)

    def know(self, told: str) -> bool:
        """Whether Host or X-Forwarded-Host is one of them, on whatever port: a tunnel has its own port."""
        one = authority(told)
        if one is None:
            return False
        return (self.addresses and _is_address(one.name)) or any(
            known.matches(one.name) for known in (*self.answered, *self.named)
        )

    def own(self, origin: str, host: str) -> bool:
        """Whether the requesting page, by its Origin, is this one, which is addressed as `host`.

        Another port is another program's. `null` is the origin of sandboxed frames and files, which anyone can make.
        """
        found = _ORIGIN.fullmatch(origin.lower())
        asking, asked = authority(found["authority"]) if found else None, authority(host)
        if not found or asking is None or asked is None:
            return False
        usual = PORTS[found["scheme"]]
        port = asking.port or usual
        return (asking.name, port) == (asked.name, asked.port or usual) or any(
            known.matches(asking.name) and port == (known.port or usual) for known in self.named
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _named(text: str) -> Authority:
    one = authority(text)
    if one is None:
        raise ValueError(text)
    return one


def machine_names() -> list[str]:
    """This machine's own names, and the addresses of its network interfaces."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    addresses = [
        in_brackets(address.address)
        for card in psutil.net_if_addrs().values()
        for address in card
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    # Home networks find machines under .local, if no server knows their names.
    return [one for one in dict.fromkeys([name, short, f"{short}.local", *addresses]) if authority(one)]


def is_loopback(address: str) -> bool:
    """Whether only programs on this machine can reach what listens there.  Raises OSError for an unknown name."""
    found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(told[4][0]).partition("%")[0]).is_loopback for told in found)
