"""Who may connect: what the launcher's options ask for, and whether that is safe."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.failure import Failure
from ui.hosts import LOOPBACK, Hosts, authority, in_brackets, is_loopback, machine_names

PASSWORD_VARIABLE = "DARKROOM_PASSWORD"
LONGEST_PASSWORD = 4096
"""Bytes of a password file, so that a wrong path does not mean a long wait."""

EVERYONE = "--allow_everyone_without_password"


@dataclass(frozen=True)
class Access:
    """address: to listen on.  opened_by: the option that lets others reach the page; "" if only this machine can."""

    address: str
    hosts: Hosts
    username: str = ""
    password: str = ""
    opened_by: str = ""

    @property
    def notice(self) -> str:
        """The notice that the page shows about it."""
        if not self.opened_by:
            return ""
        if self.password:
            return "Open to other computers: anyone with the user name and password can do everything you can do here."
        return "Open to anyone who can reach it, without a password: they can read and change files just as you can."


def asked_for(
    listen: str,
    share: bool = False,
    root_path: str = "",
    allowed_hosts: tuple[str, ...] = (),
    username: str = "",
    password: str = "",
    password_file: Path | None = None,
    everyone: bool = False,
) -> Access:
    """What the options ask for.  Raises Failure if they are wrong, or open the page without password or consent.

    A password in DARKROOM_PASSWORD is removed from the environment: runs need not know it.
    """
    address = listen.strip().strip("[]") or "127.0.0.1"
    try:
        private = is_loopback(address)
    except (OSError, UnicodeError) as error:
        raise Failure(
            f"--listen: {listen!r} is not an address.",
            "Give an address of this machine, 0.0.0.0 for all of them, or leave it out to serve only this machine.",
        ) from error
    named = _named(allowed_hosts, root_path)
    opened_by = _opened_by(listen, private, share, named)
    username, password = username.strip(), _password(password, password_file)
    if bool(username) != bool(password):
        raise Failure(
            "A user name and a password go together: "
            + ("--username is missing." if password else "the password is missing."),
            f"Give --username with --password_file FILE, or with the password in {PASSWORD_VARIABLE}; or neither.",
        )
    if opened_by and not password and not everyone:
        raise Failure(
            f"{opened_by} opens the page to other computers: anyone who can reach it can read and change files just as "
            "you can.",
            f"Give --username with --password_file FILE, or with the password in {PASSWORD_VARIABLE}. "
            f"If a proxy in front of the page already asks for one, or everyone may use it, add {EVERYONE}.",
        )
    answered = list(LOOPBACK) if private else [*LOOPBACK, *machine_names()]
    own = in_brackets(address)
    return Access(
        address,
        Hosts.of([*answered, own] if authority(own) else answered, named, addresses=not private),
        username,
        password,
        opened_by,
    )


def _named(allowed_hosts: tuple[str, ...], root_path: str) -> list[str]:
    """The names in --allowed_hosts, separated by spaces or commas, and the one in --root_path if it is a full URL."""
    named = [name for told in allowed_hosts for name in told.replace(",", " ").split()]
    for name in named:
        if authority(name) is None:
            raise Failure(
                f"--allowed_hosts: {name!r} is not a host name.",
                "Give names as browsers show them, without https:// and path: train.example.org, *.example.org, "
                "10.0.0.7:8443.",
            )
    if "://" in root_path:
        name = root_path.partition("://")[2].partition("/")[0]
        if authority(name) is None:
            raise Failure(
                f"--root_path: {root_path!r} is not a URL.",
                "Give a path, or a URL such as https://train.example.org/x.",
            )
        named.append(name)
    return named


def _opened_by(listen: str, private: bool, share: bool, named: list[str]) -> str:
    foreign = [name for name in named if name.partition(":")[0] not in LOOPBACK and not name.startswith("[::1]")]
    opened = [
        f"--listen {listen}" if not private else "",
        "--share" if share else "",
        f"The name {foreign[0]}" if foreign else "",
    ]
    return next(filter(None, opened), "")


def _password(told: str, file: Path | None) -> str:
    kept = os.environ.pop(PASSWORD_VARIABLE, "")
    if told and file:
        raise Failure("--password and --password_file both give a password.", "Use only one of them.")
    if not file:
        return told or kept
    try:
        with file.open("rb") as stream:
            content = stream.read(LONGEST_PASSWORD + 1)
        password = content.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Failure(
            f"--password_file: {file} cannot be read: {why}.", "Give a text file with the password."
        ) from error
    if not password or len(content) > LONGEST_PASSWORD or len(password.splitlines()) > 1:
        raise Failure(
            f"--password_file: {file} {'is empty' if not password else 'holds more than a password'}.",
            "Put the password on its first line, and nothing else.",
        )
    return password
