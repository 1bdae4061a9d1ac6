"""Weights for images of another size than any variant is published for: how such a one is called."""

import math
from collections.abc import Mapping
from contextlib import suppress

from ..errors import ConversionError
from ..sides import Side
from ._resize_find import Finder, Found
from .identify import Fit
from .names import Names
from .resizing import Asked, plan_resizing, variant_at
from .sized import MARK, at_size
from .spelled import turned
from .table import Table, sizes_of
from .variant import Shape, Variant


def other_size(match: Fit, table: Table, side: Side, names: Names | None = None) -> str:
    """Say how the variant of a file is named if it is one for other images; "" if it is not.

    Args:
        match: How the file compares with the variant that comes closest.
        table: Of the family.
        side: Whose names `match` has.
        names: Other names that these are; the table's own if None.
    """
    base = match.variant
    if match.missing or match.extra or not match.misshapen or base.base or not table.resize:
        return ""
    found = _in_torch(match, table, side, names)
    rule_of = Found(Finder(table.resize), base)
    if len(found) < len(match.misshapen) or not all(map(rule_of, found)):
        return ""
    kernels = (shape for key, shape in found.items() if "input_channels" in rule_of.functions(key))
    channels = next((shape[1] for shape in kernels), None)
    size = None
    with suppress(ConversionError):
        size = _square(found, table, base)
        if _fits(found, table, base, Asked(size, channels)):
            name = at_size(base, size, channels)
            return f"Weights for such images have a variant of their own: {name}."
    size_of_it = "HEIGHTxWIDTH" if channels is None else f"HEIGHTxWIDTHx{channels}"
    return (
        f"Weights for images of another size have a variant of their own: "
        f"{base.name}{MARK}{size_of_it}, in pixels."
    )


def _square(found: Mapping[str, Shape], table: Table, base: Variant) -> tuple[int, int] | None:
    """Give the size in pixels of the square images that a table of positions is for.

    Raises:
        ConversionError: The grid of the variant itself is not known.
    """
    own = {key: shape for key, shape in base.shapes.items() if key in found}
    shapes = {k: tuple(n if isinstance(n, int) else 0 for n in own[k]) for k in own}
    height, width = base.input_size
    twice = plan_resizing(table.resize, shapes, base, Asked((2 * height, 2 * width)))
    for key, step in twice.steps.items():
        for function, change in step.changes:
            if function == "position_table":
                side = math.isqrt(max(0, found[key][-2] - change.kept))
                return height // change.old[0] * side, width // change.old[1] * side
    return None


def _fits(found: Mapping[str, Shape], table: Table, base: Variant, asked: Asked) -> bool:
    """Tell whether the variant at a size has the shapes that were found."""
    shapes = variant_at(base, table.resize, asked).shapes
    return all(shapes[key] == shape for key, shape in found.items())


def _in_torch(match: Fit, table: Table, side: Side, names: Names | None) -> dict[str, Shape]:
    """Give the shapes that were not expected, as PyTorch names and has them."""
    found: dict[str, Shape] = {}
    for key, (shape, _expected) in match.misshapen.items():
        for own in [key] if names is None else names.ours(key):
            for claim in table.claims(own, side)[:1]:
                with suppress(ValueError):
                    there = turned(shape, claim, sizes_of(table, match.variant), side)
                    found[claim.torch] = shape if side == "torch" else there
    return found
