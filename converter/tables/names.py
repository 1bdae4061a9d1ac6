"""Other names for one side of a table: dialects of a source, targets. Data, read both ways.

A row pairs beginnings of names, [theirs, ours]; of those that match a key the longest counts, and
what follows it stays. A cell may be several parts of one tensor.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from ..checkpoints import Checkpoint, Tensor
from ..checkpoints.arranging import joined, part, zeros
from ..checked import expected
from ..errors import CheckpointError, ConversionError
from ..sides import Side
from .axes import Axes
from .patterns import Patterns
from .variant import Shape, ShapePattern

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


@dataclass(frozen=True)
class Names:
    """Other names for all tensors of one side.

    Attributes:
        name: For example "huggingface".
        side: Whose names they are others of.
        rows: Beginnings of names, theirs and ours.
        title: Name for people.
        source: Whose names they are, and where they were found.
        ignore: Pattern of their keys -> why such a tensor is left out.
        computed: Pattern of their keys -> what they store and our model computes: a function of
            `tables.computed`, and of which of our tensors it is computed.
        models: Variant -> the function that builds their model; empty where there is none.
        kinds: Kind of a row -> kind that takes its place in their model.
    """

    name: str
    side: Side
    rows: tuple[NameRow, ...] = ()
    title: str = ""
    source: str = ""
    ignore: Mapping[str, str] = field(default_factory=dict, metadata=_REASONS)

    @property
    def option(self) -> str:
        """How it is asked for on the command line."""
        return f"--{'dialect' if self.side == 'torch' else 'target'} {self.name}"

    # -- names

    @cached_property
    def _beginnings(self) -> dict[bool, "_Beginnings"]:
        """Rows by the patterns that their keys begin with, in either direction."""
        return {back: _Beginnings(self.rows, back) for back in (False, True)}

    @cached_property
    def _known(self) -> dict[tuple[str, bool], Move]:
        return {}

    def move(self, key: str, back: bool = False) -> Move:
        """Say what becomes of a key of theirs; or, on the way back, of one of ours."""
        if (key, back) not in self._known:
            self._known[key, back] = self._beginnings[back].move(key) or Move((key,), (key,))
        return self._known[key, back]

    def moves(self, keys: Iterable[str], back: bool = False) -> list[Move]:
        """Say what becomes of many keys, in their order."""
        return list(dict.fromkeys(self.move(key, back) for key in keys))

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

    def spellings(self, key: str) -> list[str]:
        """Give every key of theirs that one of ours is made of, or has a part in."""
        moves = list(self._beginnings[True].moves(key)) or [Move((key,), (key,))]
        return [name for move in moves for name in move.targets if name is not None]

    def left_out(self, key: str) -> str | None:
        """Give the reason why a key of theirs has no counterpart; None if it has."""
        return next((why for p, why in self._ignored.like(key) if p.fullmatch(key)), None)

    @cached_property
    def _ignored(self) -> Patterns[str]:
        found: Patterns[str] = Patterns()
        for pattern, why in self.ignore.items():
            found.add(pattern, why)
        return found

    # -- tensors and shapes

    def shapes(
        self,
        ours: Mapping[str, ShapePattern],
        sizes: Mapping[str, int],
        axis: Callable[[str], int],
    ) -> dict[str, ShapePattern]:
        """Give their keys and shapes of a model whose own are known.

        Args:
            ours: Key -> shape; an axis may be "num_classes".
            sizes: Lengths that axes may name.
            axis: Key of ours -> the axis that comes first in PyTorch.

        Raises:
            ValueError: A part is missing, has another length, or two become one.
        """
        return _moved(self.moves(ours, back=True), ours, _OfShapes(sizes, axis, back=True))

    def to_ours(
        self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int], axis: Callable[[str], int]
    ) -> dict[str, Tensor]:
        """Give tensors under our names, as views of theirs.

        Raises:
            ValueError: As of `shapes`; or a part that must be zero is not.
        """
        return _moved(self.moves(tensors), tensors, _OfTensors(sizes, axis, back=False))

    def to_theirs(
        self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int], axis: Callable[[str], int]
    ) -> dict[str, Tensor]:
        """Give tensors under their names, as views of ours.

        Raises:
            ValueError: As of `to_ours`.
        """
        return _moved(self.moves(tensors, back=True), tensors, _OfTensors(sizes, axis, back=True))

    # -- checks

    def problems(self, keys: Iterable[str]) -> Iterator[str]:
        """Say where the names of a model do not come back as they were, or two become one."""
        made: dict[str, str] = {}
        there = set(keys)
        for move in self.moves(there, back=True):
            first = next(key for key in move.sources if key is not None)
            if lacking := [key for key in move.sources if key is not None and key not in there]:
                yield f"{_row(move)}{first} is there without {', '.join(lacking)}."
                continue
            for key in move.targets:
                if key is None:
                    continue
                if key in made:
                    yield f"{_row(move)}{first} and {made[key]} both become {key}."
                elif (back := self.move(key)).targets != move.sources:
                    names = " and ".join(str(one) for one in back.targets)
                    yield f"{_row(move)}{first} becomes {key}, which becomes {names}."
                elif self.left_out(key) is not None:
                    yield f"{_row(move)}{first} becomes {key}, which ignore leaves out."
                made[key] = first

    def idle(self, keys: Iterable[str]) -> Iterator[str]:
        """Say which rows speak of no tensor of any model."""
        busy = {row.number for key in keys for row in self._beginnings[True].rows(key)}
        for row in self.rows:
            if row.number not in busy:
                names = ", ".join(str(one.pattern) for one in row.ours)
                yield f"row {row.number}: no tensor's name begins with {names}."


def _row(move: Move) -> str:
    return f"row {move.row.number}: " if move.row else ""


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
    holes = (
        hole for one in (*row.theirs, *row.ours) for hole in _HOLE.finditer(one.pattern or "")
    )
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


# -- one way to do it with shapes, and one with tensors


class _Of(Generic[Thing]):
    """How parts are joined and divided.

    Attributes:
        sizes: Lengths that axes may name.
        axis: Key of ours -> the axis along which its parts lie.
        back: Whether ours become theirs.
    """

    def __init__(
        self, sizes: Mapping[str, int], axis: Callable[[str], int], back: bool
    ) -> None:
        self.sizes, self.axis, self.back = sizes, axis, back

    def shape(self, thing: Thing) -> ShapePattern:
        raise NotImplementedError

    def turned(self, thing: Thing, axes: Axes) -> Thing:
        raise NotImplementedError

    def joined(self, things: Sequence[Thing | int], axis: int) -> Thing:
        """Join parts; a number is the length of zeros."""
        raise NotImplementedError

    def divided(self, whole: Thing, axis: int, lengths: Sequence[int]) -> list[Thing]:
        raise NotImplementedError

    def check_zero(self, thing: Thing, key: str) -> None:
        """Refuse what is not zero, where it can be seen."""


class _OfShapes(_Of[ShapePattern]):
    def shape(self, thing: ShapePattern) -> ShapePattern:
        return thing

    def turned(self, thing: ShapePattern, axes: Axes) -> ShapePattern:
        return axes.shape(thing, self.sizes)

    def joined(self, things: Sequence[ShapePattern | int], axis: int) -> ShapePattern:
        first = next(thing for thing in things if not isinstance(thing, int))
        lengths = (one if isinstance(one, int) else one[axis] for one in things)
        total = sum(n for n in lengths if isinstance(n, int))
        return (*first[:axis], total, *first[axis + 1 :])

    def divided(
        self, whole: ShapePattern, axis: int, lengths: Sequence[int]
    ) -> list[ShapePattern]:
        return [(*whole[:axis], length, *whole[axis + 1 :]) for length in lengths]


class _OfTensors(_Of[Tensor]):
    def shape(self, thing: Tensor) -> ShapePattern:
        return thing.shape

    def turned(self, thing: Tensor, axes: Axes) -> Tensor:
        return axes.apply(thing, self.sizes)

    def joined(self, things: Sequence[Tensor | int], axis: int) -> Tensor:
        first = next(thing for thing in things if not isinstance(thing, int))
        around = first.shape[:axis], first.shape[axis + 1 :]
        made = [
            zeros((*around[0], one, *around[1]), first.dtype) if isinstance(one, int) else one
            for one in things
        ]
        return joined(made, axis)

    def divided(self, whole: Tensor, axis: int, lengths: Sequence[int]) -> list[Tensor]:
        starts = (sum(lengths[:i]) for i in range(len(lengths)))
        pairs = zip(starts, lengths, strict=True)
        return [part(whole, axis, start, length) for start, length in pairs]

    def check_zero(self, thing: Tensor, key: str) -> None:
        for _at, piece in thing.pieces():
            if piece.read().any():
                raise ValueError(f"{key}: a part of it must be zero, and is not")


def _moved(
    moves: Sequence[Move], things: Mapping[str, Thing], of: _Of[Thing]
) -> dict[str, Thing]:
    """Do what moves say.

    Raises:
        ValueError: A part is missing, has another length, or two become one.
    """
    made: dict[str, Thing] = {}
    for move in moves:
        for key, thing in _made(move, things, of):
            if key in made:
                raise ValueError(f"{key}: two tensors would become this one")
            made[key] = thing
    return made


def _made(
    move: Move, things: Mapping[str, Thing], of: _Of[Thing]
) -> Iterator[tuple[str, Thing]]:
    """Give what one move makes."""
    if move.row is None:
        yield str(move.targets[0]), things[str(move.sources[0])]
        return
    own, other = move.row.cells(of.back)
    keys = [key for key in move.sources if key is not None]
    if lacking := [key for key in keys if key not in things]:
        raise ValueError(f"{lacking[0]}: missing; it is joined with {keys[0]}")
    read = {key: things[key] for key in keys}
    turn = None if move.row.axes is None else move.row.axes
    if turn is not None and not of.back:
        read = {key: _turned(key, thing, turn, of) for key, thing in read.items()}
    made: list[Thing] = list(read.values())
    if len(own) > 1 or len(other) > 1:
        ours = move.sources if of.back else move.targets
        axis = of.axis(next(key for key in ours if key is not None))
        unit = _unit(read, move, own, axis, of)
        pieces = [one.share * unit if k is None else read[k] for k, one in zip(move.sources, own, strict=True)]
        whole = of.joined(pieces, axis) if len(pieces) > 1 else made[0]
        total, shares = unit * sum(one.share for one in own), sum(one.share for one in other)
        if total % shares:
            raise ValueError(f"{keys[0]}: {total} does not divide into {shares} equal shares")
        lengths = [total // shares * one.share for one in other]
        made = of.divided(whole, axis, lengths) if len(lengths) > 1 else [whole]
    for key, thing in zip(move.targets, made, strict=True):
        if key is None:
            of.check_zero(thing, keys[0])
            continue
        yield key, thing if turn is None or not of.back else _turned(key, thing, turn.back(), of)


def _turned(key: str, thing: Thing, axes: Axes, of: _Of[Thing]) -> Thing:
    try:
        return of.turned(thing, axes)
    except ValueError as error:
        raise ValueError(f"{key} {list(of.shape(thing))}: {error}") from error


def _unit(
    read: Mapping[str, Thing], move: Move, own: Sequence[Part], axis: int, of: _Of[Thing]
) -> int:
    """Give the length of one share, of parts that agree in it and in all other axes."""
    units: dict[str, int] = {}
    around = None
    for key, one in zip(move.sources, own, strict=True):
        if key is None:
            continue
        shape = of.shape(read[key])
        length = shape[axis] if axis < len(shape) else None
        if not isinstance(length, int) or length % one.share:
            raise ValueError(f"{key} {list(shape)}: cannot be a part along axis {axis}")
        units[key] = length // one.share
        rest = (*shape[:axis], *shape[axis + 1 :])
        if around not in (None, rest):
            raise ValueError(f"{key} {list(shape)}: does not fit the parts beside it")
        around = rest
    if len(set(units.values())) > 1:
        shown = ", ".join(f"{key} {unit}" for key, unit in units.items())
        raise ValueError(
            f"parts of different length, {shown}: give each its share, such as [\"kv\", 2]"
        )
    return next(iter(units.values()))
