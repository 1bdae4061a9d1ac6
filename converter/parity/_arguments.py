"""What a layer is called with, by the names of its parameters."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ._distance import FLOAT64_LIMIT


def _anything(*args: Any, **kwargs: Any) -> None:
    """Stand in for what has no signature, or another than its call."""


class Arguments:
    """The arguments of one call, bound to the signature of what is called.

    With or without a name, and with or without saying the default, they are the same.
    """

    def __init__(
        self, called: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            self._bound = inspect.signature(called).bind(*args, **kwargs)
        except (TypeError, ValueError):
            self._bound = inspect.signature(_anything).bind(*args, **kwargs)

    @property
    def args(self) -> tuple[Any, ...]:
        """What is passed by position: all that can be."""
        return self._bound.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The rest."""
        return self._bound.kwargs

    @property
    def values(self) -> dict[str, Any]:
        """Every parameter with its value, in the order of the signature; free names sorted."""
        full = inspect.BoundArguments(self._bound.signature, dict(self._bound.arguments))
        full.apply_defaults()
        values = dict[str, Any]()
        for name, value in full.arguments.items():
            free = self._is_free(name)
            values |= self._free_names(sorted(value.items())) if free else {name: value}
        return values

    @property
    def at_default(self) -> list[str]:
        """Names of the parameters that have a plain value, which is their default."""
        known = self._bound.signature.parameters
        return [
            name
            for name, value in self.values.items()
            if name in known and is_plain(value) and alike(value, known[name].default)
        ]

    def replaced(self, values: Mapping[str, Any]) -> "Arguments":
        """Return the same call with other values, of which those at their default are left out."""
        made, own = dict[str, Any](), self.values
        for name in self._bound.signature.parameters:
            passed = self._bound.arguments.get(name)
            if self._is_free(name):
                names = zip(passed or (), self._free_names((passed or {}).items()), strict=True)
                made[name] = {key: values[shown] for key, shown in names}
            elif name in self._bound.arguments or values[name] is not own[name]:
                made[name] = values[name]
        copy = object.__new__(Arguments)
        copy._bound = inspect.BoundArguments(self._bound.signature, made)
        return copy

    def _free_names(self, items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Name keywords of any name; one may be called as a parameter that has no such name."""
        known = self._bound.signature.parameters
        return {f"{name} of **" if name in known else name: value for name, value in items}

    def _is_free(self, name: str) -> bool:
        """Tell whether a parameter takes keywords of any name."""
        kind = self._bound.signature.parameters[name].kind
        return kind is inspect.Parameter.VAR_KEYWORD


def is_plain(value: Any) -> bool:
    """Tell numbers, flags, text, None, and lists of these from tensors and other objects."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def alike(one: Any, other: Any) -> bool:
    """Compare plain values; numbers that were computed may differ by rounding."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=FLOAT64_LIMIT)
    return is_plain(other) and bool(one == other)
