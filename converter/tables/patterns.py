"""Patterns of keys: {x} stands for one whole number."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


class Patterns(Generic[Value]):
    """Values by pattern, found without a look at every one of them."""

    def __init__(self) -> None:
        self.count = 0
        # Skeleton -> which numbers are placeholders -> the other numbers -> the patterns.
        self.places: dict[str, dict[tuple[bool, ...], dict[tuple[str, ...], list[Any]]]] = {}

    def add(self, pattern: str, value: Value) -> None:
        """Add a value."""
        words = _numbers(pattern)
        free = tuple(not word.isdigit() for word in words)
        fixed = tuple(word for word in words if word.isdigit())
        place = self.places.setdefault(skeleton(pattern), {}).setdefault(free, {})
        place.setdefault(fixed, []).append((self.count, compile_pattern(pattern), value))
        self.count += 1

    def like(self, key: str) -> Iterator[tuple[re.Pattern[str], Value]]:
        """Give the patterns that a key may match, in the order in which they were added."""
        if not self.places or not (places := self.places.get(skeleton(key))):
            return
        numbers, found = _numbers(key), list[Any]()
        for free, place in places.items():
            fixed = (word for word, is_free in zip(numbers, free, strict=False) if not is_free)
            found += place.get(tuple(fixed), [])
        for _number, pattern, value in sorted(found, key=itemgetter(0)):
            yield pattern, value


def join(layer: str, leaf: str) -> str:
    """Give the key of a tensor of a layer; an empty leaf is the layer's own name."""
    return f"{layer}.{leaf}" if leaf else layer


def shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Count with how many equal items, or letters, two sequences begin."""
    alike = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(alike) if a != b), min(len(one), len(other)))


def fill(pattern: str, numbers: Mapping[str, str]) -> str:
    """Put numbers in the place of the placeholders; nothing else in braces means anything."""
    return PLACEHOLDER.sub(lambda found: numbers[found[1]], pattern)


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn a key pattern into a regular expression for the whole key; {x} is one integer.

    It takes all digits there are, and gives none back: matching takes one pass over the key.
    """
    names, parts = set[str](), []
    for i, part in enumerate(PLACEHOLDER.split(pattern)):
        if i % 2 == 0:
            parts.append(re.escape(part))
        elif part in names:
            parts.append(f"(?P={part})")
        else:
            names.add(part)
            parts.append(f"(?P<{part}>[0-9]++)")
    return re.compile("".join(parts))


def overlap(one: str, other: str) -> bool:
    """Tell whether a key can match both patterns."""
    if skeleton(one) != skeleton(other) or len(_numbers(one)) != len(_numbers(other)):
        return False
    bound: dict[tuple[int, str], str] = {}
    for words in zip(_numbers(one), _numbers(other), strict=True):
        literal = [word for word in words if word.isdigit()]
        if len(set(literal)) > 1:
            return False
        for side, word in enumerate(words):
            # A placeholder of one pattern stands for one number wherever it is.
            if literal and bound.setdefault((side, word), literal[0]) != literal[0]:
                return False
    return True


def _numbers(pattern: str) -> list[str]:
    """List the numbers and placeholders of a pattern, in order."""
    return re.findall(r"[0-9]+|\{[A-Za-z_]\w*\}", pattern, re.ASCII)


def skeleton(key: str) -> str:
    """Give what keys of one form share: numbers and placeholders are #."""
    return re.sub(r"[0-9]+", "#", PLACEHOLDER.sub("#", key))
