"""Who may connect: what the launcher's options ask for, and whether that is safe to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.failure import Failure
from ui.hosts import LOOPBACK, Hosts, authority, in_brackets, is_loopback, machine_names

PASSWORD_VARIABLE = "DARKROOM_PASSWORD"
LONGEST_PASSWORD = 4096
"""Bytes of a password file, so that a wrong path is no long wait."""

EVERYONE = "--allow_everyone_without_password"


@dataclass(frozen=True)
class Access:
    """address: to listen on.  opened_by: the option by which others reach the page; "" where only this machine does."""

    address: str
    hosts: Hosts
    username: str = ""
    password: str = ""
    opened_by: str = ""

    @property
    def notice(self) -> str:
        """What the page says of it."""
        if not self.opened_by:
            return ""
        if self.password:
            return "Open to other computers: whoever has the user name and password can do here what you can."
        return "Open to everyone who reaches it, without a password: they can read and change files here as you can."


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
    """What the options ask for.  Raises Failure where they are wrong, or open the page with neither password nor wish.

    A password that stands in DARKROOM_PASSWORD is taken out of the environment: runs need not know it.
    """
    address = listen.strip().strip("[]") or "127.0.0.1"
    try:
        private = is_loopback(address)
    except (OSError, UnicodeError) as error:
        raise Failure(
            f"--listen: there is no address {listen!r}.",
            "Give one of this machine's, 0.0.0.0 for all of them, or leave it out to serve this machine alone.",
        ) from error
    named = _named(allowed_hosts, root_path)
    opened_by = _opened_by(listen, private, share, named)
    username, password = username.strip(), _password(password, password_file)
    if bool(username) != bool(password):
        raise Failure(
            "A user name and a password go together: "
            + ("--username is missing." if password else "the password is missing."),
            f"Give --username with --password_file FILE, or with the password in {PASSWORD_VARIABLE}; or none of them.",
        )
    if opened_by and not password and not everyone:
        raise Failure(
            f"{opened_by} opens the page to other computers: whoever reaches it can read and change files as you can.",
            f"Give --username with --password_file FILE, or with the password in {PASSWORD_VARIABLE}. "
            f"Where something in front of the page asks for one already, or everyone may: {EVERYONE}.",
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
    """Those of --allowed_hosts, with blanks or commas between, and that in --root_path where it is a whole address."""
    named = [name for told in allowed_hosts for name in told.replace(",", " ").split()]
    for name in named:
        if authority(name) is None:
            raise Failure(
                f"--allowed_hosts: {name!r} is no name of a host.",
                "Give names as browsers show them, without https:// and path: train.example.org, *.example.org, "
                "10.0.0.7:8443.",
            )
    if "://" in root_path:
        name = root_path.partition("://")[2].partition("/")[0]
        if authority(name) is None:
            raise Failure(
                f"--root_path: {root_path!r} is no address.", "Give a path, or an address: https://train.example.org/x."
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
        raise Failure("--password and --password_file are two passwords.", "Give one of them.")
    if not file:
        return told or kept
    try:
        with file.open("rb") as stream:
            content = stream.read(LONGEST_PASSWORD + 1)
        password = content.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Failure(
            f"--password_file: {file} cannot be read: {why}.", "Give a text file with the password."
        ) from error
    if not password or len(content) > LONGEST_PASSWORD or len(password.splitlines()) > 1:
        raise Failure(
            f"--password_file: {file} holds {'nothing' if not password else 'more than a password'}.",
            "Put the password into its first line, and nothing else.",
        )
    return password
