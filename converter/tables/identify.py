"""Which variant a set of names and shapes is of: how far it is from each, on either side."""

from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..sides import SIDES, Side
from .expanding import Shapes
from .reading import families, load_table
from .table import Claim, Table
from .variant import Shape, ShapePattern, Variant

AnyShape = TypeVar("AnyShape", Shape, ShapePattern)


@dataclass(frozen=True)
class Differences:
    """How names and shapes differ from those that were expected.

    Attributes:
        missing: Keys that were not found, with the shapes expected.
        extra: Keys found that were not expected.
        misshapen: Key -> (found, expected).
    """

    missing: dict[str, Shape]
    extra: list[str]
    misshapen: dict[str, tuple[Shape, Shape]]

    @property
    def distance(self) -> int:
        """How many keys differ."""
        return len(self.missing) + len(self.extra) + len(self.misshapen)

    def listed(self, owner: str) -> list[str]:
        """Spell all of them, one line each; `owner` has what was expected."""
        has = f"{owner} has"
        return [
            *(f"{key}: missing; {has} it as {list(shape)}." for key, shape in self.missing.items()),
            *(f"{key}: {has} no such tensor." for key in self.extra),
            *(
                f"{key}: shape {list(found)}, {has} {list(expected)}."
                for key, (found, expected) in self.misshapen.items()
            ),
        ]


@dataclass(frozen=True)
class Fit(Differences):
    """How a set of names and shapes compares with a variant; nothing differs when it fits.

    Attributes:
        variant: What it was compared with.
        num_classes: The number of classes that the shapes imply; 0 if there is no head.
    """

    variant: Variant
    num_classes: int


def compare(shapes: Mapping[str, Shape], expected: Mapping[str, Shape]) -> Differences:
    """Compare names and shapes with those expected."""
    return Differences(
        {key: shape for key, shape in expected.items() if key not in shapes},
        [key for key in shapes if key not in expected],
        {k: (shapes[k], s) for k, s in expected.items() if k in shapes and shapes[k] != s},
    )


def fit(
    shapes: Mapping[str, Shape],
    variant: Variant,
    table: Table,
    side: Side = "torch",
    ignored: Container[str] | None = None,
) -> Fit:
    """Compare names and shapes with those of a variant, as PyTorch or as Paddle spells them.

    A model without any tensor of the head fits as well: it gives features.

    Args:
        shapes: Of the file.
        variant: Of the table.
        table: That says which tensors have no counterpart.
        side: Whose names these are.
        ignored: The names that the table ignores, if they are known already.
    """
    patterns = side_patterns(variant, table, side)
    num_classes = _num_classes(shapes, patterns)
    found = compare(
        shapes,
        {
            key: variant.resolve(pattern, num_classes)
            for key, pattern in patterns.items()
            if num_classes or "num_classes" not in pattern
        },
    )
    missing = {k: s for k, s in found.missing.items() if not droppable(k, table, side)}
    if ignored is None:
        ignored = {key for key in found.extra if table.ignored(key, side) is not None}
    extra = [key for key in found.extra if key not in ignored]
    return Fit(missing, extra, found.misshapen, variant, num_classes)


def _num_classes(shapes: Mapping[str, Shape], patterns: Mapping[str, ShapePattern]) -> int:
    """Read the number of classes off the first tensor that has it; 0 if none is there."""
    for key, pattern in patterns.items():
        if "num_classes" in pattern and len(shapes.get(key, ())) == len(pattern):
            return shapes[key][pattern.index("num_classes")]
    return 0


def side_patterns(variant: Variant, table: Table, side: Side) -> Mapping[str, ShapePattern]:
    """Give the names and shapes of a variant as one side spells them."""
    if side == "torch":
        return variant.shapes
    memo = ("side_patterns", variant.name)
    if memo not in table.memo:
        table.memo[memo] = _turned(variant.shapes, table)
    found: Mapping[str, ShapePattern] = table.memo[memo]
    return found


def _turned(patterns: Mapping[str, ShapePattern], table: Table) -> dict[str, ShapePattern]:
    """Give PyTorch's names and shapes as Paddle spells them."""
    return {
        claim.paddle: turned(pattern, claim)
        for key, pattern in patterns.items()
        for claim in _claims(key, table)
        if claim.paddle is not None
    }


def _claims(key: str, table: Table) -> list[Claim]:
    """List the rows that claim a key of PyTorch's; variants share most keys."""
    memo = ("claims", key)
    if memo not in table.memo:
        table.memo[memo] = table.claims(key)
    found: list[Claim] = table.memo[memo]
    return found


def droppable(key: str, table: Table, side: Side) -> bool:
    """Tell whether a tensor may be absent because it would be dropped anyway."""
    if side != "torch":
        return False
    memo = ("droppable", key)
    if memo not in table.memo:
        table.memo[memo] = all(claim.paddle is None for claim in _claims(key, table))
    return bool(table.memo[memo])


def closest(shapes: Mapping[str, Shape], table: Table, side: Side = "torch") -> Fit:
    """Find the variant of a family that a set of names and shapes comes closest to.

    Of several that are equally close the first in the table is taken. A table without variants
    takes any shapes of the keys that its rows claim.
    """
    ignored = _ignored(shapes, table, side)
    if not table.variants:
        return fit(shapes, _anonymous(shapes, table, side), table, side, ignored)
    best: tuple[int, int, Fit] | None = None
    for least, place, variant in sorted(_least_distances(shapes, table, side, ignored)):
        if best is not None and best[0] < least:
            break
        found = fit(shapes, variant, table, side, ignored)
        if best is None or (found.distance, place) < best[:2]:
            best = found.distance, place, found
    assert best is not None
    return best[2]


def _least_distances(
    shapes: Mapping[str, Shape], table: Table, side: Side, ignored: Collection[str]
) -> Iterator[tuple[int, int, Variant]]:
    """Give how many keys differ from each variant at least, its place in the table, and itself.

    All layers of a range are alike: one of them tells most of hundreds of variants from a file.
    """
    count = len(shapes) - len(ignored)
    for place, variant in enumerate(table.variants.values()):
        patterns = _few_patterns(variant, table, side)
        differing = sum(1 for key, pattern in patterns.items() if shapes.get(key) != pattern)
        most = variant.shapes.most if isinstance(variant.shapes, Shapes) else len(variant.shapes)
        yield differing + max(0, count - most), place, variant


def _few_patterns(variant: Variant, table: Table, side: Side) -> Mapping[str, ShapePattern]:
    """Give keys that a file of a variant must have, one of every range, with their shapes."""
    memo = ("few_patterns", variant.name, side)
    if memo not in table.memo:
        few = variant.shapes.few() if isinstance(variant.shapes, Shapes) else variant.shapes
        needed = {
            key: pattern
            for key, pattern in few.items()
            if "num_classes" not in pattern and not droppable(key, table, "torch")
        }
        table.memo[memo] = needed if side == "torch" else _turned(needed, table)
    found: Mapping[str, ShapePattern] = table.memo[memo]
    return found


def _ignored(shapes: Mapping[str, Shape], table: Table, side: Side) -> set[str]:
    """Give the names of a file that the table says have no counterpart."""
    return {key for key in shapes if table.ignored(key, side) is not None}


def _anonymous(shapes: Mapping[str, Shape], table: Table, side: Side) -> Variant:
    """Give what stands for the variant of a table without any: what is claimed, as it is found."""
    found = {
        claim.torch: turned(shape, claim) if side == "paddle" else shape
        for key, shape in shapes.items()
        for claim in table.claims(key, side)
    }
    return Variant(table.family, table.family, found, {}, table.input_size or (224, 224))


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
        for side in SIDES
        for least, _place, variant in _least_distances(
            shapes, table, side, _ignored(shapes, table, side)
        )
        if least == 0
        if (found := fit(shapes, variant, table, side)).distance == 0
    ]


def turned(shape: AnyShape, claim: Claim) -> AnyShape:
    """Give a tensor's shape on the other side, as the row that claims it says."""
    return shape[::-1] if claim.rule.transpose else shape
