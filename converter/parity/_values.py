"""Put the tensors side by side that a layer takes or gives on both sides, however they are nested.

A comparison ignores lists, tuples, dicts and dataclasses, and every value but the tensors in them.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from ._trace import Tree, array_of, named_fields, named_leaves

_MOST_AXES = 4
One = TypeVar("One")
Other = TypeVar("Other")


def side_by_side(
    one: Sequence[tuple[str, One]], other: Sequence[tuple[str, Other]]
) -> list[tuple[One, Other]] | None:
    """Pair what two sides have: by name what both call the same, the rest in order.

    Args:
        one: Names and values; the name of what is in no dict is empty.
        other: The same of the other side.

    Returns:
        The pairs, in the order of the first side; None if one side has more.
    """
    if len(one) != len(other):
        return None
    counts = [Counter(name for name, _ in side) for side in (one, other)]
    # What only one side calls so stays in order, as does what has one name: a sort is stable.
    orders = [
        sorted(range(len(side)), key=[_shared(name, counts) for name, _ in side].__getitem__)
        for side in (one, other)
    ]
    return [(one[i][1], other[j][1]) for i, j in sorted(zip(*orders, strict=True))]


def _shared(name: str, counts: Sequence[Counter[str]]) -> str:
    return name if counts[0][name] == counts[1][name] else ""


def is_size(shape: Sequence[int], dtype: str) -> bool:
    """Tell a number, or the size of a map, that is kept as a tensor, as Paddle's `shape` does."""
    return not shape or (len(shape) == 1 and shape[0] <= _MOST_AXES and "int" in dtype)


def arrays_in(tree: Tree) -> list[tuple[str, int]]:
    """List the arrays of what was written down, in order: where each lies, and its index."""
    leaves = ((name, array_of(leaf)) for name, leaf in named_leaves(tree))
    return [(name, index) for name, index in leaves if index is not None]


def named_parts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all that live values consist of, as `named_leaves` does of what is written down."""
    if isinstance(value, list | tuple) and named_fields(value) is None:
        for part in value:
            yield from named_parts(part, name)
    elif (parts := _named(value)) is not None:
        for key, part in parts.items():
            yield from named_parts(part, f"{name}.{key}")
    else:
        yield name, value


def rebuilt(value: Any, visit: Callable[[Any], Any]) -> Any:
    """Put something else in the place of every part, in the order of `named_parts`.

    Tuples, lists, dicts and dataclasses stay what they are, of whatever class.
    """
    if isinstance(value, list | tuple):
        parts = [rebuilt(part, visit) for part in value]
        if all(map(_is, parts, value)):
            return value
        if isinstance(value, list):
            made = copy.copy(value)
            made[:] = parts
            return made
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    named = _named(value)
    if named is None:
        return visit(value)
    new = {name: rebuilt(part, visit) for name, part in named.items()}
    if all(new[name] is part for name, part in named.items()):
        return value  # which the layer may fill
    made = copy.copy(value)
    for name, part in new.items():
        if isinstance(value, dict):
            made[name] = part
        else:
            object.__setattr__(made, name, part)  # a frozen one, too
    return made


def _named(value: Any) -> dict[Any, Any] | None:
    """Return the parts of a dict, a named tuple or a dataclass."""
    if (names := named_fields(value)) is not None:
        return dict(zip(names, value, strict=True))
    if isinstance(value, dict):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return None


def _is(one: Any, other: Any) -> bool:
    return one is other
