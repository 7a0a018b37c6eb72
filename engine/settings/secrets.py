"""Secrets: access tokens, keys and passwords.  Nothing that this program writes, prints or shows holds one.

An option that is one says so in its declaration; everywhere else (arguments that someone typed, keys of other
programs' files) its name tells. A token for the Hugging Face hub comes to a run by the environment variable HF_TOKEN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.settings.shell_words import quoted, words_of

ARGUMENT_FIELDS = ("additional_parameters", "extra_accelerate_launch_args", "optimizer_args", "lr_scheduler_args")
"""Options that hold arguments for other programs, and with them whatever these take."""

HIDDEN = "…"

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ALWAYS = {
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "auth",
    "oauth",
}
_OF_A_SERVICE = re.compile(r"(api|access|auth|bearer|hub|hf|huggingface|wandb|private)(token|key)s?")
_OF_TEXTS = {"per", "class", "trigger", "instance", "placeholder", "initializer", "special", "pad"}
"""What stands before "token" where that is a piece of a text."""

_SHORTENED = ("huggingfacet", "wandba")
"""How sd-scripts' two begin as far as its command line needs them: it takes any beginning that only one name has."""

_DASH = "[-–—−]"
"""Typed, or made of two of them by a web page."""

_ARGUMENT = re.compile(rf"(?P<dash>{_DASH}{{0,3}})(?P<name>[A-Za-z_$%][\w.:-]*)(?P<sign>=|$)")
_SETTERS = ("set", "setx", "export")
"""Commands that set a variable; for cmd.exe all that follows is its value."""

_LONG = re.compile(rf"(?:{_DASH}{{2,3}}|[–—−])[A-Za-z]")
_TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|gh[opsu]_[A-Za-z0-9]{30,}|github_pat_\w{30,})")
"""What is one without a name before it: the Hugging Face hub's and GitHub's."""

_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@\"']+(?=@)")
_HEADER = re.compile(r"(\bBearer[ \t]+|\b[Aa]uthorization:[ \t]*(?:(?:[Bb]earer|[Bb]asic|[Tt]oken)[ \t]+)?)[^\s\"']+")
_SETTING = re.compile(
    r"""(?:(?:^|(?<=\s))(?:setx?|export)\s+|SetEnvironmentVariable\()["']?(?P<name>\w+)(?:\s*=\s*|[\s,]+)
    |\$(?:\w+:)?(?P<variable>\w+)\s*\+?=\s*""",
    re.IGNORECASE | re.VERBOSE,
)
"""A variable that a line of a script sets; what follows may be any expression."""

_NAMED = re.compile(r"""(?P<name>(?<![\w.-])[-–—−]{0,3}[A-Za-z_][\w.-]*)(?P<sign>\s*=\s*|["']\s*[:=]\s*|["']?\s+)""")
_VALUE = re.compile(r"""\[[^\]]*(?:\]|$)|"(?:\\.|[^"\\])*(?:"|$)|'[^']*(?:'|$)|“[^”]*(?:”|$)|[^\s,;)\]}]+""")


def is_secret(name: str) -> bool:
    """Whether what a name stands for is a secret, as far as a name can tell: "--wandb_api_key", "hfToken"."""
    parts = [part.lower() for part in _PARTS.findall(name)]
    together = "".join(parts)
    return bool(
        _ALWAYS & set(parts)
        or _OF_A_SERVICE.search(together)
        or together.startswith(_SHORTENED)
        or (parts and parts[-1] == "token" and not _OF_TEXTS & set(parts[-2:]))
    )


def left_out(names: Sequence[str]) -> list[str]:
    """What there is to say where something was written without these."""
    if not names:
        return []
    return [f"Left out, because secrets are never written to files: {', '.join(dict.fromkeys(names))}."]


def without_secrets(data: Any) -> tuple[Any, list[str]]:
    """(What a file may hold of some data, the names of what it may not).  A list is taken for a command's words too."""
    if isinstance(data, Mapping):
        kept: dict[Any, Any] = {}
        names: list[str] = []
        for key, value in data.items():
            if is_secret(str(key)):
                names += [str(key)] if value not in ("", None, False) else []
                continue
            kept[key], inner = without_secrets(value)
            names += inner
        return kept, names
    if isinstance(data, str):
        return arguments_without_secrets(data)
    if not isinstance(data, list):
        return data, []
    if all(isinstance(part, str) for part in data):
        return words_without_secrets(data)
    cleaned = [without_secrets(part) for part in data]
    return [part for part, _ in cleaned], [name for _, names in cleaned for name in names]


def arguments_without_secrets(text: str) -> tuple[str, list[str]]:
    """(Arguments as someone typed them, the names of those that were taken out); untouched where there are none."""
    words, names = words_without_secrets(words_of(text))
    return hidden(quoted(words) if names else text), names


def words_without_secrets(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(A command's words, the names of the arguments that were taken out with their values)."""
    kept: list[str] = []
    names: list[str] = []
    within = ""  # the argument that was taken out, whose values these are; "first" right behind its name
    for word in words:
        named = _ARGUMENT.match(word)
        if named and is_secret(named["name"]) and (named["dash"] or named["sign"]):
            names.append(f"{named['dash']}{named['name']}")
            is_set = bool(kept) and kept[-1].lower().lstrip("@") in _SETTERS
            within = "first" if named["dash"] and not named["sign"] else "more" if named["dash"] or is_set else ""
        elif within and not _LONG.match(word) and (within == "first" or not named or not named["dash"]):
            within = "more"
        else:
            within = ""
            inner = arguments_without_secrets(word) if any(map(str.isspace, word)) else (hidden(word), [])
            kept.append(inner[0])
            names += inner[1]
    return kept, names


def shown(words: Sequence[str]) -> str:
    """A command for people, its secrets out of sight."""
    kept, names = words_without_secrets(words)
    if "login" in kept:
        kept = [*kept[: kept.index("login") + 1], *([HIDDEN] if kept[-1] != "login" else [])]
    line = " ".join([*kept, *(f"{name}={HIDDEN}" for name in names)])
    for found in _SETTING.finditer(line):
        if is_secret(found["name"] or found["variable"]):
            return hidden(line[: found.end()].rstrip()) + f" {HIDDEN}"
    return hidden(line)


def hidden(text: str) -> str:
    """A sentence or another text with "…" for each secret that is named in it."""
    parts, done = [], 0
    for found in _NAMED.finditer(text):
        told = re.match(_DASH, found["name"]) or not found["sign"].isspace()
        if found.start() >= done and told and is_secret(found["name"]):
            value = _VALUE.match(text, found.end())
            if value:
                parts += [text[done : found.end()], HIDDEN]
                done = value.end()
    named = "".join([*parts, text[done:]])
    return tokens_hidden(_HEADER.sub(rf"\g<1>{HIDDEN}", _IN_ADDRESS.sub(HIDDEN, named)))


def tokens_hidden(text: str) -> str:
    """A text with "…" for what can be nothing but an access token; words that only sound like one stay."""
    return _TOKEN.sub(HIDDEN, text)
