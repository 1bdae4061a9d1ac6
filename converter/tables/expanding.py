"""Names and shapes of a variant's tensors, expanded from ranges only when they are asked for.

A family of timm's has hundreds of variants, of which a run needs a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from ..checked import shown
from .variant import ShapePattern

_RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
_MOST_KEYS = 1_000_000  # of a variant; a few thousand are usual
_MOST_DIGITS = 9


class Shapes(Mapping[str, ShapePattern]):
    """Keys with their shapes; a pattern such as "blocks.{0..11}.norm1.weight" is twelve of them.

    Args:
        patterns: Key pattern -> shape, each checked.
    """

    def __init__(self, patterns: Mapping[str, ShapePattern]) -> None:
        self.patterns = patterns

    @cached_property
    def _all(self) -> dict[str, ShapePattern]:
        return {key: shape for name, shape in self.patterns.items() for key in _range(name)}

    def few(self) -> dict[str, ShapePattern]:
        """Give one key of every pattern: the first of a range."""
        return {_RANGE.sub(r"\1", name, count=1): shape for name, shape in self.patterns.items()}

    @cached_property
    def most(self) -> int:
        """How many keys there are at most, without expanding any."""
        return sum(map(_size_of_range, self.patterns))

    def __getitem__(self, key: str) -> ShapePattern:
        return self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shapes):
            return isinstance(other, Mapping) and self._all == dict(other)
        if any(other.patterns.get(name, shape) != shape for name, shape in self.patterns.items()):
            return False
        return self.patterns == other.patterns or self._all == other._all

    def __hash__(self) -> int:
        return hash(frozenset(self._all.items()))


def expand(shapes: Mapping[str, Any], name: str, problems: list[str]) -> Shapes:
    """Give the shapes of a variant.

    Args:
        shapes: Variant -> key pattern -> shape, content of shapes/<family>.toml. `same_as` names
            the variant that has the same ones, but for those that are listed beside it.
        name: Of the variant.
        problems: Gets what cannot be.
    """
    where = f"shapes of {shown(name, str)}: "
    entry = shapes.get(name, {})
    other = entry.get("same_as") if isinstance(entry, dict) else None
    if isinstance(other, str):
        known = shapes.get(other)
        entry = {**known, **entry} if isinstance(known, dict) else known
    if not isinstance(entry, dict):
        problems.append(f"{where}expected a table of shapes, found {shown(entry)}.")
        return Shapes({})
    found, count = dict[str, ShapePattern](), 0
    for pattern, shape in entry.items():
        if pattern == "same_as" and isinstance(other, str):
            continue
        size = 1 if "{" not in pattern else _size_of_range(pattern)
        count += size
        if not isinstance(shape, list) or not all(map(_is_axis, shape)):
            problems.append(f"{where}{pattern} is {shown(shape)}, expected a list of numbers.")
        elif count > _MOST_KEYS:
            problems.append(f"{where}{pattern} and others are more than {_MOST_KEYS} tensors.")
            break
        elif size:
            found[pattern] = tuple(shape)
    return Shapes(found)


def _is_axis(number: Any) -> bool:
    return number == "num_classes" or (type(number) is int and 0 <= number < 2**40)


def _size_of_range(pattern: str) -> int:
    """Count the keys that `_range` gives; a number of too many digits counts as the most."""
    if (match := _RANGE.search(pattern)) is None:
        return 1
    if max(map(len, match.groups())) > _MOST_DIGITS:
        return _MOST_KEYS + 1
    return max(0, int(match[2]) - int(match[1]) + 1)


def _range(pattern: str) -> Iterator[str]:
    """Expand one inclusive range: "a.{0..2}.b" -> a.0.b, a.1.b, a.2.b."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    for i in range(int(match[1]), int(match[2]) + 1):
        yield pattern[: match.start()] + str(i) + pattern[match.end() :]
