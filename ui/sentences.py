"""Messages on the page, as HTML in which text from files and people is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NewType

Sentences = NewType("Sentences", str)
"""HTML that was made here, and so contains no foreign markup."""

NOTHING = Sentences("")


def said(head: str, sentences: Iterable[str] = ()) -> Sentences:
    """A sentence, and a list of further ones below it."""
    return Sentences(f"<p>{escape(head)}</p>{listed(sentences)}")


def refused(lead: str, why: object) -> Sentences:
    """Why something was not done, after words such as "Not loaded."."""
    return Sentences(f"<p><b>{escape(lead)}</b> {escape(str(why))}</p>")


def listed(sentences: Iterable[str]) -> Sentences:
    """Sentences as a list, empty if there are none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return Sentences(f"<ul>{items}</ul>" if items else "")
