"""Names and shapes of a checkpoint, and a table, -> plan. Sees no framework and reads no tensor."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from ._errors import CheckpointError, ConversionError, listing, some
from ._table import Claim, Shape, ShapePattern, Side, Table, Variant, families, load_table
from .checkpoints import FLOATING, Checkpoint, Tensor

AnyShape = TypeVar("AnyShape", Shape, ShapePattern)
Operation = Literal["copy", "transpose", "drop"]

_SIDES: tuple[Side, Side] = ("torch", "paddle")


@dataclass(frozen=True)
class Step:
    """What becomes of one tensor.

    Attributes:
        source: PyTorch key.
        operation: "copy", "transpose" or "drop".
        target: Paddle key; None when dropped.
        reason: The row's kind and what it does, or why the tensor is dropped.
        shape: Shape in the PyTorch checkpoint.
        target_shape: Shape in the Paddle checkpoint.
    """

    source: str
    operation: Operation
    target: str | None
    reason: str
    shape: Shape
    target_shape: Shape


@dataclass(frozen=True)
class Plan:
    """Every step of one conversion, in the order of the source."""

    table: Table
    variant: Variant
    num_classes: int
    steps: tuple[Step, ...]

    def kept(self) -> Iterator[tuple[Step, str]]:
        """Give the steps that fill a Paddle tensor, with its key."""
        for step in self.steps:
            if step.target is not None:
                yield step, step.target


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
        [key for key in shapes if key not in expected and table.ignored(key) is None],
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
        claim.target: _turn(pattern, claim)
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
    tables = [load_table(family) for family in families()]
    return [
        (found, side)
        for table in tables
        for variant in table.variants.values()
        for side in _SIDES
        if (found := fit(shapes, variant, table, side)).distance == 0
    ]


def make_plan(checkpoint: Checkpoint, table: Table, variant: str | None = None) -> Plan:
    """Decide what becomes of every tensor of a PyTorch checkpoint.

    Args:
        checkpoint: The opened source.
        table: The rows of the family it belongs to.
        variant: Name of the variant; found from names and shapes if None.

    Raises:
        ConversionError: The checkpoint is of another family or variant, or any key is unclaimed,
            claimed twice, missing, not expected or of the wrong shape. All are listed at once.
    """
    shapes = checkpoint.shapes
    if variant is None:
        match = closest(shapes, table)
    elif variant in table.variants:
        match = fit(shapes, table.variants[variant], table)
    else:
        raise ConversionError(
            f"{table.file} has no variant {variant!r}; it has {', '.join(table.variants)}."
        )
    if problems := _problems(checkpoint, table, match):
        better = match if variant is None else closest(shapes, table)
        _check_family(checkpoint, table, better)
        if match.distance > 0 and better.distance == 0:
            raise ConversionError(
                f"{checkpoint.path} is a {better.variant.name}, not a {variant}: {len(problems)} "
                f"tensors do not fit. Leave the variant out, or take the other file."
            )
        name = match.variant.name
        chosen = f"{name} was asked for" if variant else f"{name} comes closest"
        raise ConversionError(
            listing(
                f"{checkpoint.path} does not fit {table.file} ({chosen}). "
                f"{len(problems)} problem{'s' if len(problems) > 1 else ''}:",
                problems,
            )
        )
    steps = tuple(_step(key, tensor, table) for key, tensor in checkpoint.tensors.items())
    return Plan(table, match.variant, match.num_classes, steps)


def check_paddle(checkpoint: Checkpoint, table: Table, variant: Variant) -> int:
    """Check that a Paddle checkpoint is a whole model of a variant; give its number of classes.

    Raises:
        CheckpointError: Every key that is missing, too many, ill-shaped or of no floating type.
    """
    match = fit(checkpoint.shapes, variant, table, "paddle")
    if match.distance > 0:
        better = closest(checkpoint.shapes, table, "paddle")
        if better.distance == 0:
            raise CheckpointError(
                f"{checkpoint.path} is a {better.variant.name}, not a {variant.name}."
            )
    problems = [f"{key}: missing; expected {list(shape)}." for key, shape in match.missing.items()]
    problems += [
        f"{key}: {tensor.dtype}; expected one of {', '.join(FLOATING)}."
        for key, tensor in checkpoint.tensors.items()
        if tensor.dtype not in FLOATING
    ]
    problems += [f"{name}: {what}, not a tensor." for name, what in checkpoint.skipped.items()]
    problems += [f"{key}: {variant.name} has no such tensor in Paddle." for key in match.extra]
    problems += [
        f"{key}: shape {list(found)}, expected {list(expected)}."
        for key, (found, expected) in match.misshapen.items()
    ]
    if problems:
        heading = f"{checkpoint.path} is not a complete {variant.name} for Paddle:"
        raise CheckpointError(listing(heading, problems))
    return match.num_classes


def _check_family(checkpoint: Checkpoint, table: Table, own: Fit) -> None:
    """Refuse what is, or is nearly, another model, or of which most names are unknown.

    Args:
        checkpoint: The file.
        table: The family it should be of.
        own: The closest of that family.
    """
    names = checkpoint.tensors
    claimed = sum(1 for key in names if table.claims(key) or table.ignored(key))
    others = [
        (closest(checkpoint.shapes, other, side), side)
        for other in map(load_table, families())
        for side in _SIDES
        if (other.family, side) != (table.family, "torch")
    ]
    nearest, side = min(others, key=lambda found: found[0].distance)
    if 4 * nearest.distance < own.distance:
        word = "comes closest to" if nearest.distance else "is"
        found, spelled = nearest.variant, {"torch": "PyTorch", "paddle": "Paddle"}[side]
        advice = "Take the PyTorch checkpoint."
        if side == "torch":
            advice = f"Convert it with: vitconvert {found.family}"
        raise ConversionError(
            f"{checkpoint.path} {word} a {found.name} as {spelled} has it (family {found.family}), "
            f"not a PyTorch checkpoint of {table.title}. {advice}"
        )
    if 2 * claimed < len(names):
        raise ConversionError(
            f"{checkpoint.path} is not a {table.title} checkpoint: {table.file} knows {claimed} of "
            f"its {len(names)} tensors, which begin with {some(list(names), 3)}. See what it "
            f"holds: vitconvert inspect FILE."
        )


def _problems(checkpoint: Checkpoint, table: Table, match: Fit) -> list[str]:
    """List all that is wrong between a checkpoint and a variant, in the order of the file."""
    problems: list[str] = []
    for key, tensor in checkpoint.tensors.items():
        claims = table.claims(key)
        if len(claims) > 1:
            rows = " and ".join(f"row {c.row.number}" for c in claims)
            problems.append(f"{key}: claimed by {rows} of {table.file}. Make one of them narrower.")
        elif not claims and table.ignored(key) is None:
            problems.append(
                f"{key}: no row of {table.file} claims this {list(tensor.shape)} tensor. Add a "
                f"row, or an [ignore] entry with its reason, or remove it from the checkpoint."
            )
        elif key in match.misshapen:
            problems.append(_misshapen(key, match, claims[0], table))
        elif claims and claims[0].target and tensor.dtype not in FLOATING:
            problems.append(
                f"{key}: {tensor.dtype}; expected one of {', '.join(FLOATING)}. Save the "
                f"checkpoint with floating weights."
            )
        elif claims and key in match.extra:
            problems.append(
                f"{key}: {match.variant.name} has no such tensor, though row "
                f"{claims[0].row.number} of {table.file} describes it. Is it another variant?"
            )
    problems += [
        f"{name}: {what}, not a tensor that can be read. Take it out of the checkpoint."
        for name, what in checkpoint.skipped.items()
        if table.ignored(name) is None
    ]
    for key, shape in match.missing.items():
        where = f"row {table.claims(key)[0].row.number} of {table.file}"
        problems.append(
            f"{key}: missing; {match.variant.name} has it as {list(shape)} ({where}). Take a "
            f"complete checkpoint."
        )
    targets = Counter(c.target for key in checkpoint.tensors for c in table.claims(key) if c.target)
    problems += [
        f"{target}: {count} tensors would become this one Paddle tensor. Check the paddle column "
        f"of {table.file}."
        for target, count in targets.items()
        if count > 1
    ]
    return problems


def _misshapen(key: str, match: Fit, claim: Claim, table: Table) -> str:
    found, expected = match.misshapen[key]
    paddle = ""
    if len(found) == len(expected) and claim.rule.transpose:
        paddle = f" (in Paddle {list(_turn(found, claim))} and {list(_turn(expected, claim))})"
    return (
        f"{key}: shape {list(found)}, {match.variant.name} has {list(expected)}{paddle}; row "
        f"{claim.row.number} of {table.file}, kind '{claim.row.kind.name}'. Is it another variant, "
        f"or a changed model?"
    )


def _step(key: str, tensor: Tensor, table: Table) -> Step:
    claims = table.claims(key)
    if not claims:
        return Step(key, "drop", None, table.ignored(key) or "", tensor.shape, ())
    (claim,) = claims
    kind = f"row {claim.row.number}, kind {claim.row.kind.name}"
    if claim.target is None:
        return Step(key, "drop", None, f"{kind}: {claim.rule.drop}", tensor.shape, ())
    target_shape = _turn(tensor.shape, claim)
    if claim.rule.transpose:
        reason = f"{kind}: {claim.row.kind.layout}"
        return Step(key, "transpose", claim.target, reason, tensor.shape, target_shape)
    return Step(key, "copy", claim.target, kind, tensor.shape, target_shape)


def _turn(shape: AnyShape, claim: Claim) -> AnyShape:
    return shape[::-1] if claim.rule.transpose else shape


def apply_step(step: Step, array: np.ndarray) -> np.ndarray:
    """Change one array's layout for Paddle, as a view.

    Args:
        step: The step, of operation "copy" or "transpose".
        array: The PyTorch tensor, for a linear weight [out, in].

    Returns:
        The Paddle tensor, for a linear weight [in, out].
    """
    return array.T if step.operation == "transpose" else array
