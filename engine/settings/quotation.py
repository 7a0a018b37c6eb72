"""What stands between quotation marks on a command line, also where a web page has changed the marks."""

from __future__ import annotations

import re

DOUBLE = "“”„″‟"
SINGLE = "‘’‚′"
SINGLE_MARKS = f"'{SINGLE}"
"""Those within which a shell takes everything as it stands."""

_FOLDER_ENDS = re.compile(r"\s+(?:--|[–—−^`|>&])|[ \t]*(?:\r?\n|$)")
"""What follows a quote that closes though one backslash stands before it, which is a folder's."""

_CARETED = re.compile(r"""((?:(?:\\\\)+(?=\^")|\\(?:\\\\)*\^"|\\+(?!\\|\^")|\^[^"]|[^\\^])*)\^\"""")
_CURLY = {
    "double": re.compile(f"[{DOUBLE}]"),
    "single": re.compile(f"[{SINGLE}]"),
    "double before blank": re.compile(rf"[{DOUBLE}](?=\s|$)"),
    "single before blank": re.compile(rf"[{SINGLE}'](?=\s|$)"),
}


class Quotation:
    """The quotations of one text.  windows: whether quotes are as there, where a backslash is rarely an escape."""

    def __init__(self, text: str, windows: bool) -> None:
        self._text = text
        self._windows = windows
        # A straight mark that lacks its other half: a web page has made that one curly.
        self._mixed = {mark: len(re.findall(rf"(?<!\\)(?:\\\\)*{mark}", text)) % 2 == 1 for mark in "\"'"}
        self._found: dict[str, tuple[int, int]] = {}
        self._unclosed: set[str] = set()

    def opened_by(self, mark: str, at: int) -> tuple[str, int] | None:
        """(what the quotation says, where the text goes on) after a mark that ends at `at`; None if it opens none."""
        if mark in self._unclosed:
            return None
        if mark == '^"':
            return self._careted(at)
        before = self._text[at - 2] if at > 1 else " "
        apostrophes = mark in SINGLE or (mark == "'" and self._windows)
        if apostrophes and not (before.isspace() or before in "='\""):
            return None
        end = self._end(mark, at)
        if end == len(self._text):
            self._unclosed.add(mark)  # nor does any later one find its end
            return None
        inner = self._text[at:end]
        if mark == '"' or mark in DOUBLE:
            inner = windows_argument(inner) if self._windows else _posix_argument(inner)
        return inner, end + 1

    def _careted(self, at: int) -> tuple[str, int] | None:
        """Quotes that cmd.exe is kept from seeing by a ^ before each; the program sees them."""
        match = _CARETED.match(self._text, at)
        if match is None:
            self._unclosed.add('^"')
            return None
        return windows_argument(re.sub(r"\^(.)", r"\1", match[1], flags=re.S)), match.end()

    def _end(self, mark: str, at: int) -> int:
        """Where the mark stands that closes; the text's length where there is none."""
        if mark in SINGLE:
            return self._next("single before blank", at)
        straight = self._next('"' if mark in DOUBLE else mark, at)
        if mark in DOUBLE:
            return min(straight, self._next("double", at))
        if self._mixed[mark] or straight == len(self._text):
            return min(straight, self._next("double before blank" if mark == '"' else "single before blank", at))
        return straight

    def _next(self, what: str, at: int) -> int:
        """Where one of these marks stands next, found once for all places before it."""
        since, place = self._found.get(what, (0, -1))
        if not since <= at <= place:
            if what in _CURLY:
                match = _CURLY[what].search(self._text, at)
                place = match.start() if match else len(self._text)
            else:
                place = self._next_straight(what, at)
            self._found[what] = at, place
        return place

    def _next_straight(self, mark: str, at: int) -> int:
        """The next straight mark that no backslash escapes; single ones are never escaped."""
        text, place = self._text, at
        while (place := text.find(mark, place)) >= 0:
            run = place
            while run > at and text[run - 1] == "\\":
                run -= 1
            backslashes = place - run
            if mark == "'" or backslashes % 2 == 0 or (self._windows and _FOLDER_ENDS.match(text, place + 1)):
                return place
            place += 1
        return len(text)


def windows_argument(text: str) -> str:
    """What a program of Windows takes from between double quotes: backslashes count only before a quote.

    A single one at the end is a folder's.
    """
    text = re.sub(r'(?<!\\)(\\+)"', lambda match: "\\" * (len(match[1]) // 2) + '"', text)
    body = text.rstrip("\\")
    backslashes = len(text) - len(body)
    return text if backslashes % 2 else body + "\\" * (backslashes // 2)


def _posix_argument(text: str) -> str:
    """What a POSIX shell takes from between double quotes."""
    return re.sub(r'\\(["\\$`])', r"\1", re.sub(r"\\\r?\n", "", text))
