"""Parsed TOML or JSON -> a dataclass, with every problem listed: wrong types, unknown words."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import nearest

T = TypeVar("T")

_LARGEST = 2**63 - 1  # of a number: more fits neither an array nor a float
_LONGEST = 200  # characters of a value in a problem


_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def _any(_value: Any) -> bool:
    return True


def expected(what: str, holds: Callable[[Any], bool] = _any) -> dict[str, Any]:
    """Give the metadata of a field whose type does not say all.

    Args:
        what: What a message says was expected: "a number up to 1".
        holds: Whether a value of the right type is one.
    """
    return {"what": what, "holds": holds}


def checked(
    cls: type[T], data: Mapping[str, Any], where: str, problems: list[str], **known: Any
) -> T | None:
    """Make a dataclass of parsed data.

    Args:
        cls: The dataclass; the types of its fields, and `expected`, say what each may be. A list
            becomes a tuple where the type is one, and a table a dataclass.
        data: Field -> value, as a file has it.
        where: What stands before the name of a field in a problem: "kind linear: ".
        problems: Gets every missing or unknown field, and every value that cannot be.
        known: Fields that do not come from the file; `data` must not have them.

    Returns:
        The instance, or None if anything was wrong.
    """
    hints = _hints(cls)
    asked = {one.name: one for one in fields(cls) if one.name not in known}  # type: ignore[arg-type]
    found = [
        f"{where}{shown(name, str)} is unknown.{nearest(name, asked)}"
        for name in data
        if name not in asked
    ]
    values = dict[str, Any]()
    for name, field in asked.items():
        if name not in data:
            if field.default is MISSING and field.default_factory is MISSING:
                found.append(f"{where}{name} is missing, expected {_what(field, hints)}.")
        elif not (_fits(data[name], hints[name]) and field.metadata.get("holds", _any)(data[name])):
            told = f"{where}{name} is {shown(data[name])}, expected {_what(field, hints)}."
            found.append(told)
        else:
            values[name] = _taken(data[name], hints[name], f"{where}{name}", found)
    problems += found
    if found:
        return None
    return cls(**known, **values)


def shown(value: Any, spell: Callable[[Any], str] = repr) -> str:
    """Spell a value for a message, cut short; a number may have too many digits to be spelled."""
    try:
        text = spell(value)
    except ValueError:
        return "a number with too many digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def frozen(data: Mapping[str, Any]) -> dict[str, Any]:
    """Give the same values, with tuples for lists."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}


def tables_in(
    data: Mapping[str, Any], name: str, where: str, problems: list[str]
) -> dict[str, dict[str, Any]]:
    """Give a table of tables by name; empty, with a problem, if it is something else."""
    found = data.get(name, {})
    if isinstance(found, dict) and all(isinstance(one, dict) for one in found.values()):
        return found
    problems.append(f"{where}{name} is {shown(found)}, expected a table of tables.")
    return {}


def _is_table(hint: Any) -> bool:
    """Tell the type of a table; one with fields of its own is a dataclass."""
    origin = get_origin(hint)
    return is_dataclass(hint) or (isinstance(origin, type) and issubclass(origin, Mapping))


def _is_list(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _is_text(text: str) -> bool:
    """Tell whether a text can be the name of a file; those that are not UTF-8 have surrogates."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a parsed value is of a type: an int is a float, too; a bool is not an int.

    Whether a table has the fields of a dataclass, `_taken` finds out.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if _is_table(hint):
        kind = inner[1] if inner else Any
        return isinstance(value, dict) and all(
            _is_text(name) and _fits(one, kind) for name, one in value.items()
        )
    if _is_list(hint):
        if not isinstance(value, list | tuple):
            return False
        if origin is not tuple or inner[-1] is ...:
            return all(_fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if type(value) is int and abs(value) > _LARGEST:
        return False
    if hint is str:
        return isinstance(value, str) and _is_text(value)
    return type(value) in ((int, float) if hint is float else (hint,))


def _taken(value: Any, hint: Any, where: str, problems: list[str]) -> Any:
    """Give a value that fits as its type has it; tables become dataclasses, lists tuples."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        own = next(one for one in inner if _fits(value, one))
        return _taken(value, own, where, problems)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return checked(hint, value, f"{where}.", problems)
    if isinstance(value, dict) and inner:
        taken = value.items()
        return {n: _taken(v, inner[1], f"{where}.{shown(n, str)}", problems) for n, v in taken}
    if isinstance(value, list | tuple):
        kind = inner[0] if inner else Any
        parts = [_taken(one, kind, f"{where}[{i}]", problems) for i, one in enumerate(value)]
        return parts if origin is list else tuple(parts)
    return value


def _what(field: Field[Any], hints: Mapping[str, Any]) -> str:
    """Say what a field may be."""
    return field.metadata.get("what") or _spelled(hints[field.name])


def _spelled(hint: Any) -> str:
    """Say what a type asks for."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (Union, UnionType):
        return " or ".join(_spelled(one) for one in inner if one is not type(None))
    if _is_table(hint):
        return "a table"
    plain = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    return "a list" if _is_list(hint) else plain.get(hint, "a value")
