"""The switches for the model's family follow the model that is chosen."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from engine.check.model import FAMILY_OPTIONS, switches_of
from engine.models.recognise import NoModel, recognise
from engine.settings.paths import typed_path, why_unusable
from ui.form import SILENT, Form
from ui.sentences import said


def connect(form: Form, sentence: gr.HTML) -> None:
    """sentence: where it is said that the form was set."""
    model: Any = form.components["pretrained_model_name_or_path"]
    names = [name for name in FAMILY_OPTIONS if name in form.components]
    switches = [form.components[name] for name in names]
    model.change(partial(set_for, names), [model, *switches], [*switches, sentence], **SILENT)


def set_for(names: list[str], model: str | None, *switches: Any) -> list[Any]:
    """The options of these names as they are right for the model, where its files are at hand and say it; and a
    sentence.
    """
    unchanged = [gr.skip() for _ in range(len(switches) + 1)]
    if why_unusable(model or ""):
        return unchanged
    try:
        found = recognise(str(typed_path(model or "")))
    except NoModel:
        return unchanged  # Check has a sentence for it
    if found is None or found.kind not in ("model", "denoiser"):
        return unchanged
    right = switches_of(found)
    wanted = [right.get(name, now) for name, now in zip(names, switches, strict=True)]
    if wanted == list(switches):
        return unchanged
    return [*wanted, said(f"This is {found.title}; the form is set for it.")]
