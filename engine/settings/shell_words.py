"""Command lines taken apart and put together, as Linux, Windows and web pages have them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.settings.quotation import Quotation

_LOOKS_LIKE_WINDOWS = re.compile(r"""[A-Za-z]:\\|\w\\\w|\\\\\w|[\^`][ \t]*\r?\n|\^["&|<>^%]""")

_COMMON = r"""
    (?P<goes_on>[\\^`][ \t]*\r?\n)
  | (?P<quote>["“”„″‟'‘’‚′])
  | (?P<blank>\s)
  | (?P<sign>(?<!\S)&?[12]?>{1,2}(?:&[12])?|\|(?!\|))
"""
_OTHER = r"(?P<other>[^\s\"“”„″‟'‘’‚′\\^`;|&]+|.)"
_POSIX = re.compile(rf"{_COMMON} | \\(?P<escaped>.) | (?P<ends>&&|\|\||[;&]) | {_OTHER}", re.X | re.S)
_WINDOWS = re.compile(
    rf'(?P<caret>\^") | {_COMMON} | \^(?P<escaped>[&|<>^%]) | (?P<ends>&&|\|\||&|;(?=\s|$)) | {_OTHER}', re.X | re.S
)
_WRITTEN_DASHES = re.compile(r"^(?:[–—−]{1,2}-?|-[–—−])(?=[A-Za-z])")
_PLAIN_ON_WINDOWS = re.compile(r"[\w@+=:,./-]+", re.ASCII)


class Sign(str):
    """A word that is the shell's own: what follows is another program, where to write to, or a remark."""


def lines_of_words(text: str) -> list[list[str]]:
    """The words of each command; a line that ends in \\, ^ or ` goes on in the next.

    Backslashes are parts of paths where the text looks like one of Windows, else they escape as in POSIX shells.
    Quotes and dashes may be those that web pages make of them.
    """
    lines: list[list[str]] = [[]]
    word: list[tuple[str, bool]] = []
    for kind, piece in [*_pieces(text), ("ends", "")]:
        if kind in ("bare", "quoted"):
            word.append((piece, kind == "bare"))
            continue
        if word:
            whole = "".join(part for part, _ in word)
            whole = _WRITTEN_DASHES.sub("--", whole) if word[0][1] else whole
            is_remark = whole.startswith("#") and all(bare for _, bare in word)
            lines[-1].append(Sign(whole) if is_remark else whole)
            word = []
        if kind == "sign":
            lines[-1].append(Sign(piece))
        elif kind == "ends":
            lines.append([])
    return [line for line in lines if line]


def words_of(text: str) -> list[str]:
    """The words of a text field, whatever stands in it; no shell sees it, so that nothing in it ends a command."""
    found: list[str] = []
    word: list[str] = []
    for kind, piece in [*_pieces(text), ("blank", "")]:
        if kind != "blank" and piece != "\n":
            word.append(piece)
        elif word:
            found.append("".join(word))
            word = []
    return found


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text): "bare" and "quoted" are parts of a word, "blank" parts words, a "sign" is one, "ends" a command."""
    windows = bool(_LOOKS_LIKE_WINDOWS.search(text))
    pattern, quotation = _WINDOWS if windows else _POSIX, Quotation(text, windows)
    at = 0
    while match := pattern.match(text, at):
        kind, at = str(match.lastgroup), match.end()
        piece = match[kind]
        if kind in ("quote", "caret"):
            closed = quotation.opened_by(piece, at)
            yield ("bare", piece.lstrip("^")) if closed is None else ("quoted", closed[0])
            at = at if closed is None else closed[1]
        elif kind == "blank":
            yield "ends" if piece == "\n" else "blank", piece
        else:
            yield {"goes_on": "blank", "escaped": "quoted", "other": "bare"}.get(kind, kind), piece


def arguments_in(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(arguments by name, words that belong to none): True for --name, text for --name A or --name=A, a list for more.

    Where a name comes twice, the last counts.
    """
    found: dict[str, list[str]] = {}
    strays: list[str] = []
    values: list[str] = strays
    for word in words:
        if re.match(r"--[A-Za-z]", word):
            name, equals, value = word[2:].partition("=")
            found[name] = [value] if equals else []
            values = strays if equals else found[name]
        else:
            if re.match(r"-[A-Za-z]", word):
                values = strays  # an option of one letter, and what belongs to it
            values.append(word)
    return {name: _one_or_more(values) for name, values in found.items()}, strays


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
    """The words as one line, quoted for a POSIX shell or for cmd.exe."""
    return " ".join(map(_quoted_for_windows, words)) if windows else shlex.join(words)


def _quoted_for_windows(word: str) -> str:
    """Programs there take backslashes before a quote for escapes, and cmd.exe counts quotes without seeing them.

    So where a quote stands within, or what cmd.exe takes also in quotes, each sign of its own has a ^ before it.
    """
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    inner = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), word)
    if re.search(r'["%]|\\[\\$`]', word):
        return re.sub(r'(["&|<>^%])', r"^\1", f'"{inner}"')
    return f'"{inner}"'


def _one_or_more(values: list[str]) -> Any:
    return True if not values else values[0] if len(values) == 1 else values
