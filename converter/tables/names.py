"""Other names for one side of a table: dialects of a source, targets. Data, read both ways.

A row pairs beginnings of names, [theirs, ours]; of those that match a key the longest counts, and
what follows it stays. A cell may be several parts of one tensor.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from ..checked import expected
from ..sides import Side
from .axes import Axes
from .patterns import Patterns, compile_pattern, fill

_HOLE = re.compile(r"\{([A-Za-z_]\w*)([+-][0-9]{1,4})?\}", re.ASCII)
_NUMBER = "(0|[1-9][0-9]{0,8})"  # no leading zeros, which would not come back
_REASONS = expected("key patterns, each with its reason", lambda why: all(why.values()))

Thing = TypeVar("Thing")


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


@dataclass(frozen=True)
class Computed:
    """What their model stores and ours works out.

    Attributes:
        function: Of `functions.COMPUTED`.
        of: Pattern of their tensor whose shape it takes.
    """

    function: str
    of: str


@dataclass(frozen=True)
class Names:
    """Other names for all tensors of one side.

    Attributes:
        name: For example "huggingface".
        side: Whose names they are others of.
        rows: Beginnings of names, theirs and ours.
        title: Name for people.
        source: Whose names they are, and where they were found.
        like: Another of the same section, whose rows are these as well, but for tensors of ours
            that the own rows speak of; and its entries, where it has some and this has not.
        instead: Beginning of rows' names -> what files have in its place; the first is the way
            back.
        ignore: Beginning of their keys -> why such tensors are left out.
        ignore_without_head: The same, of tensors that serve nothing but a head: they are left out
            where there is no head.
        computed: Pattern of their keys that our model has not -> how they are computed.
        folds: Function of `functions.FOLDS` -> our tensors that it is about.
        kinds: Kind of a layer in the table -> the kind that it has there.
        leaves: What that means for each tensor: theirs, in a layer that is called as ours, and
            ours. Rows speak of what comes of them.
        models: Variant -> "package.module:function" that builds their own model of it.
        num_classes: The argument of these functions that is the size of the head; 0 for none.
        apart: Patterns of our layers that their model has not, or with other parts: what they give
            is not compared, their tensors are.
    """

    name: str
    side: Side
    rows: tuple[NameRow, ...] = ()
    title: str = ""
    source: str = ""
    like: str = ""
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignore: Mapping[str, str] = field(default_factory=dict, metadata=_REASONS)
    ignore_without_head: Mapping[str, str] = field(default_factory=dict, metadata=_REASONS)
    computed: Mapping[str, Computed] = field(default_factory=dict)
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    leaves: tuple[NameRow, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    num_classes: str = "num_classes"
    apart: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """The part of a table that has it."""
        return "dialects" if self.side == "torch" else "targets"

    @property
    def option(self) -> str:
        """How it is asked for on the command line."""
        return f"--{'dialect' if self.side == 'torch' else 'target'} {self.name}"

    @cached_property
    def _beginnings(self) -> dict[bool, "_Beginnings"]:
        """Rows by the patterns that their keys begin with, in either direction."""
        return {back: _Beginnings(self.every_row, back) for back in (False, True)}

    @cached_property
    def _known(self) -> dict[tuple[str, bool], Move]:
        return {}

    def move(self, key: str, back: bool = False) -> Move:
        """Say what becomes of a key of theirs; or, on the way back, of one of ours."""
        if (key, back) not in self._known:
            self._known[key, back] = self._move_back(key) if back else self._move(key)
        return self._known[key, back]

    @cached_property
    def _tensors(self) -> dict[bool, "_Beginnings"]:
        """The rows of single tensors, in either direction."""
        return {back: _Beginnings(self.leaves, back) for back in (False, True)}

    def _move(self, key: str) -> Move:
        move = self._beginnings[False].move(key) or Move((key,), (key,))
        leaf = self._tensors[False].move(str(move.targets[0])) if _plain(move) else None
        return replace(leaf, sources=move.sources) if leaf else move

    def _move_back(self, key: str) -> Move:
        leaf = self._tensors[True].move(key)
        name = self._leaf(key)
        move = self._beginnings[True].move(name) or Move((name,), (name,))
        return replace(leaf, targets=move.targets) if leaf and _plain(move) else move

    def _leaf(self, key: str) -> str:
        """Name one of our tensors as the kind of their layer does."""
        leaf = self._tensors[True].move(key)
        return str(leaf.targets[0]) if leaf else key

    def moves(self, keys: Iterable[str], back: bool = False) -> list[Move]:
        """Say what becomes of many keys, in their order."""
        return list(
            {move.sources: move for move in (self.move(key, back) for key in keys)}.values()
        )

    def ours(self, key: str) -> tuple[str, ...]:
        """Name the tensors of ours that one of theirs is, or is a part of."""
        return tuple(name for name in self.move(key).targets if name is not None)

    def usual(self, key: str) -> str:
        """Spell a key of theirs as the way back would: some have several spellings."""
        move = self.move(key)
        if move.row is None or (first := next(iter(self.ours(key)), None)) is None:
            return key
        back = self.move(first, back=True)
        at = move.sources.index(key)
        own = back.targets[at] if len(back.targets) == len(move.sources) else None
        return own or key

    def _leaf_axes(self, key: str) -> Axes | None:
        """Give how the kind of their layer lays out one of our tensors, if otherwise."""
        leaf = self._tensors[True].move(key)
        return leaf.row.axes if leaf and leaf.row else None

    def spellings(self, key: str) -> list[str]:
        """Give every key of theirs that one of ours is made of, or has a part in."""
        name = self._leaf(key)
        moves = list(self._beginnings[True].moves(name)) or [Move((name,), (name,))]
        return [name for move in moves for name in move.targets if name is not None]

    def left_out(self, key: str, has_head: bool = True) -> str | None:
        """Give the reason why a key of theirs has no counterpart; None if it has.

        Args:
            key: Theirs.
            has_head: Whether the head is among the tensors.
        """
        known = self._known_reasons
        if (key, has_head) not in known:
            given = self._ignored if not has_head else self._ignored[:1]
            known[key, has_head] = next((why for one in given if (why := _reason(key, one))), None)
        return known[key, has_head]

    @cached_property
    def _known_reasons(self) -> dict[tuple[str, bool], str | None]:
        return {}

    @cached_property
    def _ignored(self) -> tuple[Patterns[str], Patterns[str]]:
        always, headless = Patterns[str](), Patterns[str]()
        reasons = {p: f"{how.function} of {how.of}" for p, how in self.computed.items()}
        given = ((always, {**self.ignore, **reasons}), (headless, self.ignore_without_head))
        for found, entries in given:
            for pattern, why in entries.items():
                for spelled in self.spelled(pattern):
                    found.add(spelled, why)
        return always, headless

    def spelled(self, pattern: str) -> list[str]:
        """Give what files have for a pattern of theirs; the first is the way back."""
        found = [pattern]
        for beginning, others in self.instead.items():
            found = [
                other + one.removeprefix(beginning) if one.startswith(beginning) else one
                for one in found
                for other in (others if one.startswith(beginning) else [""])
            ]
        return found

    @cached_property
    def every_row(self) -> tuple[NameRow, ...]:
        """The rows in every spelling; those of the way back come first."""
        found = [list(self._respelled(row)) for row in self.rows]
        return (*(one[0] for one in found), *(row for one in found for row in one[1:]))

    def _respelled(self, row: NameRow) -> Iterator[NameRow]:
        cells = [None if p.pattern is None else self.spelled(p.pattern) for p in row.theirs]
        for at in range(min((len(cell) for cell in cells if cell), default=1)):
            own = (None if cell is None else cell[at] for cell in cells)
            parts = zip(own, (one.share for one in row.theirs), strict=True)
            yield replace(row, theirs=tuple(Part(*part) for part in parts))

    def following(self, other: "Names") -> "Names":
        """Give these with what they have of another."""
        own = {part.pattern for row in self.rows for part in row.ours}
        more = (row for row in other.rows if not own & {part.pattern for part in row.ours})
        return replace(
            self,
            rows=(*self.rows, *more),
            instead={**other.instead, **self.instead},
            ignore={**other.ignore, **self.ignore},
            ignore_without_head={**other.ignore_without_head, **self.ignore_without_head},
            computed={**other.computed, **self.computed},
            folds={**other.folds, **self.folds},
        )

    def computed_for(self, keys: Iterable[str]) -> Iterator[tuple[str, str, str]]:
        """Give what is computed of some of their keys: its own key, the function, that key."""
        for pattern, how in self.computed.items():
            for key in keys:
                if match := compile_pattern(how.of).fullmatch(key):
                    yield fill(pattern, match.groupdict()), how.function, key

    def problems(self, keys: Iterable[str]) -> Iterator[str]:
        """Say where the names of a model do not come back as they were, or two become one."""
        made: dict[str, str] = {}
        there = dict.fromkeys(keys)
        for move in self.moves(there, back=True):
            first = next(key for key in move.sources if key is not None)
            if lacking := [key for key in move.sources if key is not None and key not in there]:
                yield f"{_row(move)}{first} is there without {', '.join(lacking)}."
                continue
            if not _plain(move) and self._leaf_axes(first) and not (move.row and move.row.axes):
                yield f"{_row(move)}{first}: expected axes here, since kinds lays it out otherwise."
            for key in move.targets:
                if key is None:
                    continue
                if key in made:
                    yield f"{_row(move)}{first} and {made[key]} both become {key}."
                elif told := self._astray(key, move):
                    yield f"{_row(move)}{first} becomes {key}, {told}."
                made[key] = first

    def _astray(self, key: str, move: Move) -> str:
        """Say what becomes of a key of theirs, if that is not what it was made of."""
        if (key, move.sources) not in self._known_ways:
            told, back = "", self.move(key).targets
            if back != move.sources:
                told = f"which becomes {' and '.join(map(str, back))}"
            elif self.left_out(key) is not None:
                told = "which ignore leaves out"
            self._known_ways[key, move.sources] = told
        return self._known_ways[key, move.sources]

    @cached_property
    def _known_ways(self) -> dict[tuple[str, tuple[str | None, ...]], str]:
        return {}

    def idle(self, keys: Iterable[str]) -> Iterator[str]:
        """Say which rows speak of no tensor of any model."""
        every = self._beginnings[True]
        busy = {row.ours for key in keys for row in every.rows(self._leaf(key))}
        for row in self.rows:
            if row.ours not in busy:
                names = ", ".join(str(one.pattern) for one in row.ours)
                yield f"row {row.number}: no tensor's name begins with {names}."


def _reason(key: str, ignored: Patterns[str]) -> str | None:
    """Give the reason of a pattern that matches the beginning of a key, up to a dot or the end."""
    beginning = key if ignored.count else ""
    while beginning:
        for pattern, why in ignored.like(beginning):
            if pattern.fullmatch(beginning):
                return why
        beginning = beginning.rpartition(".")[0]
    return None


def _row(move: Move) -> str:
    return f"row {move.row.number}: " if move.row and move.row.number else ""


def _plain(move: Move) -> bool:
    """Tell whether a tensor gets another name and nothing else."""
    return len(move.sources) == len(move.targets) == 1 and not (move.row and move.row.axes)


class _Beginnings:
    """Finds the row whose pattern is the longest beginning of a key."""

    def __init__(self, rows: Sequence[NameRow], back: bool) -> None:
        self.back, self.most = back, 0
        self.found: dict[str, list[tuple[re.Pattern[str], dict[str, int], NameRow]]] = {}
        for row in rows:
            for one in row.cells(back)[0]:
                if one.pattern is not None:
                    self.most = max(self.most, one.pattern.count(".") + 1)
                    entry = (*_compiled(one.pattern), row)
                    self.found.setdefault(_skeleton(one.pattern), []).append(entry)

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
        words = key.split(".", self.most)
        for count in range(min(self.most, len(words)), 0, -1):
            beginning = ".".join(words[:count])
            for pattern, offsets, row in self.found.get(_skeleton(beginning), ()):
                numbers = _numbers(pattern.fullmatch(beginning), offsets)
                if numbers is not None and _fits(row, numbers):
                    yield row, numbers, key[len(beginning) :]


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


def _skeleton(text: str) -> str:
    return re.sub(r"[0-9]+", "#", _HOLE.sub("#", text))


def holes(pattern: str) -> set[str]:
    """Name the placeholders of a pattern, without what is added to them."""
    return {hole[1] for hole in _HOLE.finditer(pattern)}


def is_pattern(pattern: str) -> bool:
    """Tell whether braces stand around placeholders alone, such as {i} or {s+1}."""
    return bool(pattern) and not set("{}") & set(_HOLE.sub("", pattern))
