"""Which variant a set of names and shapes is of: how far it is from each, on either side."""

from collections.abc import Collection, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..sides import SIDES, Side
from .expanding import Shapes
from .names import Names
from .reading import families, load_table
from .spelled import droppable, in_paddle, left_out, side_patterns, turned
from .table import Table, sizes_of
from .variant import Shape, ShapePattern, Variant

_TRIED = 4  # variants of a family, where more than half of a file does not fit the best


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
    names: Names | None = None,
) -> Fit:
    """Compare names and shapes with those of a variant, as PyTorch or as Paddle spells them.

    A model without any tensor of the head fits as well: it gives features.

    Args:
        shapes: Of the file.
        variant: Of the table.
        table: That says which tensors have no counterpart.
        side: Whose names these are.
        ignored: The names that the table ignores, if they are known already.
        names: Other names that these are, each in its usual spelling; the table's own if None.
    """
    try:
        patterns = side_patterns(variant, table, side, names)
    except ValueError:  # as `borders` says when it is chosen
        patterns = {}
    num_classes = _num_classes(shapes, patterns)
    found = compare(
        shapes,
        {
            key: variant.resolve(pattern, num_classes)
            for key, pattern in patterns.items()
            if num_classes or "num_classes" not in pattern
        },
    )
    missing = {k: s for k, s in found.missing.items() if not droppable(k, table, side, names)}
    if ignored is None:
        ignored = {key for key in found.extra if left_out(key, table, side, names) is not None}
    extra = [key for key in found.extra if key not in ignored]
    if names is not None and not num_classes:
        extra = [key for key in extra if names.left_out(key, has_head=False) is None]
    return Fit(missing, extra, found.misshapen, variant, num_classes)


def _num_classes(shapes: Mapping[str, Shape], patterns: Mapping[str, ShapePattern]) -> int:
    """Read the number of classes off the first tensor that has it; 0 if none is there."""
    for key, pattern in patterns.items():
        if "num_classes" in pattern and len(shapes.get(key, ())) == len(pattern):
            return shapes[key][pattern.index("num_classes")]
    return 0


def closest(
    shapes: Mapping[str, Shape], table: Table, side: Side = "torch", names: Names | None = None
) -> Fit:
    """Find the variant of a family that a set of names and shapes comes closest to.

    Of several that are equally close the first in the table is taken. A table without variants
    takes any shapes of the keys that its rows claim.
    """
    if not table.variants and names is not None:
        return _spelled(shapes, table, side, names)
    ignored = {key for key in shapes if left_out(key, table, side, names) is not None}
    if not table.variants:
        return fit(shapes, _anonymous(shapes, table, side), table, side, ignored)
    best: tuple[int, int, Fit] | None = None
    ordered = sorted(_least_distances(shapes, table, side, ignored, names))
    for number, (least, place, variant) in enumerate(ordered):
        if best is not None and best[0] < least:
            break
        if best is not None and number >= _TRIED and 2 * best[0] > len(shapes):
            break  # of another family: none of the others is close either
        found = fit(shapes, variant, table, side, ignored, names)
        if best is None or (found.distance, place) < best[:2]:
            best = found.distance, place, found
    assert best is not None
    return best[2]


def _least_distances(
    shapes: Mapping[str, Shape],
    table: Table,
    side: Side,
    ignored: Collection[str],
    names: Names | None = None,
) -> Iterator[tuple[int, int, Variant]]:
    """Give how many keys differ from each variant at least, its place in the table, and itself.

    All layers of a range are alike: one of them tells most of hundreds of variants from a file.
    """
    count = len(shapes) - len(ignored) if names is None else 0  # they may have more, or fewer
    known = shapes if names is None else _under_our_names(shapes, names)
    for place, variant in enumerate(table.variants.values()):
        patterns = _few_patterns(variant, table, side)
        differing = sum(
            1
            for key, pattern in patterns.items()
            if key not in known or known[key] not in (None, pattern)
        )
        most = variant.shapes.most if isinstance(variant.shapes, Shapes) else len(variant.shapes)
        yield differing + max(0, count - most), place, variant


def _under_our_names(shapes: Mapping[str, Shape], names: Names) -> dict[str, Shape | None]:
    """Give our names of what a file has; no shape where that is more than another name."""
    found: dict[str, Shape | None] = {}
    for key, shape in shapes.items():
        move = names.move(key)
        same = shape if move.renames else None
        found |= {own: same for own in move.targets if own is not None}
    return found


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
        table.memo[memo] = needed if side == "torch" else in_paddle(needed, variant, table)
    found: Mapping[str, ShapePattern] = table.memo[memo]
    return found


def _spelled(shapes: Mapping[str, Shape], table: Table, side: Side, names: Names) -> Fit:
    """Compare other names with a table without variants: rows must claim what becomes of them."""
    extra = [
        key
        for key in shapes
        if left_out(key, table, side, names) is None
        if not all(table.claims(own, side) for own in names.ours(key))
    ]
    variant = Variant(table.family, table.family, {}, {}, table.input_size or (224, 224))
    lacking = [
        source
        for move in names.moves(key for key in shapes if names.left_out(key) is None)
        for source in move.sources
        if source is not None and source not in shapes
    ]
    return Fit(dict.fromkeys(lacking, ()), extra, {}, variant, 0)


def _anonymous(shapes: Mapping[str, Shape], table: Table, side: Side) -> Variant:
    """Give what stands for the variant of a table without any: what is claimed, as it is found.

    A tensor of a shape that its kind cannot have is left out, and so is not as expected.
    """
    sizes, found = sizes_of(table, None), dict[str, ShapePattern]()
    for key, shape in shapes.items():
        for claim in table.claims(key, side):
            with suppress(ValueError):
                there = turned(shape, claim, sizes, side)
                found[claim.torch] = shape if side == "torch" else there
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
        # What is ignored is found out for those alone that may fit: there may be many names.
        for least, _place, variant in _least_distances(shapes, table, side, ignored=shapes)
        if least == 0
        if (found := fit(shapes, variant, table, side)).distance == 0
    ]
