"""A form that was drawn, read as a browser does: which field stands where, and with what."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

VOID = {"input", "option"}
"""Elements without an end that matters here."""


class Drawn(HTMLParser):
    """controls: attributes of the element that holds a value, by option.  labels, helps: texts by option.

    around: the tabs and folds that a field stands in, from the outside in, as way_to() names them.
    choices: of a drop-down, by option: value → words.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.controls: dict[str, dict[str, Any]] = {}
        self.labels: dict[str, str] = {}
        self.helps: dict[str, str] = {}
        self.around: dict[str, list[tuple[str, str]]] = {}
        self.choices: dict[str, dict[str, str]] = {}
        self.ids: list[str] = []
        self._tabs: dict[str, str] = {}
        self._open: list[tuple[str, dict[str, Any]]] = []
        self._choice: str | None = None
        self._words, self._control = "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if "id" in told:
            self.ids.append(str(told["id"]))
        if told.get("role") == "tab":
            self._tabs[str(told["aria-controls"])] = str(told["data-tab-id"])
        if tag == "label":
            self._words = ""
        if "name" in told:
            self._control = str(told["name"])
            self.controls[str(told["name"])] = {"tag": tag, **({"value": ""} if tag == "textarea" else {}), **told}
            self.around[str(told["name"])] = [
                ("tab", self._tabs[str(inside["id"])]) if inside.get("role") == "tabpanel" else ("fold", inside["id"])
                for element, inside in self._open
                if inside.get("role") == "tabpanel" or inside.get("class") == "fold"
            ]
        if tag == "option" and self._open[-1][0] == "select":
            self._choice = str(told["value"])
        if tag not in VOID:
            self._open.append((tag, told))

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self.labels[self._control] = self._words
        if tag not in VOID:
            assert self._open.pop()[0] == tag
        self._choice = None if tag == "option" else self._choice

    def handle_data(self, data: str) -> None:
        tag, told = self._open[-1] if self._open else ("", {})
        if self._choice is not None:
            name = str(told["name"])
            self.choices.setdefault(name, {})[self._choice] = data
        elif tag == "span":
            self._words += data
        elif tag == "p":
            self.helps[_option(told["id"])] = data
        elif tag == "textarea":
            self.controls[str(told["name"])]["value"] = data


def _option(element: str) -> str:
    """An element's id is FORM-OPTION-WHAT, and a form's name may have hyphens."""
    return element.rpartition("-")[0].rpartition("-")[2]
