"""A variant as a side, a dialect or a target spells it: names, shapes, what may be left out."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..sides import Side
from .moving import their_shapes
from .names import Names
from .table import Claim, Table
from .variant import Shape, ShapePattern, Variant

AnyShape = TypeVar("AnyShape", Shape, ShapePattern)


def side_patterns(
    variant: Variant, table: Table, side: Side, names: Names | None = None
) -> Mapping[str, ShapePattern]:
    """Give the names and shapes of a variant as one side, or a dialect or target, spells them.

    Raises:
        ValueError: The variant cannot be spelled so.
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
    memo = ("side_patterns", variant.name)
    if memo not in table.memo:
        table.memo[memo] = {
            claim.paddle: turned(pattern, claim)
            for key, pattern in variant.shapes.items()
            for claim in table.claims(key)
            if claim.paddle is not None
        }
    found: Mapping[str, ShapePattern] = table.memo[memo]
    return found


def sizes_of(table: Table, variant: Variant) -> dict[str, int]:
    """Give the lengths that axes may name: whole numbers of a variant's config."""
    return {name: n for name, n in variant.config.items() if type(n) is int}


def axis_on(table: Table, side: Side) -> Callable[[str], int]:
    """Give the function that finds the axis along which the parts of a tensor lie.

    It is the one that comes first in PyTorch; the kind's axes say where Paddle has it.
    """

    def axis(key: str) -> int:
        axes = next((getattr(claim.rule, "axes", None) for claim in table.claims(key, side)), None)
        return 0 if side == "torch" or axes is None else axes.first_moved() or 0

    return axis


def left_out(key: str, table: Table, side: Side, names: Names | None = None) -> str | None:
    """Give the reason why a key of one side has no counterpart, or None if it has."""
    if names is None:
        return table.ignored(key, side)
    if (reason := names.left_out(key)) is not None:
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
        table.memo[memo] = all(claim.paddle is None for claim in table.claims(key))
    return bool(table.memo[memo])


def turned(shape: AnyShape, claim: Claim) -> AnyShape:
    """Give a tensor's shape on the other side, as the row that claims it says."""
    return shape[::-1] if claim.rule.transpose else shape
