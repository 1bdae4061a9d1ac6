"""Which variant a set of names and shapes is of: how far it is from each, on either side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..sides import SIDES, Side
from .reading import families, load_table
from .table import Claim, Table
from .variant import Shape, ShapePattern, Variant

AnyShape = TypeVar("AnyShape", Shape, ShapePattern)


@dataclass(frozen=True)
class Fit:
    """How a set of names and shapes compares with a variant; nothing differs when it fits.

    Attributes:
        variant: What it was compared with.
        num_classes: The number of classes that the shapes imply; 0 if there is no head.
        missing: Keys of the variant that were not found, with their shapes.
        extra: Keys found that the variant does not have.
        misshapen: Key -> (found, expected).
    """

    variant: Variant
    num_classes: int
    missing: dict[str, Shape]
    extra: list[str]
    misshapen: dict[str, tuple[Shape, Shape]]

    @property
    def distance(self) -> int:
        """How many keys differ."""
        return len(self.missing) + len(self.extra) + len(self.misshapen)


def fit(shapes: Mapping[str, Shape], variant: Variant, table: Table, side: Side = "torch") -> Fit:
    """Compare names and shapes with those of a variant, as PyTorch or as Paddle spells them.

    A model without any tensor of the head fits as well: it gives features.
    """
    patterns = variant.shapes if side == "torch" else _paddle_patterns(variant, table)
    num_classes = _num_classes(shapes, patterns)
    expected = {
        key: variant.resolve(pattern, num_classes)
        for key, pattern in patterns.items()
        if num_classes or "num_classes" not in pattern
    }
    return Fit(
        variant,
        num_classes,
        {
            key: shape
            for key, shape in expected.items()
            if key not in shapes and not droppable(key, table, side)
        },
        [k for k in shapes if k not in expected and (side == "paddle" or not table.ignored(k))],
        {k: (shapes[k], s) for k, s in expected.items() if k in shapes and shapes[k] != s},
    )


def _num_classes(shapes: Mapping[str, Shape], patterns: Mapping[str, ShapePattern]) -> int:
    """Read the number of classes off the first tensor that has it; 0 if none is there."""
    for key, pattern in patterns.items():
        if "num_classes" in pattern and len(shapes.get(key, ())) == len(pattern):
            return shapes[key][pattern.index("num_classes")]
    return 0


def _paddle_patterns(variant: Variant, table: Table) -> dict[str, ShapePattern]:
    return {
        claim.target: turned(pattern, claim)
        for key, pattern in variant.shapes.items()
        for claim in table.claims(key)
        if claim.target is not None
    }


def droppable(key: str, table: Table, side: Side) -> bool:
    """Tell whether a tensor may be absent because it would be dropped anyway."""
    return side == "torch" and all(claim.target is None for claim in table.claims(key))


def closest(shapes: Mapping[str, Shape], table: Table, side: Side = "torch") -> Fit:
    """Find the variant of a family that a set of names and shapes comes closest to.

    Of several that are equally close the first in the table is taken.
    """
    fits = [fit(shapes, variant, table, side) for variant in table.variants.values()]
    return min(fits, key=lambda found: found.distance)


def show_head(num_classes: int) -> str:
    """Say how large a head is."""
    if num_classes == 0:
        return "no head"
    return "1 class" if num_classes == 1 else f"{num_classes} classes"


def twins(variant: Variant, table: Table) -> list[str]:
    """Name the other variants of a family that have the same names and shapes."""
    return [
        name
        for name, other in table.variants.items()
        if name != variant.name and other.shapes == variant.shapes
    ]


def identify(shapes: Mapping[str, Shape]) -> list[tuple[Fit, Side]]:
    """Find every variant that fits names and shapes exactly, as PyTorch or Paddle spells them."""
    return [
        (found, side)
        for table in map(load_table, families())
        for variant in table.variants.values()
        if _may_fit(len(shapes), table, variant)
        for side in SIDES
        if (found := fit(shapes, variant, table, side)).distance == 0
    ]


def _may_fit(count: int, table: Table, variant: Variant) -> bool:
    """Tell by the number of tensors alone whether a variant may fit: most do not.

    A model has no more than the variant, but for those that the table ignores; and that more than
    half of them may be absent, as step counters and a head may, is so in no table.
    """
    expected = len(variant.shapes)
    return expected <= 2 * count and (bool(table.ignore) or count <= expected)


def turned(shape: AnyShape, claim: Claim) -> AnyShape:
    return shape[::-1] if claim.rule.transpose else shape
