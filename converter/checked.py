"""Parsed TOML or JSON -> a dataclass, with every problem listed: wrong types, unknown words."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import nearest

T = TypeVar("T")


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
            becomes a tuple.
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
        f"{where}{name} is unknown.{nearest(name, asked)}" for name in data if name not in asked
    ]
    for name, field in asked.items():
        what = field.metadata.get("what") or _spelled(hints[name])
        if name not in data:
            if field.default is MISSING and field.default_factory is MISSING:
                found.append(f"{where}{name} is missing, expected {what}.")
        elif not (_fits(data[name], hints[name]) and field.metadata.get("holds", _any)(data[name])):
            found.append(f"{where}{name} is {data[name]!r}, expected {what}.")
    problems += found
    if found:
        return None
    return cls(**known, **frozen(data))


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
    problems.append(f"{where}{name} is {found!r}, expected a table of tables.")
    return {}


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a parsed value is of a type: an int is a float, too; a bool is not an int."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if origin is tuple:
        many = isinstance(value, list | tuple) and (inner[-1] is ... or len(value) == len(inner))
        kinds = inner[:1] * len(value) if many and inner[-1] is ... else inner
        return many and all(_fits(one, kind) for one, kind in zip(value, kinds, strict=True))
    return type(value) in ((int, float) if hint is float else (hint,))


def _spelled(hint: Any) -> str:
    """Say what a type asks for."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (Union, UnionType):
        return " or ".join(_spelled(one) for one in inner if one is not type(None))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table"
    plain = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    return "a list" if origin is tuple else plain.get(hint, "a value")
