"""The head of a classifier: found, missing, elsewhere in a file under another name, or dropped."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from ..checkpoints import FLOATING, Checkpoint, Tensor, held
from ..checkpoints.selection import begins
from ..errors import ConversionError, listing, some
from ..lines import Lines
from ..markdown import quoted
from ..sides import Side
from .identify import Fit
from .spelled import side_patterns
from .table import Table
from .variant import Shape, ShapePattern, Variant

_MOST_WORDS = 16  # of a name, after which a known layer's own name is looked for
_MOST_SHOWN = 3
_DROP = "or drop the head on purpose with --num-classes 0"
_MOST = 16  # that are looked at: each is compared with all others


@dataclass(frozen=True)
class Head:
    """The layer whose size is the number of classes.

    Attributes:
        layer: Its name, such as "head".
        leaves: Name within the layer -> shape, an axis of which is "num_classes".
    """

    layer: str
    leaves: dict[str, ShapePattern]

    def spell(self) -> str:
        """Say what the model has."""
        shown = []
        for leaf, pattern in self.leaves.items():
            axes = ("classes" if isinstance(n, str) else str(n) for n in pattern)
            shown.append(f"{self.layer}.{leaf} [{', '.join(axes)}]")
        return " and ".join(shown)

    @property
    def largest(self) -> tuple[str, ShapePattern]:
        """Give the name and shape of the weight, by which a head is recognised."""
        return max(self.leaves.items(), key=lambda item: len(item[1]))


@dataclass(frozen=True)
class Lookalike:
    """A layer that has the head's shape, somewhere in a file.

    Attributes:
        layer: Its name, within the weights or from the top of the file.
        shapes: Name of each of its tensors -> shape.
        others: Tensors that are fed by it, or feed it: then it is one layer of several.
    """

    layer: str
    shapes: dict[str, Shape]
    others: dict[str, Shape] = field(default_factory=dict)


def head_of(variant: Variant, table: Table, side: Side) -> Head | None:
    """Find the head of a variant, as one side names it; None if it has none."""
    patterns = side_patterns(variant, table, side)
    keys = [key for key, pattern in patterns.items() if "num_classes" in pattern]
    if not keys:
        return None
    layer = keys[0].rpartition(".")[0]
    leaves = {key[len(layer) + 1 :]: patterns[key] for key in keys if key.startswith(f"{layer}.")}
    head = Head(layer, leaves)
    return head if layer and len(head.largest[1]) > 1 else None


def lookalikes(
    shapes: Mapping[str, Shape], head: Head, table: Table, side: Side
) -> Iterator[Lookalike]:
    """Find layers that have the shape of a head, among tensors that have other names.

    Args:
        shapes: Of tensors that no row of the table claims as another layer of the model.
        head: Of the model.
        table: Whose rows claim the copies of other layers, in an average beside the weights.
        side: The framework that the names are of.
    """
    leaf, pattern = head.largest
    for key, shape in shapes.items():
        layer, _, own = key.rpartition(".")
        if own != leaf or not layer or not _matches(shape, pattern):
            continue
        if _claimed_elsewhere(key, head, table, side):
            continue
        tensors = {k: shapes[k] for k in (f"{layer}.{one}" for one in head.leaves) if k in shapes}
        yield Lookalike(layer, tensors, _chained(shapes, layer, shape, pattern))


def _matches(shape: Shape, pattern: ShapePattern) -> bool:
    """Tell whether a shape is that of a head for any number of classes."""
    return len(shape) == len(pattern) and all(
        n == wanted or (isinstance(wanted, str) and n > 0)
        for n, wanted in zip(shape, pattern, strict=True)
    )


def _claimed_elsewhere(key: str, head: Head, table: Table, side: Side) -> bool:
    """Tell whether a name ends in that of another layer of the model."""
    words = key.split(".", _MOST_WORDS)
    ends = (".".join(words[start:]) for start in range(len(words)))
    return any(not end.startswith(f"{head.layer}.") and table.claims(end, side) for end in ends)


def _chained(
    shapes: Mapping[str, Shape], layer: str, shape: Shape, pattern: ShapePattern
) -> dict[str, Shape]:
    """Find the layers beside one that take what it gives: then the head is more than one layer."""
    made = shape[pattern.index("num_classes")]
    width = next(i for i, n in enumerate(pattern) if not isinstance(n, str))
    part = layer.rpartition(".")[0]
    return {
        key: other
        for key, other in shapes.items()
        if key.startswith(f"{part}.") and not key.startswith(f"{layer}.")
        if part and len(other) == len(shape) and other[width] == made
    }


def parts_to_drop(
    shapes: Mapping[str, Shape], variant: Variant, table: Table, side: Side
) -> list[str]:
    """Name the parts of the weights that are a head, under its own name or another."""
    head = head_of(variant, table, side)
    if head is None:
        return []
    parts = [head.layer] if any(k.startswith(f"{head.layer}.") for k in shapes) else []
    unknown = {k: s for k, s in shapes.items() if not table.claims(k, side)}
    for found in islice(lookalikes(unknown, head, table, side), _MOST):
        first = found.layer.partition(".")[0]
        known = any(table.claims(k, side) for k in shapes if k.startswith(f"{first}."))
        parts.append(found.layer if known else first)
    return list(dict.fromkeys(parts))


def missing_head(checkpoint: Checkpoint, table: Table, match: Fit, side: Side) -> str | Lines:
    """Say what is wrong if a head is missing, but something like it is in the file; "" if nothing.

    A classifier must not become a feature model in silence. A file with no head at all may.
    """
    head = head_of(match.variant, table, side)
    if head is None or checkpoint.selection.headless:
        return ""
    if told := _other_head(checkpoint, table, side):
        return told
    own = {key: tensor.shape for key, tensor in checkpoint.tensors.items()}
    there = {key: shape for key, shape in own.items() if key.startswith(f"{head.layer}.")}
    lacking = [key for key in match.missing if key.startswith(f"{head.layer}.")]
    if match.num_classes and lacking and match.distance == len(lacking):
        return (
            f"{some(lacking)}: missing; its head has {_spell(there)}, the model's head is one "
            f"layer with {head.spell()}. Add what is missing (a bias may be zeros), {_DROP}."
        )
    if match.num_classes or match.missing:
        return ""
    found = _nearest(
        checkpoint, {k: s for k, s in own.items() if k in match.extra}, head, table, side
    )
    many = {k: s for one in found for k, s in {**one.shapes, **one.others}.items() if one.others}
    if many:
        return (
            f"its head is several layers: {_spell(many)}; the model's head is one layer with "
            f"{head.spell()}, so it cannot hold them. Train one with such a head, {_DROP}."
        )
    return _offer(found, head) if found else ""


def _other_head(checkpoint: Checkpoint, table: Table, side: Side) -> str:
    """Say that the head beside the weights is of another kind than the model's; "" if none is."""
    names = table.names_on(side).get(checkpoint.selection.spelling)
    if names is None or not names.other_head:
        return ""
    root = "".join(f"{key}." for key in checkpoint.wrapper)
    left = {key.removeprefix(root): tensor.shape for key, tensor in checkpoint.outside.items()}
    for pattern, why in names.other_head.items():
        for beginning in names.spelled(pattern):
            if found := {key: shape for key, shape in left.items() if begins(key, beginning)}:
                return f"{_spell(found)}: {why}. The model here has no such head; {_DROP[3:]}."
    return ""


def _nearest(
    checkpoint: Checkpoint, extra: Mapping[str, Shape], head: Head, table: Table, side: Side
) -> list[Lookalike]:
    """Find what looks like the head: among the weights, or else in the same part of the file."""
    if found := list(islice(lookalikes(extra, head, table, side), _MOST)):
        return found
    left = {key: tensor.shape for key, tensor in checkpoint.outside.items()}
    dicts = "".join(f"{key}." for key in checkpoint.wrapper)
    for root in reversed(list(checkpoint.selection.roots())):
        part = {k: shape for k, shape in left.items() if k.startswith(root)}
        cut = len(min(root, dicts, key=len))  # names in the dict of the weights are given as there
        if any(key[cut:].rpartition(".")[0] == head.layer for key in part):
            cut = 0  # by its whole path: within its own dict it has the name that is missing here
        named = {key[cut:]: shape for key, shape in part.items()}
        if found := list(islice(lookalikes(named, head, table, side), _MOST)):
            return found
        left = {k: shape for k, shape in left.items() if k not in part}
    return []


def _offer(found: list[Lookalike], head: Head) -> Lines:
    """Name what looks like the head, and the option that makes it the head."""
    ways = [
        f"--rename {quoted(f'{one.layer}={head.layer}')}    {_spell(one.shapes)}"
        for one in found[:_MOST_SHOWN]
    ]
    ways += [f"and {len(found) - _MOST_SHOWN} more"] * (len(found) > _MOST_SHOWN)
    return listing(
        f"the head is missing under its own name, {head.spell()}, but tensors of its shape are "
        f"there under another. Say which is the head, {_DROP}:",
        ways,
    )


def _spell(shapes: Mapping[str, Shape]) -> str:
    return some([f"{key} {list(shape)}" for key, shape in shapes.items()], 6)


def with_new_head(
    checkpoint: Checkpoint,
    table: Table,
    variant: Variant,
    side: Side,
    found: int,
    wanted: int | None,
) -> Checkpoint:
    """Give a checkpoint a head of another size, not trained; it stays if it has that size.

    Args:
        checkpoint: Whole, under our names.
        table: Of the family.
        variant: What it is.
        side: Whose weights these are.
        found: Classes of its head; 0 for none.
        wanted: Classes that it shall have; as it is if None, and left out elsewhere if 0.

    Raises:
        ConversionError: The variant has no head.
    """
    if not wanted or wanted == found:
        return checkpoint
    patterns = side_patterns(variant, table, side)
    head = {k: p for k, p in patterns.items() if "num_classes" in p}
    if not head:
        raise ConversionError(f"{variant.name} has no head: leave --num-classes {wanted} out.")
    dtypes = [one.dtype for one in checkpoint.tensors.values() if one.dtype in FLOATING]
    made = {k: _new(k, variant.resolve(p, wanted), dtypes[0]) for k, p in head.items()}
    return replace(
        checkpoint,
        tensors={**checkpoint.tensors, **made},
        sources={k: keys for k, keys in checkpoint.sources.items() if k not in made},
        altered={**checkpoint.altered, **dict.fromkeys(made, "new")},
        selection=replace(checkpoint.selection, new_head=wanted),
    )


def _new(key: str, shape: Shape, dtype: str) -> Tensor:
    """Draw a weight as these models begin with, normal of 0.02; other tensors are 0."""
    values = np.zeros(shape, np.float32)
    if len(shape) > 1:
        rng = np.random.Generator(np.random.Philox(key=zlib.crc32(key.encode())))
        values += np.clip(rng.standard_normal(shape), -2, 2) * 0.02
    tensor = held(values.astype(np.float32))
    return tensor if dtype == "float32" else tensor.cast(dtype)
