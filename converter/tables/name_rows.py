"""Rows of other names: which of them speaks of a key, and what it makes of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from .axes import Axes

_HOLE = re.compile(r"\{([A-Za-z_]\w*)([+-][0-9]{1,4})?\}", re.ASCII)
_DIGITS = re.compile(r"[0-9]+")
_WORD = re.compile(r"[0-9]+|\{[^}]*\}")
_NUMBER = "(0|[1-9][0-9]{0,8})"  # no leading zeros, which would not come back


@dataclass(frozen=True)
class Part:
    """A part of a cell.

    Attributes:
        pattern: Beginning of a key; None for zeros.
        share: How many of the equal shares of the whole it has.
    """

    pattern: str | None
    share: int = 1


@dataclass(frozen=True)
class NameRow:
    """One line of other names.

    Attributes:
        number: Counted from 1.
        theirs: One tensor, or the parts of it.
        ours: The same as our model has it.
        axes: How theirs lie in ours; as they are if None.
    """

    number: int
    theirs: tuple[Part, ...]
    ours: tuple[Part, ...]
    axes: Axes | None = None

    def cells(self, back: bool) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        """Give the cell that is read and the one that is made."""
        return (self.ours, self.theirs) if back else (self.theirs, self.ours)


@dataclass(frozen=True)
class Move:
    """What becomes of one tensor, or of the parts of one.

    Attributes:
        sources: Keys that are read, in order; None stands for zeros.
        targets: Keys that are made; None for a part that must be zero.
        row: What says so; None for a name that no row speaks of, which stays.
    """

    sources: tuple[str | None, ...]
    targets: tuple[str | None, ...]
    row: NameRow | None = None

    @property
    def renames(self) -> bool:
        """Whether it gives another name and nothing else."""
        row = self.row
        return row is None or (len(row.theirs), len(row.ours), row.axes) == (1, 1, None)


_Entry = tuple[int, re.Pattern[str], dict[str, int], NameRow]  # of `Beginnings`


class Beginnings:
    """Finds the row whose pattern is the longest beginning of a key."""

    def __init__(self, rows: Sequence[NameRow], back: bool) -> None:
        self.back, self.most = back, 0
        self.first = set[str]()  # words that any of them begins with
        # Skeleton -> which numbers are placeholders -> the other numbers -> rows, in their order.
        self.found: dict[str, dict[tuple[bool, ...], dict[tuple[str, ...], list[_Entry]]]] = {}
        for number, row in enumerate(rows):
            for one in row.cells(back)[0]:
                if one.pattern is not None:
                    self.most = max(self.most, one.pattern.count(".") + 1)
                    entry = (number, *_compiled(one.pattern), row)
                    words = _WORD.findall(one.pattern)
                    free = tuple(not word.isdigit() for word in words)
                    place = self.found.setdefault(form(one.pattern), {}).setdefault(free, {})
                    fixed = tuple(word for word in words if word.isdigit())
                    place.setdefault(fixed, []).append(entry)
                    self.first.add(form(one.pattern).partition(".")[0])

    def rows(self, key: str) -> Iterator[NameRow]:
        """Give the rows that speak of a key, the longest beginning first."""
        for row, _numbers, _rest in self._matches(key):
            yield row

    def move(self, key: str) -> Move | None:
        """Say what the row of the longest beginning makes of a key; None if there is no row."""
        return next(self.moves(key), None)

    def moves(self, key: str) -> Iterator[Move]:
        """Say what every row makes of a key, that of the longest beginning first."""
        for row, numbers, rest in self._matches(key):
            read, made = (
                tuple(_filled(one, numbers, rest) for one in cell) for cell in row.cells(self.back)
            )
            yield Move(read, made, row)

    def _matches(self, key: str) -> Iterator[tuple[NameRow, dict[str, int], str]]:
        # A file may have a million names, of which no row speaks.
        if form(key.partition(".")[0]) not in self.first:
            return
        words = key.split(".", self.most)
        for count in range(min(self.most, len(words)), 0, -1):
            beginning = ".".join(words[:count])
            for _number, pattern, offsets, row in self._like(beginning):
                numbers = _numbers(pattern.fullmatch(beginning), offsets)
                if numbers is not None and _fits(row, numbers):
                    yield row, numbers, key[len(beginning) :]

    def _like(self, beginning: str) -> "list[_Entry]":
        """Give the rows that it may match, in their order, without a look at every one."""
        places = self.found.get(form(beginning))
        if not places:
            return []
        numbers, found = _DIGITS.findall(beginning), list[_Entry]()
        for free, place in places.items():
            fixed = (word for word, is_free in zip(numbers, free, strict=False) if not is_free)
            found += place.get(tuple(fixed), ())
        return sorted(found, key=itemgetter(0))


def _compiled(pattern: str) -> tuple[re.Pattern[str], dict[str, int]]:
    """Give the expression that a beginning matches, and what is added to each of its numbers."""
    parts, at, offsets, number = list[str](), 0, dict[str, int](), 0
    for hole in _HOLE.finditer(pattern):
        group = f"{hole[1]}__{number}"
        parts += [re.escape(pattern[at : hole.start()]), _NUMBER.replace("(", f"(?P<{group}>", 1)]
        offsets[group] = int(hole[2] or 0)
        at, number = hole.end(), number + 1
    return re.compile("".join([*parts, re.escape(pattern[at:])])), offsets


def _numbers(match: re.Match[str] | None, offsets: Mapping[str, int]) -> dict[str, int] | None:
    """Read the numbers of a key; None if it does not match, or one stands for two numbers."""
    if match is None:
        return None
    found: dict[str, int] = {}
    for group, text in match.groupdict().items():
        name, number = group.rpartition("__")[0], int(text) - offsets[group]
        if number < 0 or found.setdefault(name, number) != number:
            return None
    return found


def _fits(row: NameRow, numbers: Mapping[str, int]) -> bool:
    """Tell whether all names of a row can be spelled: no number in one is below 0."""
    holes = (hole for one in (*row.theirs, *row.ours) for hole in _HOLE.finditer(one.pattern or ""))
    return all(numbers[hole[1]] + int(hole[2] or 0) >= 0 for hole in holes)


def _filled(one: Part, numbers: Mapping[str, int], rest: str) -> str | None:
    if one.pattern is None:
        return None
    return _HOLE.sub(lambda hole: str(numbers[hole[1]] + int(hole[2] or 0)), one.pattern) + rest


def form(text: str) -> str:
    """Give what names of one form share: numbers and placeholders are #."""
    return _DIGITS.sub("#", _HOLE.sub("#", text) if "{" in text else text)


def holes(pattern: str) -> set[str]:
    """Name the placeholders of a pattern, without what is added to them."""
    return {hole[1] for hole in _HOLE.finditer(pattern)}


def is_pattern(pattern: str) -> bool:
    """Tell whether braces stand around placeholders alone, such as {i} or {s+1}."""
    return bool(pattern) and not set("{}") & set(_HOLE.sub("", pattern))


def bind(pattern: str, beginning: str) -> str:
    """Put the numbers of a beginning, of the same form, in the place of placeholders."""
    pairs = zip(_WORD.findall(pattern), _WORD.findall(beginning), strict=False)
    known = {own: word for own, word in pairs if not own.isdigit() and word.isdigit()}
    return _HOLE.sub(lambda hole: known.get(hole[0], hole[0]), pattern)
