"""What other names do to shapes, and to tensors: parts joined, divided, their axes turned."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from ..checkpoints import Tensor, held
from ..checkpoints.arranging import joined, part, zeros
from .axes import Axes
from .functions import COMPUTED, FOLDS, ClassPosition
from .name_rows import Move, Part
from .names import Names
from .variant import ShapePattern

Thing = TypeVar("Thing")
Axis = Callable[[str], int]  # our key -> the axis along which its parts lie


def their_shapes(
    names: Names, ours: Mapping[str, ShapePattern], sizes: Mapping[str, int], axis: Axis
) -> dict[str, ShapePattern]:
    """Give their keys and shapes of a model whose own are known.

    Args:
        names: Theirs.
        ours: Key -> shape; an axis may be "num_classes".
        sizes: Lengths that axes may name.
        axis: Where parts lie: the axis that comes first in PyTorch.

    Raises:
        ValueError: A part is missing, has another length, or two become one.
    """
    folded = _folded(names, ours)
    return _moved(names.moves(folded, back=True), folded, _OfShapes(sizes, axis, back=True))


def check_shapes(
    names: Names,
    moves: Sequence[Move],
    ours: Mapping[str, ShapePattern],
    sizes: Mapping[str, int],
    axis: Axis,
) -> None:
    """Find out whether `their_shapes` has an answer; of alike tensors one is looked at.

    Args:
        names: Theirs.
        moves: What becomes of our tensors, but for those that only get another name.
        ours: As for `their_shapes`, and so are the others.
        sizes: Lengths that axes may name.
        axis: Where parts lie.

    Raises:
        ValueError: As of `their_shapes`.
    """
    folded = _folded(names, ours)
    of, seen = _OfShapes(sizes, axis, back=True), set[object]()
    for move in moves:
        alike = move.row, *(folded.get(str(key)) for key in move.sources)
        if alike not in seen:
            seen.add(alike)
            try:
                list(_made(move, folded, of))
            except ValueError as error:
                number = move.row.number if move.row else 0
                raise ValueError(f"row {number}: {error}" if number else str(error)) from error


def our_tensors(
    names: Names,
    theirs: Mapping[str, Tensor],
    expected: Mapping[str, ShapePattern],
    sizes: Mapping[str, int],
    axis: Axis,
) -> dict[str, Tensor]:
    """Give tensors under our names, as views of theirs.

    Args:
        names: Theirs.
        theirs: Key -> tensor; none that is left out.
        expected: Our key -> shape, as far as that is known.
        sizes: Lengths that axes may name.
        axis: Where parts lie: the axis that comes first in PyTorch.

    Raises:
        ValueError: As of `their_shapes`; or a part that must be zero is not.
    """
    made = _moved(names.moves(theirs), theirs, _OfTensors(sizes, axis, back=False))
    for fold in _folds(names):
        made = fold.ours(made, expected)
    return made


def check_computed(names: Names, theirs: Mapping[str, Tensor]) -> None:
    """Compare what a file stores with what our model computes in its place.

    Raises:
        ValueError: It has other values.
    """
    for key, function, source in names.computed_for(theirs):
        if key in theirs:
            found, wanted = theirs[key].read(), COMPUTED[function](theirs[source].shape)
            if found.shape != wanted.shape or not np.array_equal(found, wanted):
                raise ValueError(f"{key}: has other values than {function} of {source}")


def their_tensors(
    names: Names, ours: Mapping[str, Tensor], sizes: Mapping[str, int], axis: Axis
) -> dict[str, Tensor]:
    """Give tensors under their names, as views, and what their model stores besides.

    Raises:
        ValueError: As of `our_tensors`.
    """
    folded = dict(ours)
    for fold in _folds(names):
        folded = fold.theirs(folded)
    made = _moved(names.moves(folded, back=True), folded, _OfTensors(sizes, axis, back=True))
    computed = list(names.computed_for(made))
    return made | {key: held(COMPUTED[name](made[of].shape)) for key, name, of in computed}


def _folded(names: Names, ours: Mapping[str, ShapePattern]) -> dict[str, ShapePattern]:
    """Give the shapes of a model as their folds divide it, under our names."""
    shapes = dict(ours)
    for fold in _folds(names):
        shapes = fold.their_shapes(shapes)
    return shapes


def _folds(names: Names) -> list[ClassPosition]:
    return [FOLDS[name](*tensors) for name, tensors in names.folds.items()]


class _Of(Generic[Thing]):
    """How parts are joined and divided.

    Attributes:
        sizes: Lengths that axes may name.
        axis: Our key -> the axis along which its parts lie.
        back: Whether ours become theirs.
    """

    def __init__(self, sizes: Mapping[str, int], axis: Callable[[str], int], back: bool) -> None:
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

    def check_alike(self, things: Mapping[str, Thing]) -> None:
        """Refuse parts that cannot be joined, where it can be seen."""

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

    def divided(self, whole: ShapePattern, axis: int, lengths: Sequence[int]) -> list[ShapePattern]:
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

    def check_alike(self, things: Mapping[str, Tensor]) -> None:
        if len({one.dtype for one in things.values()}) > 1:
            shown = ", ".join(f"{key} {one.dtype}" for key, one in things.items())
            raise ValueError(f"parts of different dtypes, {shown}: cast them to one first")

    def divided(self, whole: Tensor, axis: int, lengths: Sequence[int]) -> list[Tensor]:
        starts = (sum(lengths[:i]) for i in range(len(lengths)))
        pairs = zip(starts, lengths, strict=True)
        return [part(whole, axis, start, length) for start, length in pairs]

    def check_zero(self, thing: Tensor, key: str) -> None:
        for _at, piece in thing.pieces():
            if piece.read().any():
                raise ValueError(f"{key}: a part of it must be zero, and is not")


def _moved(moves: Sequence[Move], things: Mapping[str, Thing], of: _Of[Thing]) -> dict[str, Thing]:
    """Do what moves say.

    Raises:
        ValueError: A part is missing, has another length, or two become one.
    """
    made: dict[str, Thing] = {}
    origins: dict[str, str] = {}
    for move in moves:
        first = next(key for key in move.sources if key is not None)
        for key, thing in _made(move, things, of):
            if key in made:
                raise ValueError(
                    f"{first} and {origins[key]} would both become {key}; expected one of them"
                )
            made[key], origins[key] = thing, first
    return made


def _made(move: Move, things: Mapping[str, Thing], of: _Of[Thing]) -> Iterator[tuple[str, Thing]]:
    """Give what one move makes."""
    if move.row is None:
        yield str(move.targets[0]), things[str(move.sources[0])]
        return
    own, other = move.row.cells(of.back)
    keys = [key for key in move.sources if key is not None]
    if lacking := [key for key in keys if key not in things]:
        raise ValueError(f"{lacking[0]}: missing; it is joined with {keys[0]}")
    read = {key: things[key] for key in keys}
    turn = move.row.axes
    if turn is not None and not of.back:
        read = {key: _turned(key, thing, turn, of) for key, thing in read.items()}
    made: list[Thing] = list(read.values())
    if len(own) > 1 or len(other) > 1:
        ours = move.sources if of.back else move.targets
        axis = of.axis(next(key for key in ours if key is not None))
        unit = _unit(read, move, own, axis, of)
        of.check_alike(read)
        pieces = [
            one.share * unit if k is None else read[k]
            for k, one in zip(move.sources, own, strict=True)
        ]
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
    around = set[object]()
    for key, one in zip(move.sources, own, strict=True):
        if key is None:
            continue
        shape = of.shape(read[key])
        length = shape[axis] if axis < len(shape) else None
        if not isinstance(length, int) or length % one.share:
            raise ValueError(f"{key} {list(shape)}: cannot be a part along axis {axis}")
        units[key] = length // one.share
        around.add((*shape[:axis], *shape[axis + 1 :]))
    if len(around) > 1:
        shown = " and ".join(f"{key} {list(of.shape(read[key]))}" for key in units)
        raise ValueError(f"{shown}: expected parts of one tensor, joined along axis {axis}")
    if len(set(units.values())) > 1:
        shown = ", ".join(f"{key} {unit}" for key, unit in units.items())
        raise ValueError(
            f'parts of different length, {shown}: give each its share, such as ["kv", 2]'
        )
    return next(iter(units.values()))
