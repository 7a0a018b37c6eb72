"""The form: drawn from the declarations of the options, read back into settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from engine.settings.files import from_kohya, to_kohya
from engine.settings.option import Option
from engine.settings.training import BadValues, TrainingSettings, training_options


class Form:
    """One component for every option, under the tabs and sub-tabs that their sections name.

    Construct it within gr.Blocks, then call draw() once for each top-level tab.
    """

    def __init__(self) -> None:
        self.options = {item.name: item for item in training_options()}
        self.components: dict[str, gr.components.Component] = {}

    @property
    def inputs(self) -> list[gr.components.Component]:
        """The components in the order of the options; what settings() takes and updates() fills."""
        return [self.components[name] for name in self.options]

    def tabs(self) -> list[str]:
        """Names of the top-level tabs, in order."""
        return list(dict.fromkeys(item.section.partition("/")[0] for item in self.options.values()))

    def draw(self, tab: str) -> None:
        """Draw a tab's options, in sub-tabs where their sections have any."""
        sections = [s for s in self._sections() if s.partition("/")[0] == tab]
        if sections == [tab]:
            self._draw_section(tab)
            return
        with gr.Tabs():
            for section in sections:
                name = section.partition("/")[2]
                with gr.Tab(name, id=section, elem_id=f"tab-{_slug(section)}"):
                    self._draw_section(section)

    def connect_visibility(self) -> None:
        """Show an option only beside values of others that give it a meaning."""
        controllers = {name for item in self.options.values() for name in item.applies_when or {}}
        for controller in controllers:
            dependents = [item for item in self.options.values() if controller in (item.applies_when or {})]

            def visibility(value: Any, controller: str = controller, items: list[Option] = dependents) -> Any:
                updates = [gr.update(visible=item.applies({controller: value})) for item in items]
                return updates if len(updates) > 1 else updates[0]

            self.components[controller].change(
                visibility,
                self.components[controller],
                [self.components[item.name] for item in dependents],
                show_progress="hidden",
                queue=False,
                api_visibility="private",
            )

    def settings(self, values: tuple[Any, ...], extra: Mapping[str, Any]) -> TrainingSettings:
        """What the form says.  extra: kohya keys without an option, kept.  Raises BadValues."""
        given = dict(zip(self.options, values, strict=True))
        settings = TrainingSettings().with_values(given)
        return settings.model_copy(update={"kohya_extra": dict(extra)})

    def updates(self, settings: TrainingSettings) -> list[Any]:
        """Component values that show the settings, in the order of inputs."""
        return [item.value_in(settings) for item in self.options.values()]

    def remembered(self, values: tuple[Any, ...], extra: Mapping[str, Any]) -> dict[str, Any]:
        """The form for the browser to keep: kohya's dictionary, wrong values left out."""
        try:
            return to_kohya(self.settings(values, extra))
        except BadValues as error:
            given = dict(zip(self.options, values, strict=True))
            good = {self.options[name].kohya: value for name, value in given.items() if name not in error.problems}
            return to_kohya(from_kohya({**extra, **good}).settings)

    def _sections(self) -> list[str]:
        return list(dict.fromkeys(item.section for item in self.options.values()))

    def _draw_section(self, section: str) -> None:
        items = [item for item in self.options.values() if item.section == section]
        defaults = {name: item.default for name, item in self.options.items()}
        with gr.Row(elem_classes="options", equal_height=False):
            for item in items:
                self.components[item.name] = draw_option(item, visible=item.applies(defaults))


def draw_option(item: Option, visible: bool = True) -> gr.components.Component:
    """The component that an option's type, choices and bounds ask for."""
    common: dict[str, Any] = {
        "label": item.label,
        "info": item.help,
        "elem_id": f"option-{item.name}",
        "elem_classes": ["option", "wide"] if item.widget in ("lines", "path", "folder") else ["option"],
        "visible": visible,
        "min_width": 240,
    }
    if item.kind is bool:
        return gr.Checkbox(item.default, **common)
    if item.choices:
        return gr.Dropdown([(choice or "(none)", choice) for choice in item.choices], value=item.default, **common)
    if item.kind is str:
        return gr.Textbox(item.default, lines=4 if item.widget == "lines" else 1, **common)
    if item.widget == "slider":
        return gr.Slider(item.at_least, item.at_most, value=item.default, step=item.step, **common)
    return gr.Number(item.default, precision=0 if item.kind is int else None, **common)


def _slug(section: str) -> str:
    return section.lower().replace("/", "-").replace(" ", "-")
