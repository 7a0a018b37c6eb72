"""The one way to declare an option, and to ask a settings class what it declares.

The form, the JSON files, the command line, the checks and the reference page all come from here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from engine.settings.kin import KIN, TABS
from engine.settings.secrets import ARGUMENT_FIELDS, HIDDEN, arguments_without_secrets, hidden

T = TypeVar("T")

Widget = Literal["auto", "folder", "file", "path", "lines", "slider", "secret", "none"]
"""How the form draws an option where its type alone does not say.

A path may be a name of the Hugging Face hub as well; a secret is nowhere shown;
none is no field: the page knows the value from elsewhere.
"""

MustBe = Literal["", "given", "folder", "file"]
"""What a text has to be before a start: anything but empty, or what lies on the disk; "" for no matter what."""


@dataclass(frozen=True)
class Standing:
    """What an option does in this version.

    kind: "acts": training follows it. "maps": it is understood, and something else here says the same.
    "idle": it has no meaning in this program. "later": nothing follows it yet.
    why: for "maps" what covers it, for "idle" the reason as a sentence, for "later" what is missing, as a noun.
    """

    kind: Literal["acts", "maps", "idle", "later"]
    why: str = ""

    def text(self) -> str:
        """For people: "acts", "covered by …", "no effect here: …" or "not supported yet (…)"."""
        return {
            "acts": "acts",
            "maps": f"covered by {self.why}",
            "idle": f"no effect here: {self.why}",
            "later": f"not supported yet ({self.why})",
        }[self.kind]


ACTS = Standing("acts")


def maps(why: str) -> Standing:
    """Understood; `why` says what stands for it here."""
    return Standing("maps", why)


def idle(why: str) -> Standing:
    """Kept for kohya_ss alone; `why` is a sentence that says why it has no meaning here."""
    return Standing("idle", why)


def later(why: str) -> Standing:
    """Kept until something acts on it; `why` says what is missing, as a noun."""
    return Standing("later", why)


class Group(BaseModel):
    """A section of the form: fields made by option(), or further groups."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Kohya:
    """What kohya_ss makes of an option.

    key: its name in kohya_ss's JSON.  as_text: a number that stands there as text.
    methods: the tabs that save it.  has_it: False for an option of our own, which kohya_ss has no field for.
    also: other names for it, in tutorials and in older versions of the page.
    """

    key: str
    as_text: bool = False
    methods: tuple[str, ...] = TABS
    has_it: bool = True
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """One declared option.

    path: where its value lives in the settings, such as ("optimizer", "learning_rate").
    kind: str, bool, int or float.  choices, at_least, at_most: what is allowed.
    label, help, section: as the page shows it; section is the tab, sub-tab and accordion, such as "Parameters/Basic"
    or "Parameters/Basic/LyCORIS".
    widget, step, suggestions: how its field is drawn; suggestions are usual values of a free text.
    must_be: what a text has to be before a start, where the option applies.
    applies_when: values that other options must have for this one to mean anything.  also_when: others that will do.
    acts_for: of the methods whose tabs save it, those that it does something for; all if there are none.
    standing: what the option does in this version.  not_yet: for single choices what they wait for.
    source: the paper or page that defines it.
    """

    name: str
    path: tuple[str, ...]
    kind: type
    default: Any
    label: str
    help: str
    section: str
    kohya: Kohya
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    widget: Widget = "auto"
    step: float | None = None
    suggestions: tuple[str, ...] = ()
    must_be: MustBe = ""
    applies_when: Mapping[str, tuple[Any, ...]] | None = None
    also_when: Mapping[str, tuple[Any, ...]] | None = None
    acts_for: tuple[str, ...] = ()
    standing: Standing = ACTS
    not_yet: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @property
    def acts(self) -> bool:
        return self.standing.kind == "acts"

    @property
    def short_label(self) -> str:
        """The label without what stands in brackets behind it."""
        return self.label.partition(" (")[0]

    def standing_of(self, value: Any) -> Standing:
        """The option's standing where it has this value: a single choice may wait while the others act."""
        return later(self.not_yet[value]) if self.not_yet and value in self.not_yet else self.standing

    def value_in(self, settings: BaseModel) -> Any:
        value: Any = settings
        for part in self.path:
            value = getattr(value, part)
        return value

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the option means anything beside the other options' values; one not among them does not hinder.

        values: by name, and under "method" which of kohya_ss's tabs they are for, where that matters.
        """

        def met(condition: Mapping[str, tuple[Any, ...]]) -> bool:
            return all(values[name] in allowed for name, allowed in condition.items() if name in values)

        if "method" in values and not self.is_for(values["method"]):
            return False
        return met(self.applies_when or {}) or (self.also_when is not None and met(self.also_when))

    def is_for(self, method: str) -> bool:
        """Whether the option means anything to a method: one of those whose tabs save it, and that it acts for.

        Fine-tuning knows DreamBooth's too, for here both read their pictures and train alike.
        """
        known_to = self.acts_for or self.kohya.methods
        if method == "finetune" and "dreambooth" in known_to:
            return True
        if (kin := KIN.get(method)) is None:
            return method in known_to
        return not {self.path[0], self.name} & kin.without and (method in known_to or set(kin.tabs) <= set(known_to))

    def value_text(self, value: Any) -> str:
        """A value for people: "on", "8", "(none)"; secrets stay unseen."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if value == "":
            return "(none)"
        if isinstance(value, float):
            return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-8 <= abs(value) < 1e8 else f"{value:g}"
        if self.name in ARGUMENT_FIELDS:
            kept, secrets = arguments_without_secrets(str(value))
            return " ".join(filter(None, [kept, *(f"{name}={HIDDEN}" for name in secrets)]))
        return HIDDEN if self.widget == "secret" else hidden(str(value))

    def range_text(self) -> str:
        """What is allowed, for people: "1 to 512", "one of a, b", or nothing."""
        if self.choices:
            return "one of " + ", ".join(choice or "(none)" for choice in self.choices)
        if self.at_least is not None and self.at_most is not None:
            return f"{_number(self.at_least)} to {_number(self.at_most)}"
        if self.at_least is not None:
            return f"{_number(self.at_least)} or more"
        return ""


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


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
    also_when: Mapping[str, tuple[Any, ...]] | None = None,
    acts_for: tuple[str, ...] = (),
    standing: Standing = ACTS,
    not_yet: Mapping[str, str] | None = None,
    also: tuple[str, ...] = (),
    suggestions: tuple[str, ...] = (),
    methods: tuple[str, ...] = TABS,
    kohya_text: bool = False,
    ours: bool = False,
    must_be: MustBe = "",
) -> T:
    """Declare an option as the default of a Group's field.

    ge, le: bounds, both included.  kohya: the JSON key where it is not the field's own name; also, methods,
    kohya_text and ours say the rest of what Kohya holds.  All else: see Option.
    """
    facts = {
        "label": label,
        "section": section,
        "kohya": Kohya(kohya, kohya_text, methods, not ours, also),
        "widget": widget,
        "step": step,
        "suggestions": suggestions,
        "must_be": must_be,
        "applies_when": applies_when,
        "also_when": also_when,
        "acts_for": acts_for,
        "standing": standing,
        "not_yet": not_yet or {},
        "source": source,
    }
    declared: Any = Field(default, ge=ge, le=le, description=help, json_schema_extra={"option": cast(Any, facts)})
    return cast(T, declared)


def like(declared_in: type[BaseModel], name: str, **changed: Any) -> Any:
    """Declare an option as another settings class has it, bounds included.

    changed: what is said otherwise here, such as the section; see option().  kohya: the JSON key.
    """
    declared = copy(declared_in.model_fields[name])
    facts = cast("dict[str, Any]", cast("dict[str, Any]", declared.json_schema_extra)["option"])
    declared.description = changed.pop("help", declared.description)
    declared.default = changed.pop("default", declared.default)
    kohya = replace(facts["kohya"], key=changed.pop("kohya", facts["kohya"].key))
    declared.json_schema_extra = {"option": cast(Any, {**facts, **changed, "kohya": kohya})}
    return declared


def options_of(settings_class: type[BaseModel]) -> list[Option]:
    """Every option that a settings class declares, in order of declaration; names are unique."""
    found = list(_walk(settings_class, ()))
    names = [found_option.name for found_option in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"{settings_class.__name__} declares {', '.join(sorted(twice))} more than once.")
    return found


def sections_of(options: Sequence[Option]) -> list[str]:
    """Their sections in order of appearance, each followed by the sections within it."""
    found: dict[str, None] = {}
    for item in options:
        parts = item.section.split("/")
        found |= {"/".join(parts[:depth]): None for depth in range(1, len(parts) + 1)}
    order = {section: number for number, section in enumerate(found)}

    def place(section: str) -> list[int]:
        parts = section.split("/")
        return [order["/".join(parts[:depth])] for depth in range(1, len(parts) + 1)]

    return sorted({item.section for item in options}, key=place)


def _walk(settings_class: type[BaseModel], path: tuple[str, ...]) -> Iterator[Option]:
    for name, declared in settings_class.model_fields.items():
        annotation = declared.annotation
        if isinstance(annotation, type) and issubclass(annotation, Group):
            yield from _walk(annotation, (*path, name))
        elif isinstance(declared.json_schema_extra, dict) and "option" in declared.json_schema_extra:
            yield _read(name, declared, (*path, name))


def _read(name: str, declared: FieldInfo, path: tuple[str, ...]) -> Option:
    facts = dict(cast("dict[str, Any]", cast("dict[str, Any]", declared.json_schema_extra)["option"]))
    choices = typing.get_args(declared.annotation) if typing.get_origin(declared.annotation) is Literal else ()
    bounds = {key: getattr(item, key) for item in declared.metadata for key in ("ge", "le") if hasattr(item, key)}
    kind = type(choices[0]) if choices else declared.annotation
    if kind not in (str, bool, int, float):
        described = kind if isinstance(kind, type | types.GenericAlias) else repr(kind)
        raise TypeError(f"{name}: an option is a str, bool, int, float or Literal, not {described}.")
    kohya = cast(Kohya, facts.pop("kohya"))
    return Option(
        name=name,
        path=path,
        kind=cast(type, kind),
        default=declared.default,
        help=declared.description or "",
        kohya=replace(kohya, key=kohya.key or name),
        choices=choices,
        at_least=bounds.get("ge"),
        at_most=bounds.get("le"),
        **facts,
    )
