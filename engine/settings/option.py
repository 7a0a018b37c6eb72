"""The one way to declare an option, and to ask a settings class what it declares.

The form, the JSON files, the command line, the checks and the reference page all come from here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

T = TypeVar("T")

Widget = Literal["auto", "folder", "path", "lines", "slider"]
"""How the form draws an option where its type alone does not say."""


class Group(BaseModel):
    """A section of the form: fields made by option(), or further groups."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


@dataclass(frozen=True)
class Option:
    """One declared option.

    path: where its value lives in the settings, such as ("optimizer", "learning_rate").
    kind: str, bool, int or float.
    section: tab and sub-tab in the form, such as "Parameters/Basic".
    kohya: the key in kohya_ss's JSON.
    applies_when: values that other options must have for this one to mean anything.
    """

    name: str
    path: tuple[str, ...]
    kind: type
    default: Any
    label: str
    help: str
    section: str
    kohya: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    step: float | None = None
    widget: Widget = "auto"
    source: str = ""
    applies_when: Mapping[str, tuple[Any, ...]] | None = None

    def value_in(self, settings: BaseModel) -> Any:
        value: Any = settings
        for part in self.path:
            value = getattr(value, part)
        return value

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the option means anything beside the other options' values."""
        return all(values.get(name) in allowed for name, allowed in (self.applies_when or {}).items())

    def range_text(self) -> str:
        """What is allowed, for people: "1 to 512", "one of a, b", or nothing."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        if self.at_least is not None:
            return f"{self.at_least:g} or more"
        return ""


def option(
    default: T,
    *,
    label: str,
    section: str,
    help: str,
    kohya: str = "",
    ge: float | None = None,
    le: float | None = None,
    step: float | None = None,
    widget: Widget = "auto",
    source: str = "",
    applies_when: Mapping[str, tuple[Any, ...]] | None = None,
) -> T:
    """Declare an option as the default of a Group's field.

    label, help: as the page shows them.  kohya: the JSON key where it is not the field's own name.
    ge, le: bounds, both included.  source: the paper or page that defines the option.
    """
    facts = {
        "label": label,
        "section": section,
        "kohya": kohya,
        "step": step,
        "widget": widget,
        "source": source,
        "applies_when": applies_when,
    }
    field: Any = Field(default, ge=ge, le=le, description=help, json_schema_extra={"option": cast(Any, facts)})
    return cast(T, field)


def options_of(settings_class: type[BaseModel]) -> list[Option]:
    """Every option that a settings class declares, in order of declaration; names are unique."""
    found = list(_walk(settings_class, ()))
    names = [found_option.name for found_option in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"{settings_class.__name__} declares {', '.join(sorted(twice))} more than once.")
    return found


def _walk(settings_class: type[BaseModel], path: tuple[str, ...]) -> Iterator[Option]:
    for name, field in settings_class.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Group):
            yield from _walk(annotation, (*path, name))
        elif isinstance(field.json_schema_extra, dict) and "option" in field.json_schema_extra:
            yield _read(name, field, (*path, name))


def _read(name: str, field: FieldInfo, path: tuple[str, ...]) -> Option:
    facts = cast("dict[str, Any]", cast("dict[str, Any]", field.json_schema_extra)["option"])
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
    bounds = {key: getattr(item, key) for item in field.metadata for key in ("ge", "le") if hasattr(item, key)}
    kind = type(choices[0]) if choices else field.annotation
    if kind not in (str, bool, int, float):
        described = kind if isinstance(kind, type | types.GenericAlias) else repr(kind)
        raise TypeError(f"{name}: an option is a str, bool, int, float or Literal, not {described}.")
    return Option(
        name=name,
        path=path,
        kind=cast(type, kind),
        default=field.default,
        label=facts["label"],
        help=field.description or "",
        section=facts["section"],
        kohya=facts["kohya"] or name,
        choices=choices,
        at_least=bounds.get("ge"),
        at_most=bounds.get("le"),
        step=facts["step"],
        widget=facts["widget"],
        source=facts["source"],
        applies_when=facts["applies_when"],
    )
