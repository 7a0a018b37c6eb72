"""The form: one component that draws every option, and whose value is what its fields say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Generic

import gradio as gr
from pydantic import ValidationError

from engine.settings.option import Option
from engine.settings.paths import Some
from engine.settings.values import BadValues
from ui.form_view import as_template, form_html

SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For every event of the page: no progress overlay, and no entry in Gradio's public API."""

METHOD = "method"
"""The name of the chosen method among Option.applies()'s values."""

LONGEST_TEXT = 100_000
"""Characters of a field's value: prompts for hundreds of samples have some ten thousand."""

Told = Any
"""A form's value, as the page's script (assets/form.js) and fill() make it; a browser may send anything in its place:

{"values": by option's name, text for numbers as they were typed; "rest": JSON of what has no field, see _rest_of();
"method": the method in it, for the script; "serial": the last of the user's entries it knows of}.  {} stands for the
defaults.  `rest` is a text, because Gradio takes any object with a key "path" for a file.
"""

JS = """darkroom.drawForm(NAME, {
  element, props, watch, tells: TELLS,
  edited: () => trigger('edited'), chosen: (option) => trigger('chosen', { option }), turned: () => trigger('turned'),
})"""


class Form(Generic[Some]):
    """A field for every option that acts.  Construct it, then call draw() within gr.Blocks.

    Options that do not act yet have no field: their values travel in the form's value, as does everything else from a
    file. The page's script is authoritative while the user types, and updates the component's value at each entry; so
    whatever reads the value gets what is shown, even if it was typed at that very moment.

    Events of `shown`: edited() shortly after an entry, and after fill(); chosen() when an option in `tells` gets
    another value, named by the event's `option`; turned() when the settings are for another method.

    name: prefix of its fields' ids, so that those of several forms differ.  in_tabs: whether sections are tabs.
    """

    def __init__(
        self,
        settings_class: type[Some],
        name: str = "option",
        *,
        in_tabs: bool = False,
        tells: Sequence[str] = (),
    ) -> None:
        self._settings_class = settings_class
        self._in_tabs, self._tells = in_tabs, list(tells)
        self.name = name
        self.options = {item.name: item for item in settings_class.options() if has_field(item)}

    def draw(self) -> None:
        self.shown = gr.HTML(
            {},
            html_template=as_template(form_html(self.name, list(self.options.values()), self._in_tabs)),
            js_on_load=JS.replace("NAME", json.dumps(self.name)).replace("TELLS", json.dumps(self._tells)),
            apply_default_css=False,
            elem_id=f"form-{self.name}",
        )

    def settings(self, told: Told) -> Some:
        """The form's settings.  Raises BadValues."""
        values, base = self._read(told)
        return base.with_typed(values)

    def values(self, told: Told) -> dict[str, Any]:
        """The fields' values, as typed; those at their defaults may be left out.  Raises BadValues."""
        return self._read(told)[0]

    def readable(self, told: Told) -> Some:
        """The same with every invalid value replaced by its default."""
        try:
            values, base = self._read(told)
        except BadForm:
            return self._settings_class()
        try:
            return base.with_typed(values)
        except BadValues as error:
            fresh = self._settings_class().values()
            return base.with_values(values | {name: fresh[name] for name in error.problems})

    def fill(self, settings: Some, told: Told = None, undo: str = "") -> Told:
        """A value that shows the settings; what is typed after `told` was sent stays as it is.

        undo: the label of the undo button, if there is to be one.
        """
        serial = told.get("serial") if isinstance(told, dict) else None
        return {
            "values": {name: item.value_in(settings) for name, item in self.options.items()},
            "rest": json.dumps(self._rest_of(settings)),
            **({METHOD: getattr(settings, METHOD)} if hasattr(settings, METHOD) else {}),
            "serial": serial if isinstance(serial, int) else 0,
            **({"undo": undo} if undo else {}),
        }

    def set(self, told: Told, changes: dict[str, Any], undo: str = "") -> Told:
        """A value that changes some options and leaves the others as they are, even if invalid."""
        try:
            values, base = self._read(told)
        except BadForm:
            return self.fill(self._settings_class().with_values(changes), told, undo)
        fields = {name: value for name, value in changes.items() if name in self.options}
        others = {name: value for name, value in changes.items() if name not in self.options}
        return self.fill(base.with_values(others), told, undo) | {"values": values | fields}

    def _read(self, told: Told) -> tuple[dict[str, Any], Some]:
        """(The fields' values, the settings underneath them).  Raises BadForm."""
        values, rest = (told.get("values", {}), told.get("rest", "")) if isinstance(told, dict) else (None, None)
        if not isinstance(values, dict) or not isinstance(rest, str):
            raise BadForm("", "What the page sent is not a form. Reload the page.")
        try:
            base = self._settings_class.model_validate_json(rest or "{}")
        except (ValidationError, ValueError, RecursionError):
            raise BadForm("", "The page sent settings that this version does not know. Reload the page.") from None
        known = {name: value for name, value in values.items() if name in self.options}
        for name, value in known.items():
            if isinstance(value, str) and len(value) > LONGEST_TEXT:
                label = self.options[name].label
                raise BadForm(name, f"{label} has {len(value):,} characters; the limit is {LONGEST_TEXT:,}.")
        return known, base

    def _rest_of(self, settings: Some) -> dict[str, Any]:
        """Everything without a field that is not at its default: other options, and unknown keys.  And the method."""
        bare = settings.with_values({name: item.default for name, item in self.options.items()})
        told = bare.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in told.items() if value != {}} | (
            {METHOD: getattr(settings, METHOD)} if hasattr(settings, METHOD) else {}
        )


class BadForm(BadValues):
    """What the page sent cannot be read.  option: the one it belongs to, "" for none."""

    def __init__(self, option: str, sentence: str) -> None:
        ValueError.__init__(self, sentence)
        self.problems = {option: sentence}


def has_field(item: Option) -> bool:
    return item.acts and item.widget != "none"
