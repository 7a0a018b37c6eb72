"""Command lines taken apart and put together, as Linux, Windows and web pages have them."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_LOOKS_LIKE_WINDOWS = re.compile(r"[A-Za-z]:\\|\w\\\w|\\\\\w|[\^`][ \t]*\r?\n")

_COMMON = r"""
    (?P<goes_on>[\\^`][ \t]*\r?\n)
  | “(?P<curly>[^”]*)”
  | '(?P<single>[^']*)'
"""
_POSIX = re.compile(rf'{_COMMON} | "(?P<double>(?:\\.|[^"\\])*)" | \\(?P<escaped>.) | (?P<other>.)', re.X | re.S)
# A backslash before a closing quote is a folder's, where an argument or nothing follows.
_WINDOWS = re.compile(
    rf'{_COMMON} | "(?P<double>(?:\\"(?!\s+(?:--|[–—^`|>&])|\s*$)|[^"])*)" | \^(?P<escaped>[&|<>^%]) | (?P<other>.)',
    re.X | re.S | re.M,
)
_WRITTEN_DASHES = re.compile(r"^(?:[–—]-?|-[–—])(?=[A-Za-z])")


class Sign(str):
    """A word that is the shell's own: what follows is another command, where to write to, or a remark."""


_SIGNS = {"&&", "||", ";", "|", "&", ">", ">>", "2>", "2>&1"}


def lines_of_words(text: str) -> list[list[str]]:
    """The words of each line; a line that ends in \\, ^ or ` goes on in the next.

    Backslashes are parts of paths where the text looks like one of Windows, else they escape as in POSIX shells.
    Quotes and dashes may be those that web pages make of them.
    """
    lines: list[list[str]] = [[]]
    word: str | None = None
    bare = begins_bare = True
    for piece, in_quotes, ends_line in [*_pieces(text), (None, False, True)]:
        if piece is not None:
            begins_bare = not in_quotes if word is None else begins_bare
            bare = not in_quotes and (bare or word is None)
            word = (word or "") + piece
            continue
        if word is not None:
            word = _WRITTEN_DASHES.sub("--", word) if begins_bare else word
            lines[-1].append(Sign(word) if bare and (word in _SIGNS or word.startswith("#")) else word)
            word, bare = None, True
        if ends_line:
            lines.append([])
    return [line for line in lines if line]


def _pieces(text: str) -> Iterator[tuple[str | None, bool, bool]]:
    """(part of a word or None between words, whether it stood in quotes, whether a line ends there)."""
    windows = bool(_LOOKS_LIKE_WINDOWS.search(text))
    pattern = _WINDOWS if windows else _POSIX
    before, at = " ", 0
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:  # never: the last alternative takes any character
            break
        kind = str(match.lastgroup)
        if kind == "single" and windows and not before.isspace() and before not in "='\"":
            kind, piece, at = "other", "'", at + 1  # an apostrophe
        else:
            piece, at = match[kind], match.end()
        if kind == "goes_on" or (kind == "other" and piece.isspace()):
            yield None, False, piece == "\n"
        elif kind == "double":
            yield _unescaped(piece, windows), True, False
        else:
            yield piece, kind in ("single", "curly"), False
        before = text[at - 1]


def _unescaped(text: str, windows: bool) -> str:
    """What stands between double quotes."""
    if windows:
        return re.sub(r"\\\\$", r"\\", text.replace('\\"', '"'))
    return re.sub(r'\\(["\\$`])', r"\1", re.sub(r"\\\r?\n", "", text))


def words_of(text: str) -> list[str]:
    """The words of a text field, whatever stands in it."""
    return [word for line in lines_of_words(text) for word in line]


def arguments_in(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(arguments by name, words that belong to none): True for --name, text for --name A or --name=A, a list for more.

    Where a name comes twice, the last counts.
    """
    found: dict[str, Any] = {}
    strays: list[str] = []
    name = ""
    for word in words:
        if re.match(r"--[A-Za-z]", word):
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else True
            name = "" if equals else name
        elif not name:
            strays.append(word)
        elif found[name] is True:
            found[name] = word
        else:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), word]
    return found, strays


def words_from(arguments: Mapping[str, Any]) -> Iterable[str]:
    """Arguments as words; a value that begins with a dash is bound by =, so that it is not taken for a name."""
    for name, value in arguments.items():
        if value is False:
            continue
        values = [] if value is True else [str(part) for part in (value if isinstance(value, list) else [value])]
        if len(values) == 1 and values[0].startswith("-"):
            yield f"--{name}={values[0]}"
        else:
            yield from [f"--{name}", *values]


def quoted(words: Iterable[str], windows: bool = False) -> str:
    """The words as one line, quoted for a POSIX shell or for Windows."""
    return subprocess.list2cmdline(list(words)) if windows else shlex.join(words)
