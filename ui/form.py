"""The form: drawn from the declarations of the options, read back into settings."""

from __future__ import annotations

from typing import Any, Generic

import gradio as gr

from engine.settings.option import Option, sections_of
from engine.settings.paths import Some
from engine.settings.training import Method
from engine.settings.values import BadValues

SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For every event of the page: no veil over what it fills, and no entry in Gradio's public interface."""

METHODS: dict[Method, str] = {"dreambooth": "DreamBooth", "lora": "LoRA", "finetune": "Finetuning"}
"""The methods there are, in the order and words of kohya_ss's tabs."""

METHOD = "method"
"""What Option.applies() calls the chosen one among the values."""

DEEPEST_TAB = 2
"""Levels of sections that are tabs; below them are accordions."""


class Form(Generic[Some]):
    """One component for every option that acts, under the tabs, sub-tabs and accordions that their sections name.

    Construct it within gr.Blocks, then call draw() once for each top-level tab.  The options that do not
    act yet have no component: their values ride along in the settings that settings() is given.

    name: begins the ids of its fields, so that those of several forms differ.
    """

    def __init__(self, settings_class: type[Some], name: str = "option") -> None:
        self._settings_class = settings_class
        self.name = name
        self.options = {item.name: item for item in settings_class.options() if has_field(item)}
        self.components: dict[str, gr.components.Component] = {}
        self._accordions: dict[str, gr.Accordion] = {}

    @property
    def inputs(self) -> list[gr.components.Component]:
        """The components in the order of the options; what settings() takes and updates() fills."""
        return [self.components[name] for name in self.options]

    def tabs(self) -> list[str]:
        """Names of the top-level tabs, in order."""
        return list(dict.fromkeys(section.partition("/")[0] for section in self._sections()))

    def draw(self, tab: str) -> None:
        """Draw a tab's options, in sub-tabs where their sections have any."""
        self._draw_options(tab)
        sub_tabs = self._within(tab)
        if not sub_tabs:
            return
        with gr.Tabs():
            for section in sub_tabs:
                with gr.Tab(_last(section), id=section, elem_id=f"tab-{_slug(section)}"):
                    self._draw_options(section)
                    self._draw_accordions(section)

    def connect_visibility(self, base: gr.State) -> None:
        """Show an option, and an accordion of options, only beside values of others that give it a meaning.

        base: the settings that the form is laid over, whose method counts too.
        """
        blocks: list[tuple[gr.blocks.Block, list[Option]]] = [
            *((self.components[item.name], [item]) for item in self.options.values()),
            *((accordion, self._below(section)) for section, accordion in self._accordions.items()),
        ]
        sources: dict[str, Any] = {**self.components, METHOD: base}
        dependents: dict[tuple[str, ...], list[tuple[gr.blocks.Block, list[Option]]]] = {}
        for block, items in blocks:
            if all(_controllers(item) for item in items):
                names = {name for item in items for name in _controllers(item) if name in sources}
                dependents.setdefault(tuple(sorted(names)), []).append((block, items))
        for controllers, dependent in dependents.items():

            def visibility(
                *values: Any,
                controlling: tuple[str, ...] = controllers,
                dependent: list[tuple[gr.blocks.Block, list[Option]]] = dependent,
            ) -> Any:
                given = dict(zip(controlling, values, strict=True))
                if METHOD in given:
                    given[METHOD] = given[METHOD].method
                updates = [gr.update(visible=any(item.applies(given) for item in items)) for _, items in dependent]
                return updates if len(updates) > 1 else updates[0]

            inputs = [sources[name] for name in controllers]
            gr.on(
                [component.change for component in inputs],
                visibility,
                inputs,
                [block for block, _ in dependent],
                queue=False,
                **SILENT,
            )

    def settings(self, values: tuple[Any, ...], base: Some) -> Some:
        """The base with what the form says over it.  Raises BadValues."""
        return base.with_typed(dict(zip(self.options, values, strict=True)))

    def updates(self, settings: Some) -> list[Any]:
        """Component values that show the settings, in the order of inputs."""
        return [item.value_in(settings) for item in self.options.values()]

    def readable(self, values: tuple[Any, ...], base: Some) -> Some:
        """The settings with every wrong value at its default."""
        try:
            return self.settings(values, base)
        except BadValues as error:
            given = dict(zip(self.options, values, strict=True))
            fresh = self._settings_class().values()
            return base.with_values(given | {name: fresh[name] for name in error.problems})

    def _sections(self) -> list[str]:
        return sections_of(tuple(self.options.values()))

    def _within(self, parent: str) -> list[str]:
        """The sections one level below a section, those included that have options only further below."""
        depth = parent.count("/") + 2
        below = [section for section in self._sections() if section.startswith(parent + "/")]
        return list(dict.fromkeys("/".join(section.split("/")[:depth]) for section in below))

    def _below(self, section: str) -> list[Option]:
        """The options of a section and of all within it."""
        return [item for item in self.options.values() if f"{item.section}/".startswith(f"{section}/")]

    def _defaults(self) -> dict[str, Any]:
        fresh = self._settings_class()
        return {
            **({METHOD: getattr(fresh, METHOD)} if hasattr(fresh, METHOD) else {}),
            **{name: item.default for name, item in self.options.items()},
        }

    def _draw_accordions(self, parent: str) -> None:
        for section in self._within(parent):
            visible = any(item.applies(self._defaults()) for item in self._below(section))
            with gr.Accordion(
                _last(section), open=False, visible=visible, elem_id=f"section-{_slug(section)}"
            ) as accordion:
                self._accordions[section] = accordion
                self._draw_options(section)
                self._draw_accordions(section)

    def _draw_options(self, section: str) -> None:
        items = [item for item in self.options.values() if item.section == section]
        if not items:
            return
        defaults = self._defaults()
        with gr.Row(elem_classes="options", equal_height=False):
            for item in items:
                self.components[item.name] = draw_option(item, self.name, visible=item.applies(defaults))


def has_field(item: Option) -> bool:
    return item.acts and item.widget != "none"


def draw_option(item: Option, form: str = "option", visible: bool = True) -> gr.components.Component:
    """The component that an option's type, choices and bounds ask for."""
    common: dict[str, Any] = {
        "label": item.label,
        "info": item.help,
        "elem_id": f"{form}-{item.name}",
        "elem_classes": ["option", "wide"] if item.widget in ("lines", "path", "folder", "file") else ["option"],
        "visible": visible,
        "min_width": 240,
    }
    if item.kind is bool:
        return gr.Checkbox(item.default, **common)
    if item.choices:
        return gr.Dropdown([(_shown(item, choice), choice) for choice in item.choices], value=item.default, **common)
    if item.suggestions:
        return gr.Dropdown(list(item.suggestions), value=item.default, allow_custom_value=True, **common)
    if item.kind is str:
        kind: Any = "password" if item.widget == "secret" else "text"
        return gr.Textbox(item.default, lines=4 if item.widget == "lines" else 1, type=kind, **common)
    if item.widget == "slider":
        return gr.Slider(item.at_least, item.at_most, value=item.default, step=item.step, buttons=[], **common)
    return gr.Number(item.default, **common)  # a whole number too: rounded by Gradio, 2.5 would be 2 without a word


def _controllers(item: Option) -> tuple[str, ...]:
    """What an option's visibility depends on: other options, and the method where it is not every method's."""
    return (*item.controllers, *(() if all(item.is_for(method) for method in METHODS) else (METHOD,)))


def way_to(section: str) -> list[tuple[str, str]]:
    """What to open, from the outside in, to see a section: ("tab", its id) and ("accordion", its element's id)."""
    parts = section.split("/")
    sections = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [
        ("tab", name) if depth < DEEPEST_TAB else ("accordion", f"section-{_slug(name)}")
        for depth, name in enumerate(sections)
    ]


def _shown(item: Option, choice: str) -> str:
    return (choice or "(none)") + (" (not yet)" if choice in item.not_yet else "")


def _last(section: str) -> str:
    return section.rpartition("/")[2]


def _slug(section: str) -> str:
    return section.lower().replace("/", "-").replace(" ", "-")
