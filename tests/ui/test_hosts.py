"""Names and origins, by their words alone."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.hosts import LOOPBACK, Hosts, authority, in_brackets, is_loopback, machine_names

MACHINE = Hosts.of(LOOPBACK)
PROXIED = Hosts.of(LOOPBACK, ["train.example.org", "*.pods.example.com", "box.example.net:8443", "[fd00::7]"])


@pytest.mark.parametrize(
    "host",
    ["train.example.org", "TRAIN.Example.ORG:443", "a.pods.example.com", "a.b.pods.example.com:1",
     "[FD00:0::7]:80", "box.example.net", "box.example.net:7860"]
)  # fmt: skip
def test_named_hosts_are_known_on_whatever_port(host: str):
    assert PROXIED.know(host)
    assert not MACHINE.know(host)


@pytest.mark.parametrize(
    "host",
    ["pods.example.com", "evilpods.example.com", "example.org", "train.example.org.evil.com", "a.train.example.org",
             "xtrain.example.org", "*.pods.example.com.evil.com", "[fd00::8]",
     "train.example.org\n", " train.example.org", "train.example.org\0"]
)  # fmt: skip
def test_names_that_only_look_like_them_are_not(host: str):
    assert not PROXIED.know(host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [("http://localhost:7860", "localhost:7860"), ("HTTP://LOCALHOST:7860", "localhost:7860"),
     ("http://localhost", "localhost:80"), ("http://localhost:80", "localhost"), ("https://localhost", "localhost:443"),
     ("http://[::1]:7860", "[0:0::1]:7860"), ("http://10.0.0.7:7860", "10.0.0.7:7860")],
)  # fmt: skip
def test_an_origin_is_own_where_name_and_port_are_those_that_were_asked(origin: str, host: str):
    assert MACHINE.own(origin, host)


def test_a_proxy_that_keeps_its_name_to_itself_has_to_be_named():
    for origin in ("https://train.example.org", "http://train.example.org:80", "https://x.pods.example.com",
                   "https://box.example.net:8443", "http://[fd00::7]"):  # fmt: skip
        assert PROXIED.own(origin, "127.0.0.1:7860")
        assert not MACHINE.own(origin, "127.0.0.1:7860")
    for other in ("https://train.example.org:8443", "https://box.example.net", "https://pods.example.com",
                  "http://train.example.org:7860", "http://localhost", "https://localhost"):  # fmt: skip
        assert not PROXIED.own(other, "127.0.0.1:7860")


@pytest.mark.parametrize("host", ["203.0.113.9:7860", "192.168.1.5", "[fd00::8]:7860"])
def test_a_page_for_others_answers_under_any_address_but_under_no_other_name(host: str):
    """What lies before it, a router or a container's host, has addresses that this machine does not know."""
    opened = Hosts.of(LOOPBACK, addresses=True)
    assert opened.know(host)
    assert not MACHINE.know(host)
    for name in (
        "evil.test",
        "203.0.113.9.evil.test",
        "3405803785",
        "0xcb.0.113.9",
        "203.0.113",
        "[fd00::8].evil.test",
    ):
        assert not opened.know(name)
    assert not opened.own("http://198.51.100.7:7860", host)


@given(st.text(max_size=40))
def test_whatever_is_told_is_no_name_of_this_machine_unless_it_is(text: str):
    known = MACHINE.know(text)
    told = text.strip().lower()
    assert not known or told.startswith(LOOPBACK) or ":" in told
    assert not MACHINE.own(text, "localhost:7860")


@given(st.sampled_from(["localhost", "127.0.0.1", "[::1]"]), st.text(min_size=1, max_size=5), st.booleans())
def test_nothing_can_be_put_around_a_name(name: str, more: str, before: bool):
    told = more + name if before else name + more
    one = authority(told)
    assert not MACHINE.know(told) or (one is not None and one.name in LOOPBACK)


def test_addresses_stand_in_brackets_as_in_a_url():
    assert in_brackets("::1") == in_brackets("[::1]") == "[::1]"
    assert in_brackets("fe80::1%eth0") == "[fe80::1]"
    assert in_brackets(" 10.0.0.7") == "10.0.0.7"


def test_the_machine_tells_its_names_and_addresses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.lan")
    names = machine_names()
    assert names[:3] == ["box.lan", "box", "box.local"]
    assert "127.0.0.1" in names
    assert all(authority(name) for name in names)
    monkeypatch.setattr(socket, "gethostname", lambda: "no name at all")
    assert machine_names()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "is_so"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.7", False), ("192.0.2.1", False), ("fe80::1", False)],
)  # fmt: skip
def test_only_loopback_addresses_are_for_this_machine_alone(address: str, is_so: bool):
    assert is_loopback(address) is is_so
