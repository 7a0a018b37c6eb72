"""The variables that a script sets for itself, put in where the same script uses them.

cmd.exe: set NAME=…, set "NAME=…", %NAME%, !NAME!.  PowerShell: $name = …, [type]$name = …, $env:NAME = …, $name += …,
$name, ${name}, and an array @(…) that @name hands on.  POSIX shells: NAME=…, export NAME=…, $NAME, ${NAME},
${NAME:-usual}, and bash's NAME+=… and array (…) as "${NAME[@]}".  What only a condition sets is left alone.
Sources: ss64.com/nt/set.html; about_Variables and about_Splatting of PowerShell; POSIX.1-2017, XCU 2.5 and 2.6; the GNU
Bash manual, 3.4 and 6.7.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Literal

Shell = Literal["posix", "cmd", "powershell"]

LARGEST = 2**18
"""Characters that all values together may come to where they are put in: each may hold the one before twice."""

_TYPE = r"(?:\[[\w.\[\]]+\][ \t]*)?"
_POWERSHELL = re.compile(
    rf"^[ \t]*{_TYPE}\$(?:env:|script:|global:)?\w+[ \t]*\+?=|`[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE
)
_POSIX = re.compile(r"^#!|\$\(|^[ \t]*export[ \t]|^[ \t]*[A-Za-z_]\w*\+?=", re.MULTILINE)
_CMD = re.compile(r"""^[ \t]*@?set[ \t]+"?\w+=|\^[ \t]*\r?\n|\s\^(?=\s|--)|\^["&|<>^%]""", re.IGNORECASE | re.MULTILINE)
_RATHER_POSIX = re.compile(r"\$\{?[A-Za-z_]|[ \t]\\[ \t]*\r?\n|\bprintf\b|(?<![\w.:/%])/[\w.-]+/")
"""Where a date such as %Y%m stands beside one of these, it is no variable of cmd.exe's."""

_CMD_USES = re.compile(r"%[A-Za-z_]\w*%")
_REMARK = r"(?:[#][^\r\n]*)?"
_END = r"(?=\r?\n|$)"
_SETS = {
    "cmd": re.compile(
        rf"""@?set[ \t]+
        (?:"(?P<quoted>[\w.-]+)=(?P<inner>[^\r\n]*?)"|(?P<name>[\w.-]+)=(?P<value>[^\r\n&|]*?))[ \t]*(?:&&?|{_END})""",
        re.IGNORECASE | re.VERBOSE,
    ),
    "powershell": re.compile(
        rf"""{_TYPE}\$(?:env:|script:|global:)?(?P<name>\w+)[ \t]*(?P<more>\+)?=[ \t]*
        (?:@\((?P<array>[^()]*)\)|(?P<none>\[[\w.]*ArrayList\]::new\(\))
        |(?P<value>"[^"\r\n]*"|'[^'\r\n]*'|[^\s"'$@(;]+))[ \t]*(?:;|{_REMARK}{_END})""",
        re.IGNORECASE | re.VERBOSE,
    ),
    "posix": re.compile(
        rf"""(?:(?:export|declare|local|readonly)[ \t]+)?(?P<name>[A-Za-z_]\w*)(?P<more>\+)?=
        (?:\((?P<array>[^()]*)\)[ \t]*(?:;|(?:(?<=[ \t]){_REMARK})?{_END})
        |(?P<value>"[^"\\`\r\n]*"|'[^'\r\n]*'|[^\s"'\\`()&|;<>]*)[ \t]+[#][^\r\n]*{_END})""",
        re.VERBOSE,
    ),
}
_USES = {
    "cmd": re.compile(r"%([\w.-]+)%|!([\w.-]+)!"),
    "powershell": re.compile(r"\$\{(?:env:)?(\w+)\}|\$(?:env:)?(\w+)", re.IGNORECASE),
    "posix": re.compile(r"\$\{(\w+)(?:\[[@*]\])?(?:(?P<sign>:?-)(?P<usual>[^{}]*))?\}|\$([A-Za-z_]\w*)"),
}
_BLOCKS = {
    "cmd": (re.compile(r"[ \t]*@?(?:if|for)\b.*\([ \t]*$|[ \t]*\).*\([ \t]*$", re.I), re.compile(r"[ \t]*\)")),
    "posix": (
        re.compile(r"[ \t]*(?:if|for|while|until|case|select)\b"),
        re.compile(r"(?:.*[;\s])?(?:fi|done|esac)(?=[\s;)]|$)"),
    ),
}
_CONDITION = re.compile(r"[ \t]*\}?[ \t]*(?:if|elseif|else|for|foreach|while|switch|catch)\b", re.IGNORECASE)
_SET = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_SAYS_SO = ("export", "declare", "local", "readonly")


def shell_of(text: str, windows: bool) -> Shell:
    """For which shell a text is written.  windows: whether its paths and line ends are as there."""
    if _POWERSHELL.search(text):
        return "powershell"
    if _POSIX.search(text):
        return "posix"
    rather_cmd = windows or _CMD_USES.search(text)
    return "cmd" if _CMD.search(text) or (rather_cmd and not _RATHER_POSIX.search(text)) else "posix"


def conditional(text: str, shell: Shell) -> list[int]:
    """Where what only a condition lets happen begins and ends in turn; what is set there may be set or not."""
    bounds: list[int] = []
    depth, at = 0, 0
    waits = False  # for the block of a condition, which may begin on the next line
    for line in text.splitlines(keepends=True):
        before = depth
        if shell == "powershell":
            waits = bool(_CONDITION.match(line)) or (waits and (not line.strip() or line.lstrip()[0] == "{"))
            if depth or waits:
                waits = waits and "{" not in line
                depth = max(0, depth + line.count("{") - line.count("}"))
        else:
            opens, closes = _BLOCKS[shell]
            depth = max(0, depth + bool(opens.match(line)) - bool(closes.match(line)))
        if not before and depth:
            bounds.append(at)
        elif before and not depth:
            bounds.append(at + len(line))
        at += len(line)
    return bounds


class Variables:
    """Those of one script, as far as it has been read.

    words: takes the inside of an array apart.  unused: names that were set and not used so far.  at: how far it is.
    """

    def __init__(self, text: str, shell: Shell, words: Callable[[str], list[str]]) -> None:
        self.shell = shell
        self.at = 0
        self._conditional = conditional(text, shell)
        self.unused: dict[str, None] = {}
        self._words = words
        self._values: dict[str, str | list[str]] = {}
        self._left = LARGEST

    def get(self, name: str) -> str:
        """A variable's text, empty where it is not set or an array."""
        value = self._values.get(self._key(name), "")
        self.unused.pop(name, None)
        return value if isinstance(value, str) else ""

    def texts(self) -> Iterator[tuple[str, str]]:
        """Name and text of each that is set, an array's elements one by one."""
        yield from ((name, text) for name, value in self._values.items() for text in _listed(value))

    def set_at(self, text: str, at: int) -> int:
        """Where the text goes on behind a command at `at` that sets a variable; `at` where it sets none."""
        found = _SETS[self.shell].match(text, at)
        if found is None or self._may_not_be():
            return at
        groups = found.groupdict()
        adds = bool(groups.get("more"))
        if groups.get("array") is not None:
            inner = groups["array"].replace(",", " ") if self.shell == "powershell" else groups["array"]
            self._set(groups["name"], [self._filled(word) for word in self._words(inner)], adds)
        elif groups.get("none"):
            self._set(groups["name"], [])
        elif groups.get("quoted"):
            self._set(groups["quoted"], self._filled(groups["inner"]))
        else:
            self._set(groups["name"], self._plain(groups["value"]), adds)
        return found.end()

    def set_by(self, words: list[str]) -> bool:
        """Whether a POSIX shell's command does nothing but set variables; if so, it does."""
        pairs = [_SET.fullmatch(word) for word in (words[1:] if words[0] in _SAYS_SO else words)]
        if self.shell != "posix" or not pairs or not all(pairs) or self._may_not_be():
            return False
        for pair in filter(None, pairs):
            self._set(pair[1], pair[3], bool(pair[2]))
        return True

    def parts(self, piece: str) -> Iterator[tuple[str | list[str], bool]]:
        """A piece of a word as texts and variables' values in turn: (text or value, whether it is a value)."""
        array = self._values.get(self._key(piece[1:])) if piece[:1] == "@" else None
        if self.shell == "powershell" and array is not None:
            self.unused.pop(piece[1:], None)
            yield array, True
            return
        done = 0
        for use in _USES[self.shell].finditer(piece):
            name = use[1] or use[use.re.groups]
            value = self._values.get(self._key(name))
            if self.shell == "posix" and use["sign"] and (value is None or (not value and use["sign"] == ":-")):
                value = use["usual"].strip("\"'")
            if value is not None and self._may_put_in(value):
                yield piece[done : use.start()], False
                yield value, True
                self.unused.pop(name, None)
                done = use.end()
        yield piece[done:], False

    def _plain(self, value: str) -> str:
        """What is set without blanks around it; cmd.exe keeps quotes, and takes them for such where it is used."""
        if self.shell == "cmd":
            return self._filled(value)
        bare = value[1:-1] if value[:1] in ("'", '"') else value
        return bare if value[:1] == "'" else self._filled(bare)

    def _filled(self, text: str) -> str:
        return "".join(" ".join(part) if isinstance(part, list) else part for part, _ in self.parts(text))

    def _set(self, name: str, value: str | list[str], adds: bool = False) -> None:
        before = self._values.get(self._key(name)) if adds else None
        if isinstance(before, str) and isinstance(value, str):
            value = before + value
        elif before is not None and (isinstance(before, list) or before):
            value = [*_listed(before), *_listed(value)]
        if not self._may_put_in(value):
            return
        self._values[self._key(name)] = value
        self.unused[name] = None

    def _may_not_be(self) -> bool:
        return bool(bisect_right(self._conditional, self.at) % 2)

    def _may_put_in(self, value: str | list[str]) -> bool:
        self._left -= 1 + sum(map(len, value))
        return self._left >= 0

    def _key(self, name: str) -> str:
        """Only POSIX shells tell capitals from small letters."""
        return name if self.shell == "posix" else name.lower()


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
