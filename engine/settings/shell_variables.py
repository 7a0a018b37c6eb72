"""The variables that a script sets for itself, put in where the same script uses them.

cmd.exe: set NAME=…, set "NAME=…", %NAME%, !NAME!.  PowerShell: $name = …, $env:NAME = …, $name, ${name}, and an array
@(…) that @name hands on.  POSIX shells: NAME=…, export NAME=…, $NAME, ${NAME}, and an array (…) as "${NAME[@]}".
Sources: ss64.com/nt/set.html; about_Variables and about_Splatting of PowerShell; POSIX.1-2017, XCU 2.5 and 2.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

Shell = Literal["posix", "cmd", "powershell"]

LARGEST = 2**18
"""Characters that all values together may come to where they are put in: each may hold the one before twice."""

_POWERSHELL = re.compile(r"^[ \t]*\$(?:env:|script:|global:)?\w+[ \t]*=|`[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)
_CMD = re.compile(
    r"""^[ \t]*@?set[ \t]+"?\w+=|%\w+%|\^[ \t]*\r?\n|\s\^(?=\s|--)|\^["&|<>^%]""", re.IGNORECASE | re.MULTILINE
)
_POSIX = re.compile(r"^[ \t]*(?:export[ \t]+)?[A-Za-z_]\w*=|\$\{?[A-Za-z_]|^#!", re.MULTILINE)
_END = r"[ \t]*(?=\r?\n|$)"
_SETS = {
    "cmd": re.compile(
        rf"""@?set[ \t]+
        (?:"(?P<quoted>[\w.-]+)=(?P<inner>[^\r\n]*?)"|(?P<name>[\w.-]+)=(?P<value>[^\r\n&|]*?)){_END}""",
        re.IGNORECASE | re.VERBOSE,
    ),
    "powershell": re.compile(
        rf"""\$(?:env:|script:|global:)?(?P<name>\w+)[ \t]*=[ \t]*
        (?:@\((?P<array>[^()]*)\)|(?P<value>"[^"\r\n]*"|'[^'\r\n]*'|[^\s"'$@(;]+))[ \t]*;?{_END}""",
        re.IGNORECASE | re.VERBOSE,
    ),
    "posix": re.compile(rf"(?P<name>[A-Za-z_]\w*)=\((?P<array>[^()]*)\){_END}"),
}
_USES = {
    "cmd": re.compile(r"%([\w.-]+)%|!([\w.-]+)!"),
    "powershell": re.compile(r"\$\{(?:env:)?(\w+)\}|\$(?:env:)?(\w+)", re.IGNORECASE),
    "posix": re.compile(r"\$\{([A-Za-z_]\w*)(?:\[[@*]\])?\}|\$([A-Za-z_]\w*)"),
}
_SET = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SAYS_SO = ("export", "declare", "local", "readonly")


def shell_of(text: str, windows: bool) -> Shell:
    """For which shell a text is written.  windows: whether its paths and line ends are as there."""
    if _POWERSHELL.search(text):
        return "powershell"
    return "cmd" if _CMD.search(text) or (windows and not _POSIX.search(text)) else "posix"


class Variables:
    """Those of one script, as far as it has been read.

    words: takes the inside of an array apart.  unused: names that were set and not used so far.
    """

    def __init__(self, shell: Shell, words: Callable[[str], list[str]]) -> None:
        self.shell = shell
        self.unused: dict[str, None] = {}
        self._words = words
        self._values: dict[str, str | list[str]] = {}
        self._left = LARGEST

    def get(self, name: str) -> str:
        """A variable's text, empty where it is not set or an array."""
        value = self._values.get(self._key(name), "")
        self.unused.pop(name, None)
        return value if isinstance(value, str) else ""

    def set_at(self, text: str, at: int) -> int:
        """Where the text goes on behind a command at `at` that sets a variable; `at` where it sets none."""
        found = _SETS[self.shell].match(text, at)
        if found is None:
            return at
        groups = found.groupdict()
        if groups.get("array") is not None:
            inner = groups["array"].replace(",", " ") if self.shell == "powershell" else groups["array"]
            self._set(groups["name"], [self._filled(word) for word in self._words(inner)])
        elif groups.get("quoted"):
            self._set(groups["quoted"], self._filled(groups["inner"]))
        else:
            self._set(groups["name"], self._plain(groups["value"]))
        return found.end()

    def set_by(self, words: list[str]) -> bool:
        """Whether a POSIX shell's command does nothing but set variables; if so, it does."""
        pairs = [_SET.fullmatch(word) for word in (words[1:] if words[0] in _SAYS_SO else words)]
        if self.shell != "posix" or not pairs or not all(pairs):
            return False
        for pair in filter(None, pairs):
            self._set(pair[1], pair[2])
        return True

    def parts(self, piece: str) -> Iterator[tuple[str | list[str], bool]]:
        """A piece of a word as texts and variables' values in turn: (text or value, whether it is a value)."""
        if self.shell == "powershell" and (array := self._values.get(self._key(piece[1:]))) and piece[0] == "@":
            self.unused.pop(piece[1:], None)
            yield array, True
            return
        done = 0
        for use in _USES[self.shell].finditer(piece):
            name = use[1] or use[2]
            value = self._values.get(self._key(name))
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

    def _set(self, name: str, value: str | list[str]) -> None:
        self._values[self._key(name)] = value
        self.unused[name] = None

    def _may_put_in(self, value: str | list[str]) -> bool:
        self._left -= 1 + sum(map(len, value))
        return self._left >= 0

    def _key(self, name: str) -> str:
        """Only POSIX shells tell capitals from small letters."""
        return name if self.shell == "posix" else name.lower()
