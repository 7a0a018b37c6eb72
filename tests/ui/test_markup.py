"""What an event or a path holds is text on the page: fed through every field, nothing comes out as markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import pytest
from pydantic_core import PydanticUndefined

from engine.runs.events import AnyEvent, Event, Planned, Progress
from engine.runs.folder import RunFolder
from engine.runs.history import History
from ui import run_view
from ui.page import build

EVENTS: list[type[Event]] = list(get_args(AnyEvent))

PLAIN = "plain"
MARKUP = ['"><img src=x onerror=alert(1)>', "'><svg onload=alert(1)>", "</dd></div><script>alert(1)</script>",
          "<a href=javascript:alert(1)>a</a>", '" onmouseover="alert(1)', "&lt;b&gt;<b>"]  # fmt: skip


class Shape(HTMLParser):
    """The tags of some HTML with the names of their attributes, in order: what text in it must not change."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))


def holding(kind: type[Event], text: str) -> Event:
    """An event whose every text is this one; numbers are 1."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        annotation = str(field.annotation)
        if name in ("kind", "time"):
            continue
        if "Literal" in annotation:
            values[name] = get_args(field.annotation)[0]
        elif "dict[str, str]" in annotation:
            values[name] = {text: text}
        elif "dict[str, float]" in annotation:
            values[name] = {text: 1.0}
        elif "list[str]" in annotation:
            values[name] = [text, text]
        elif field.annotation is str:
            values[name] = text
        elif field.default is PydanticUndefined or "int" in annotation or "float" in annotation:
            values[name] = 1
    return kind(**values)


def pages(run: RunFolder) -> list[str]:
    history = History(run).update()
    return [run_view.overview(history), run_view.chart(history), run_view.samples(history)]


def shown(job: str, event: Event, log: str) -> list[str]:
    """All that the page shows of a run that told this."""
    run = RunFolder.create(job, "{}", "run")
    run.log_file.write_text(log)
    if job == "train":  # a utility plans nothing, and its figures are others
        run.writer().write(holding(Planned, PLAIN))
    run.writer().write(event)
    return [text.replace(run.name, "NAME") for text in pages(run)]


def fields() -> Iterator[tuple[type[Event], str]]:
    for kind in EVENTS:
        for name, field in kind.model_fields.items():
            if name != "kind" and ("str" in str(field.annotation) and "Literal" not in str(field.annotation)):
                yield kind, name


def test_there_are_texts_in_most_events():
    assert len(list(fields())) > 20


@pytest.mark.parametrize("job", ["train", "caption-wd14"])
@pytest.mark.parametrize(("kind", "name"), list(fields()), ids=lambda value: getattr(value, "__name__", value))
def test_no_field_of_an_event_becomes_markup(job: str, kind: type[Event], name: str):
    plain = holding(kind, PLAIN)
    expected = [Shape(html).tags for html in shown(job, plain, PLAIN)]
    for markup in MARKUP:
        evil = plain.model_copy(update={name: getattr(holding(kind, markup), name)})
        for html, tags in zip(shown(job, evil, markup), expected, strict=True):
            assert Shape(html).tags == tags


@pytest.mark.parametrize("job", ["train", "caption-wd14"])
def test_nor_do_all_of_them_together_and_they_are_still_read(job: str):
    for markup in MARKUP:
        run, plain = RunFolder.create(job, "{}", "run"), RunFolder.create(job, "{}", "run")
        for kind in EVENTS if job == "train" else [kind for kind in EVENTS if kind is not Planned]:
            run.writer().write(holding(kind, markup))
            plain.writer().write(holding(kind, PLAIN))
        for html, other in zip(pages(run), pages(plain), strict=True):
            assert Shape(html).tags == Shape(other).tags
        assert escape(markup) in pages(run)[0]


def test_a_units_name_is_text_in_the_figures():
    html = shown("caption-wd14", holding(Progress, MARKUP[0]), "")[0]
    assert "<img" not in html
    assert f"<dt>{escape(MARKUP[0])}</dt>" in html


def test_where_runs_are_kept_is_text_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In the tab About, in what the Dataset tab says, and wherever else it stands."""
    for name in ("`<img src=x>`", "![a](http:far)", "<script>"):
        monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / name))
        page = build(notice=name)
        texts = [
            (type(block), str(block.value))
            for block in page.blocks.values()
            if isinstance(block, gr.HTML | gr.Markdown)
        ]
        told = [(kind, text) for kind, text in texts if re.search("img src|far|script", text)]
        assert len(told) >= 2
        assert not [text for kind, text in told if kind is gr.Markdown]
        assert not [text for _, text in told if "<img" in text or "<script" in text]
