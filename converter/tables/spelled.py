"""A variant as a side, a dialect or a target spells it: names, shapes, what may be left out."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import TableError
from ..sides import Side
from .moving import their_shapes
from .names import Names
from .table import Claim, Table, sizes_of
from .variant import Shape, ShapePattern, Variant

AnyShape = TypeVar("AnyShape", Shape, ShapePattern)


def side_patterns(
    variant: Variant, table: Table, side: Side, names: Names | None = None
) -> Mapping[str, ShapePattern]:
    """Give the names and shapes of a variant as one side, or a dialect or target, spells them.

    Raises:
        TableError: The axes of a kind do not fit the shape of a tensor of that kind.
        ValueError: The variant cannot be spelled in other names.
    """
    if names is not None:
        other = ("side_patterns", variant.name, side, names.name)
        if other not in table.memo:
            ours = side_patterns(variant, table, side)
            table.memo[other] = their_shapes(
                names, ours, sizes_of(table, variant), axis_on(table, side)
            )
        spelled: Mapping[str, ShapePattern] = table.memo[other]
        return spelled
    if side == "torch":
        return variant.shapes
    if table.variants.get(variant.name) is not variant:  # made up of one file
        return in_paddle(variant.shapes, variant, table)
    memo = ("side_patterns", variant.name)
    if memo not in table.memo:
        table.memo[memo] = in_paddle(variant.shapes, variant, table)
    found: Mapping[str, ShapePattern] = table.memo[memo]
    return found


def in_paddle(
    patterns: Mapping[str, ShapePattern], variant: Variant, table: Table
) -> Mapping[str, ShapePattern]:
    """Give PyTorch's names and shapes, of a variant or of a part of it, as Paddle spells them."""
    sizes, found = sizes_of(table, variant), dict[str, ShapePattern]()
    for key, pattern in patterns.items():
        for claim in _claims(key, table):
            if claim.paddle is None:
                continue
            try:
                found[claim.paddle] = turned(pattern, claim, sizes)
            except ValueError as error:
                raise TableError(
                    f"{key}: shape {list(pattern)} of {variant.name} does not fit "
                    f"{spell_axes(claim, table)}: {error}."
                ) from error
    return found


def _claims(key: str, table: Table) -> list[Claim]:
    """List the rows that claim a key of PyTorch's; variants share most keys."""
    memo = ("claims", key)
    if memo not in table.memo:
        table.memo[memo] = table.claims(key)
    found: list[Claim] = table.memo[memo]
    return found


def axis_on(table: Table, side: Side) -> Callable[[str], int]:
    """Give the function that finds the axis along which the parts of a tensor lie.

    It is the one that comes first in PyTorch; the kind's axes say where Paddle has it. Where they
    weave it with others, the function raises ValueError.
    """

    def axis(key: str) -> int:
        axes = next((claim.rule.axes for claim in table.claims(key, side)), None)
        if side == "torch" or axes is None:
            return 0
        if (found := axes.first_moved()) is None:
            raise ValueError(f"{key}: has no parts of its own, since '{axes}' weaves them")
        return found

    return axis


def left_out(
    key: str, table: Table, side: Side, names: Names | None = None, has_head: bool = True
) -> str | None:
    """Give the reason why a key of one side has no counterpart, or None if it has."""
    if names is None:
        return table.ignored(key, side)
    if (reason := names.left_out(key, has_head)) is not None:
        return reason
    return next((why for k in names.ours(key) if (why := table.ignored(k, side))), None)


def droppable(key: str, table: Table, side: Side, names: Names | None = None) -> bool:
    """Tell whether a tensor may be absent because it would be dropped anyway."""
    if side != "torch":
        return False
    if names is not None:
        return all(droppable(own, table, side) for own in names.ours(key))
    memo = ("droppable", key)
    if memo not in table.memo:
        table.memo[memo] = all(claim.paddle is None for claim in _claims(key, table))
    return bool(table.memo[memo])


def turned(
    shape: AnyShape, claim: Claim, sizes: Mapping[str, int], side: Side = "torch"
) -> AnyShape:
    """Give a tensor's shape on the other side, as the row that claims it says.

    Args:
        shape: On this side.
        claim: Of the row.
        sizes: As `sizes_of` gives them.
        side: This side.

    Raises:
        ValueError: The axes of its kind do not fit the shape.
    """
    axes = claim.rule.axes_from(side)
    return shape if axes is None else axes.shape(shape, sizes)


def spell_axes(claim: Claim, table: Table, side: Side = "torch") -> str:
    """Say what moves the axes of a tensor: "axes 'c -> 1 c' (row 3 of own.toml, kind 'own')"."""
    row, axes = claim.row, claim.rule.axes_from(side)
    return f"axes '{axes}' (row {row.number} of {table.file}, kind '{row.kind.name}')"
