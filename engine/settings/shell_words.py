"""Command lines taken apart and put together, as Linux, Windows and web pages have them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from engine.settings.quotation import SINGLE_MARKS, Quotation
from engine.settings.shell_variables import Variables, shell_of

_LOOKS_LIKE_WINDOWS = re.compile(r"""[A-Za-z]:\\|\w\\\w|\\\\\w|[\^`][ \t]*\r?\n|\^["&|<>^%]|\s\^(?=\s|--)""")

# A stray was meant as a line's end that goes on, and is none: two backslashes, or a blank behind one.
_COMMON = r"""
    (?P<stray>(?<=\s)\\{2,}[ \t]*(?:\r?\n|\Z)|(?<=\s)\\[ \t]+\r?\n)
  | (?P<goes_on>[\\^`][ \t]*\r?\n|(?<=\s)[\\^`]\Z)
  | (?P<quote>["“”„″‟'‘’‚′])
  | (?P<blank>\s)
  | (?P<sign>(?<!\S)&?[12]?>{1,2}(?:&[12])?|\|(?!\|))
"""
_OTHER = r"(?P<other>[^\s\"“”„″‟'‘’‚′\\^`;|&]+|.)"
_ENDS_ON_WINDOWS = r"(?P<ends>&&|\|\||&|;(?=\s|$))"
_POSIX = re.compile(rf"{_COMMON} | \\(?P<escaped>.) | (?P<ends>&&|\|\||[;&]) | {_OTHER}", re.X | re.S)
_WINDOWS = re.compile(
    rf'(?P<caret>\^") | {_COMMON} | \^(?P<escaped>[&|<>^%]) | {_ENDS_ON_WINDOWS} | {_OTHER}', re.X | re.S
)
_CMD = re.compile(
    rf'(?P<caret>\^") | {_COMMON} | (?P<nothing>\^(?=\s|$)) | \^(?P<escaped>.) | {_ENDS_ON_WINDOWS} | {_OTHER}',
    re.X | re.S,
)
"""Outside quotes cmd.exe drops a caret before any sign; what a caret keeps a blank from, a program does not see."""

_WRITTEN_DASHES = re.compile(r"^(?:[–—−]{1,2}-?|-[–—−])(?=[A-Za-z])")
_PLAIN_ON_WINDOWS = re.compile(r"[\w@+=:,./-]+", re.ASCII)


class Sign(str):
    """A word that is the shell's own: what follows is another program, where to write to, or a remark."""


class Filled(str):
    """A line's first word that a variable's value begins."""


@dataclass
class Script:
    """lines: the words of each command.  variables: that the script sets.  strays: line ends that go on by mistake."""

    lines: list[list[str]]
    variables: Variables
    strays: int = 0


def script_of(text: str) -> Script:
    """A script's commands, its own variables filled in; a line that ends in \\, ^ or ` goes on in the next.

    Backslashes are parts of paths where the text looks like one of Windows, else they escape as in POSIX shells.
    Quotes and dashes may be those that web pages make of them.
    """
    variables = Variables(text, shell_of(text, bool(_LOOKS_LIKE_WINDOWS.search(text))), words_of)
    script = Script([[]], variables)
    word: list[tuple[str, bool]] = []
    begins_filled = False
    for kind, piece in chain(_pieces(text, variables), [("ends", "")]):
        if kind == "value":
            begins_filled |= not script.lines[-1] and not any(part for part, _ in word)
            continue
        if kind in ("bare", "quoted"):
            word.append((piece, kind == "bare"))
            continue
        if word:
            whole = "".join(part for part, _ in word)
            whole = _WRITTEN_DASHES.sub("--", whole) if word[0][1] else whole
            is_remark = whole.startswith("#") and all(bare for _, bare in word)
            is_filled = begins_filled and not script.lines[-1]
            script.lines[-1].append(Sign(whole) if is_remark else Filled(whole) if is_filled else whole)
            word = []
        if kind == "sign":
            script.lines[-1].append(Sign(piece))
        elif kind == "ends":
            if script.lines[-1] and variables.set_by(script.lines[-1]):
                script.lines.pop()
            script.lines.append([])
            begins_filled = False
        script.strays += kind == "stray"
    script.lines = [line for line in script.lines if line]
    return script


def words_of(text: str) -> list[str]:
    """The words of a text field, whatever stands in it; no shell sees it, so that nothing in it ends a command."""
    found: list[str] = []
    word: list[str] = []
    bare = False
    for kind, piece in [*_pieces(text), ("blank", "")]:
        if kind not in ("blank", "stray") and piece != "\n":
            bare = bare if word else kind == "bare"
            word.append(piece)
        elif word:
            found.append(_WRITTEN_DASHES.sub("--", "".join(word)) if bare else "".join(word))
            word = []
    return found


def _pieces(text: str, variables: Variables | None = None) -> Iterator[tuple[str, str]]:
    """(kind, text): "bare" and "quoted" are parts of a word, "blank" and "stray" part words, a "sign" is one, "ends" a
    command; behind "value" comes what a variable holds.

    variables: of a script, which are set and put in on the way; None for a text that is none.
    """
    windows = bool(_LOOKS_LIKE_WINDOWS.search(text)) or (variables is not None and variables.shell != "posix")
    pattern = _POSIX if not windows else _CMD if variables and variables.shell == "cmd" else _WINDOWS
    quotation = Quotation(text, windows)
    at, begins = 0, True
    while at < len(text):
        if variables:
            variables.at = at
        if begins and variables and (behind := variables.set_at(text, at)) > at:
            at = behind
            continue
        match = pattern.match(text, at)
        if match is None:
            return
        kind, at = str(match.lastgroup), match.end()
        piece = match[kind]
        if kind in ("quote", "caret"):
            closed = quotation.opened_by(piece, at)
            if closed is None:
                yield "bare", piece.lstrip("^")
            else:
                yield from _filled("quoted", closed[0], variables if piece not in SINGLE_MARKS else None)
                at = closed[1]
        elif kind == "blank":
            yield "ends" if piece == "\n" else "blank", piece
        elif kind == "other":
            yield from _filled("bare", piece, variables)
        elif kind != "nothing":
            yield {"goes_on": "blank", "escaped": "quoted"}.get(kind, kind), piece
        begins = (kind == "blank" and (begins or piece == "\n")) or kind == "ends"


def _filled(kind: str, piece: str, variables: Variables | None) -> Iterator[tuple[str, str]]:
    """A part of a word with the script's variables in it, as its shell puts them in."""
    if variables is None or not any(sign in piece for sign in "$%!@"):
        yield kind, piece
        return
    if kind == "quoted":
        yield kind, ""  # a word, be it that of an empty variable
    for part, is_value in variables.parts(piece):
        if is_value:
            yield "value", ""
        if isinstance(part, list):
            yield from _spaced("quoted", part)
        elif not is_value or kind == "quoted":
            yield from (
                [(kind, part.replace('"', "") if is_value and variables.shell == "cmd" else part)] if part else []
            )
        elif variables.shell == "powershell":
            yield "quoted", part
        elif variables.shell == "cmd":
            yield from _pieces(part)
        else:
            yield from _spaced("bare", part.split())


def _spaced(kind: str, words: list[str]) -> Iterator[tuple[str, str]]:
    for number, word in enumerate(words):
        yield from [("blank", " ")] if number else []
        yield kind, word


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
