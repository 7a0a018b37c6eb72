"""Sets the switches for the model family to match the chosen model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from engine.check.model import FAMILY_OPTIONS, switches_of
from engine.models.recognise import NoModel, recognise
from engine.settings.paths import typed_path, why_unusable
from engine.settings.training import TrainingSettings
from ui.form import SILENT, Form, Told
from ui.sentences import said


def connect(form: Form[TrainingSettings], sentence: gr.HTML) -> None:
    """sentence: where to report that the form was set."""

    def follow(told: Told) -> list[Any]:
        values = form.readable(told).values()
        own = {name: values[name] for name in FAMILY_OPTIONS if name in form.options}
        changes, words = switches_for(values["pretrained_model_name_or_path"], own)
        return [form.set(told, changes), said(words)] if changes else [gr.skip(), gr.skip()]

    form.shown.chosen(follow, [form.shown], [form.shown, sentence], **SILENT)


def switches_for(model: str, now: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """(Switches to change for this model, if its files are here and identify it; a sentence).

    now: the switches as they are, by option.
    """
    if why_unusable(model):
        return {}, ""
    try:
        found = recognise(str(typed_path(model)))
    except NoModel:
        return {}, ""  # Check has a sentence for it
    if found is None or found.kind not in ("model", "denoiser"):
        return {}, ""
    changes = {name: right for name, right in switches_of(found).items() if now.get(name, right) != right}
    return changes, f"This is {found.title}; the form has been set up for it."
