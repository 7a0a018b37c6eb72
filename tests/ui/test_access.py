"""What the launcher's options open, and what they ask for in return."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine.failure import Failure
from ui.access import EVERYONE, PASSWORD_VARIABLE, asked_for

OPENED: list[dict[str, Any]] = [
    {"listen": "0.0.0.0"},
    {"listen": "::"},
    {"listen": "[::]"},
    {"listen": "192.0.2.1"},
    {"listen": "127.0.0.1", "share": True},
    {"listen": "127.0.0.1", "allowed_hosts": ("train.example.org",)},
    {"listen": "127.0.0.1", "allowed_hosts": ("localhost.example.org",)},
    {"listen": "127.0.0.1", "root_path": "https://train.example.org/x"},
]


@pytest.mark.parametrize("options", OPENED, ids=str)
def test_whatever_opens_the_page_needs_a_password_or_the_wish_to_have_none(options: dict[str, Any]):
    with pytest.raises(Failure) as refused:
        asked_for(**options)
    sentence = f"{refused.value.what} {refused.value.mend}"
    for word in ("opens the page to other computers", "--username", "--password_file", PASSWORD_VARIABLE, EVERYONE):
        assert word in sentence
    with_password = asked_for(**options, username="me", password="secret")
    assert (with_password.username, with_password.password) == ("me", "secret")
    assert "user name and password" in with_password.notice
    open_to_all = asked_for(**options, everyone=True)
    assert open_to_all.password == ""
    assert "without a password" in open_to_all.notice


@pytest.mark.parametrize("listen", ["127.0.0.1", "localhost", "::1", "[::1]", "", "127.0.0.5"])
def test_a_page_of_this_machine_alone_asks_nothing_and_says_nothing(listen: str):
    access = asked_for(listen, allowed_hosts=("localhost:8080",))
    assert (access.opened_by, access.notice, access.password) == ("", "", "")
    assert access.hosts.know("localhost:7860")
    assert access.hosts.know("[::1]:7860")
    assert not access.hosts.know("example.org")


def test_the_whole_network_finds_the_machine_by_its_own_names_any_address_and_no_other_name(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("ui.access.machine_names", lambda: ["box", "box.local", "10.0.0.7", "[fe80::1]"])
    for listen in ("0.0.0.0", "::", "192.0.2.1"):
        hosts = asked_for(listen, everyone=True).hosts
        for name in ("box", "BOX.local:7860", "10.0.0.7:7860", "[fe80::1]:7860", "localhost"):
            assert hosts.know(name)
        assert not hosts.know("example.org")
        assert hosts.know("203.0.113.9:7860")  # a router's, or a container's host's, which passes it on
    assert hosts.know("192.0.2.1:7860")


def test_names_may_stand_apart_or_be_joined_and_a_whole_root_path_names_one():
    hosts = asked_for(
        "127.0.0.1", root_path="https://far.example.org:8443/x", allowed_hosts=("a.org,b.org", "c.org"), everyone=True
    ).hosts
    for name in ("a.org", "b.org", "c.org", "far.example.org"):
        assert hosts.know(name)
    assert hosts.own("https://far.example.org:8443", "127.0.0.1:7860")


@pytest.mark.parametrize("name", ["https://a.org", "a.org/x", "*", "a..org", "a.*.org", "a b/", "[::g]", "a.org:0"])
def test_what_is_no_name_is_refused_with_the_option(name: str):
    with pytest.raises(Failure, match=r"--allowed_hosts"):
        asked_for("127.0.0.1", allowed_hosts=(name,), everyone=True)


@pytest.mark.parametrize("listen", ["nowhere.invalid", "300.1.1.1", "a b", "." * 70, "x" * 300])
def test_an_address_that_leads_nowhere_is_named(listen: str):
    with pytest.raises(Failure, match=r"--listen: .* is not an address"):
        asked_for(listen)


def test_the_password_comes_from_an_option_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "password"
    monkeypatch.setenv(PASSWORD_VARIABLE, "kept")
    assert asked_for("127.0.0.1", username="me").password == "kept"
    assert PASSWORD_VARIABLE not in os.environ  # runs inherit the environment
    for content, password in (
        (b"secret\n", "secret"),
        (b"\xef\xbb\xbfsecret\r\n", "secret"),
        ("gehéim ".encode(), "gehéim "),
    ):
        file.write_bytes(content)
        monkeypatch.setenv(PASSWORD_VARIABLE, "kept")
        assert asked_for("127.0.0.1", username="me", password_file=file).password == password
        assert PASSWORD_VARIABLE not in os.environ
    monkeypatch.setenv(PASSWORD_VARIABLE, "kept")
    assert asked_for("127.0.0.1", username="me", password="told").password == "told"


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"x" * 5000, b"\xff\xfe"])
def test_a_file_that_holds_no_password_is_refused(tmp_path: Path, content: bytes):
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(Failure, match="--password_file"):
        asked_for("127.0.0.1", username="me", password_file=file)


def test_what_does_not_go_together_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(Failure, match="cannot be read: No such file"):
        asked_for("127.0.0.1", username="me", password_file=tmp_path / "none")
    with pytest.raises(Failure, match="both give a password"):
        asked_for("127.0.0.1", username="me", password="a", password_file=tmp_path / "none")
    with pytest.raises(Failure, match="the password is missing"):
        asked_for("127.0.0.1", username="me")
    monkeypatch.setenv(PASSWORD_VARIABLE, "kept")
    with pytest.raises(Failure, match="--username is missing"):
        asked_for("127.0.0.1")
