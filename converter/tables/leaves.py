"""A target whose layers are of other kinds than ours: other leaf names, other layouts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..errors import nearest
from .axes import Axes
from .kinds import Kind, TensorRule
from .name_rows import NameRow, Part
from .names import Names
from .patterns import join
from .table import Row


def with_leaves(
    names: Names, rows: Iterable[Row], kinds: Mapping[str, Kind], problems: list[str]
) -> Names:
    """Let other names know what the kinds of their layers mean for each tensor.

    Args:
        names: Their `kinds` says which kinds are others there.
        rows: Of the table.
        kinds: By name.
        problems: Gets whatever is wrong.
    """
    where = f"{names.section}.{names.name}: kinds: "
    for name in {**names.kinds, **dict.fromkeys(names.kinds.values())}:
        if name not in kinds:
            problems.append(f"{where}no kind is called {name!r}.{nearest(name, kinds)}")
    others = {name: kinds[other] for name, other in names.kinds.items() if other in kinds}
    made = list[NameRow]()
    for row in rows:
        if other := others.get(row.kind.name):
            try:
                made += _leaf_rows(row, other)
            except ValueError as error:
                problems.append(f"{where}{error}.")
                return names
    return replace(names, leaves=tuple(made))


def _leaf_rows(row: Row, other: Kind) -> Iterator[NameRow]:
    """Pair the tensors of one of our layers with those that a layer of another kind has.

    Raises:
        ValueError: That is another layer in PyTorch, it has no such tensor, or both lay it out
            otherwise than PyTorch.
    """
    if not set(row.kind.torch) & set(other.torch):
        raise ValueError(
            f"{other.name} is not of {' or '.join(row.kind.torch)}, as {row.kind.name}"
        )
    theirs = {rule.leaf: rule for rule in other.tensors}
    for rule in row.kind.tensors:
        if rule.paddle is None:
            continue
        there = theirs.get(rule.leaf)
        if there is None or there.paddle is None:
            raise ValueError(f"{other.name} has no {rule.leaf}, which {row.kind.name} has")
        axes = _from_theirs(there, rule)
        if axes or there.paddle != rule.paddle:
            own = (Part(join(row.paddle, rule.paddle)),)
            yield NameRow(0, (Part(join(row.paddle, there.paddle)),), own, axes)


def _from_theirs(theirs: TensorRule, ours: TensorRule) -> Axes | None:
    """Give how the axes of their tensor become our axes; None if they are the same."""
    if theirs.axes == ours.axes:
        return None
    if theirs.axes and ours.axes:
        raise ValueError(
            f"{theirs.axes} and {ours.axes} of {ours.leaf}: expected one of them alone"
        )
    return theirs.axes.back() if theirs.axes else ours.axes
