"""What a class of a library takes, read from its source: importing torch to ask would take seconds and a gigabyte."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Kind = Literal["number", "numbers", "number or numbers", "switch", "any"]

DEEPEST = 8
"""Modules that hand a name on, and classes that leave their arguments to another, one behind the other."""


_SEVERAL = re.compile(r"(tuple|list|iterable|sequence)\[[^]]*\]")


class NotInstalled(LookupError):
    """The library is not on this machine."""


@dataclass(frozen=True)
class Parameter:
    """kind: of its value, "any" where the source does not say.  usual: the default as the source has it, "" for none.

    count: of several numbers.  needed: has no default.  maybe_none: takes none too, as far as the source says.
    """

    name: str
    kind: Kind
    usual: str = ""
    count: int = 0
    needed: bool = False
    maybe_none: bool = False


@dataclass(frozen=True)
class Signature:
    """parameters: by name, without the object itself and what it works on.  open: it takes others as well."""

    parameters: dict[str, Parameter]
    open: bool


@lru_cache(maxsize=64)
def signature_of(place: str) -> Signature | None:
    """Of "module:class"; None where the source does not tell.  Raises NotInstalled."""
    module, _, name = place.partition(":")
    try:
        found = _defined(module, name, DEEPEST)
        return _signature(*found, DEEPEST) if found else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _signature(module: str, kind: ast.ClassDef, deep: int) -> Signature | None:
    """By the class's own __init__, else by that of the class that it grew out of."""
    for statement in kind.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _of_function(statement)
    for base in kind.bases:
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        if deep and (found := _defined(module, name, deep)):
            return _signature(*found, deep - 1)
    return None


def _of_function(function: ast.FunctionDef) -> Signature:
    given = function.args
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(given.defaults)), *given.defaults]
    both = [*zip(plain[2:], defaults[2:], strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return Signature({arg.arg: _parameter(arg, default) for arg, default in both}, given.kwarg is not None)


def _parameter(argument: ast.arg, default: ast.expr | None) -> Parameter:
    usual = ast.unparse(default) if default is not None else ""
    annotation = ast.unparse(argument.annotation) if argument.annotation is not None else ""
    kind, count = _kind(default)
    if kind == "any":
        kind = _annotated(annotation)
    maybe_none = not annotation or "None" in annotation or "Optional" in annotation
    return Parameter(argument.arg, kind, "" if usual == "None" else usual, count, default is None, maybe_none)


def _kind(default: ast.expr | None) -> tuple[Kind, int]:
    if isinstance(default, ast.Tuple | ast.List):
        numeric = all(_kind(element)[0] == "number" for element in default.elts)
        return ("numbers", len(default.elts)) if numeric and default.elts else ("any", 0)
    if isinstance(default, ast.UnaryOp):
        return _kind(default.operand)
    if isinstance(default, ast.BinOp):  # 10**6
        return _kind(default.left)
    if isinstance(default, ast.Call):  # float("inf")
        return ("number", 0) if ast.unparse(default.func) == "float" else ("any", 0)
    if isinstance(default, ast.Constant):
        kinds: dict[type, Kind] = {bool: "switch", int: "number", float: "number"}
        return kinds.get(type(default.value), "any"), 0
    return "any", 0


def _annotated(annotation: str) -> Kind:
    words = annotation.lower()
    if any(word in words for word in ("str", "callable", "literal", "dict", "any")):
        return "any"
    several, rest = bool(_SEVERAL.search(words)), _SEVERAL.sub("", words)
    if re.search(r"\b(float|int)\b", rest):
        return "number or numbers" if several else "number"
    if several:
        return "numbers" if "float" in words or "int" in words else "any"
    return "switch" if "bool" in words else "any"


def _defined(module: str, name: str, deep: int) -> tuple[str, ast.ClassDef] | None:
    """(the module that defines a class, its definition), whatever modules hand it on."""
    tree, is_package = _parsed(module)
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return module, statement
    if deep:
        for source, their_name in _imported(tree, module, is_package, name):
            if found := _defined(source, their_name, deep - 1):
                return found
    return None


def _imported(tree: ast.Module, module: str, is_package: bool, name: str) -> Iterator[tuple[str, str]]:
    """Where a name may come from, and what it is called there: what is named first, then what hands on everything."""
    top, everything = module.partition(".")[0], []
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.ImportFrom):
            continue
        package = module.split(".")
        if statement.level:
            package = package[: len(package) - statement.level + is_package]
        source = ".".join([*package, statement.module or ""] if statement.level else [statement.module or ""]).strip(
            "."
        )
        if source.partition(".")[0] != top:
            continue
        for alias in statement.names:
            if (alias.asname or alias.name) == name:
                yield source, alias.name
            elif alias.name == "*":
                everything.append(source)
    for source in everything:
        yield source, name


@lru_cache(maxsize=64)
def _parsed(module: str) -> tuple[ast.Module, bool]:
    """A module's source, and whether it is a package's.  Raises NotInstalled, OSError, SyntaxError."""
    top, *within = module.split(".")
    spec = importlib.util.find_spec(top)  # of the whole library alone: for a part of it, it would be imported
    if spec is None or spec.origin is None:
        raise NotInstalled(top)
    if not spec.submodule_search_locations:
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8")), False
    place = Path(spec.submodule_search_locations[0], *within)
    file = place / "__init__.py"
    if not file.is_file():
        file = place.with_name(f"{place.name}.py")
    return ast.parse(file.read_text(encoding="utf-8")), file.name == "__init__.py"
