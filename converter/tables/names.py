"""Other names for one side of a table: dialects of a source, targets. Data, read both ways.

A row pairs beginnings of names, [theirs, ours]; of those that match a key the longest counts, and
what follows it stays. A cell may be several parts of one tensor.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from ..checked import expected
from ..sides import Side
from .axes import Axes
from .name_rows import Beginnings, Move, NameRow, Part
from .patterns import Patterns, compile_pattern, fill

_REASONS = expected("key patterns, each with its reason", lambda why: all(why.values()))


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
        like: Another of the same section, whose rows are these as well, but for our tensors
            that the own rows speak of; and its entries, where it has some and this has not.
        instead: Beginning of rows' names -> what files have in its place; the first is the way
            back.
        ignore: Beginning of their keys -> why such tensors are left out.
        ignore_without_head: The same, of tensors that serve nothing but a head: they are left out
            where there is no head.
        other_head: Beginning of their keys -> what such a head stands on that our model has not:
            a file with one is refused, unless the head is to go.
        computed: Pattern of their keys that our model has not -> how they are computed.
        folds: Function of `functions.FOLDS` -> our tensors that it is about.
        models: Variant -> "package.module:function" that builds their own model of it.
        num_classes: The argument of these functions that is the size of the head; 0 for none.
        apart: Patterns of our layers that their model has not, or with other parts: what they give
            is not compared, their tensors are.
        kinds: Kind of a layer in the table -> the kind that it has there.
        leaves: What that means for each tensor: theirs, in a layer that is called as ours, and
            ours. Rows speak of what comes of them.
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
    other_head: Mapping[str, str] = field(default_factory=dict, metadata=_REASONS)
    computed: Mapping[str, Computed] = field(default_factory=dict)
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    num_classes: str = "num_classes"
    apart: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    leaves: tuple[NameRow, ...] = ()

    @property
    def section(self) -> str:
        """The part of a table that has it."""
        return "dialects" if self.side == "torch" else "targets"

    @property
    def option(self) -> str:
        """How it is asked for on the command line."""
        return f"--{'dialect' if self.side == 'torch' else 'target'} {self.name}"

    @cached_property
    def _beginnings(self) -> dict[bool, "Beginnings"]:
        """Rows by the patterns that their keys begin with, in either direction."""
        return {back: Beginnings(self.every_row, back) for back in (False, True)}

    @cached_property
    def _known(self) -> dict[tuple[str, bool], Move]:
        return {}

    def move(self, key: str, back: bool = False) -> Move:
        """Say what becomes of their key; or, on the way back, of our key."""
        if (key, back) not in self._known:
            self._known[key, back] = self._move_back(key) if back else self._move(key)
        return self._known[key, back]

    @cached_property
    def _tensors(self) -> dict[bool, "Beginnings"]:
        """The rows of single tensors, in either direction."""
        return {back: Beginnings(self.leaves, back) for back in (False, True)}

    def _move(self, key: str) -> Move:
        move = self._beginnings[False].move(key) or Move((key,), (key,))
        leaf = self._tensors[False].move(str(move.targets[0])) if move.renames else None
        return replace(leaf, sources=move.sources) if leaf else move

    def _move_back(self, key: str) -> Move:
        leaf = self._tensors[True].move(key)
        name = self._leaf(key)
        move = self._beginnings[True].move(name) or Move((name,), (name,))
        return replace(leaf, targets=move.targets) if leaf and move.renames else move

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
        """Name our tensors that one of theirs is, or is a part of."""
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
        """Give every one of their keys that our tensor is made of, or has a part in."""
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

    def other_head_of(self, key: str) -> str | None:
        """Say what the head that a key of theirs is of stands on; None if it is of no such head."""
        return _reason(key, self._other_heads)

    @cached_property
    def _other_heads(self) -> Patterns[str]:
        return self._reasons(self.other_head)

    @cached_property
    def _known_reasons(self) -> dict[tuple[str, bool], str | None]:
        return {}

    @cached_property
    def _ignored(self) -> tuple[Patterns[str], Patterns[str]]:
        reasons = {p: f"{how.function} of {how.of}" for p, how in self.computed.items()}
        always = self._reasons({**self.ignore, **reasons})
        return always, self._reasons(self.ignore_without_head)

    def _reasons(self, entries: Mapping[str, str]) -> Patterns[str]:
        """Make reasons that are found by the beginning of a key, however files spell it."""
        found = Patterns[str]()
        for pattern, why in entries.items():
            for spelled in self.spelled(pattern):
                found.add(spelled, why)
        return found

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

    def count_spellings(self, most: int) -> int:
        """Count the patterns of theirs in every spelling, or give a number above a limit."""
        at_most = math.prod(map(len, self.instead.values()))
        if at_most > most:
            return at_most
        count = 0
        patterns = (one.pattern for row in self.rows for one in row.theirs)
        for pattern in chain(patterns, self.ignore, self.ignore_without_head, self.computed):
            count += 1 if pattern is None else len(self.spelled(pattern))
            if count > most:
                break
        return count

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
            other_head={**other.other_head, **self.other_head},
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
            if not move.renames and self._leaf_axes(first) and not (move.row and move.row.axes):
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
