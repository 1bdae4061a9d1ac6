"""Names and shapes of a checkpoint, and a table, -> plan, forth or back. Reads no tensor."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..checkpoints import FLOATING, Checkpoint, Tensor, held
from ..errors import CheckpointError, ConversionError, listing, some
from ..sides import NAMES, SIDES, Side
from .identify import Fit, closest, fit, turned
from .reading import families, load_table
from .table import Claim, Table
from .variant import Shape, Variant

Operation = Literal["copy", "transpose", "drop", "restore"]


@dataclass(frozen=True)
class Step:
    """What becomes of one tensor.

    Attributes:
        source: Its key; None when there is none and the target is restored.
        operation: "copy", "transpose", "drop" or "restore".
        target: The key it gets; None when dropped.
        reason: The row's kind and what it does, or why the tensor is dropped.
        shape: Shape in the source.
        target_shape: Shape in the target.
        value: Of a restored int64 tensor.
    """

    source: str | None
    operation: Operation
    target: str | None
    reason: str
    shape: Shape
    target_shape: Shape
    value: int = 0


@dataclass(frozen=True)
class Plan:
    """Every step of one conversion, in the order of the PyTorch checkpoint.

    Attributes:
        table: The rows of the family.
        variant: Which of its variants the checkpoint is.
        num_classes: Size of the head; 0 for none.
        source: The framework that the checkpoint is of; it becomes one of the other.
        steps: What becomes of every tensor.
    """

    table: Table
    variant: Variant
    num_classes: int
    source: Side
    steps: tuple[Step, ...]

    def kept(self) -> Iterator[tuple[str, str, Step]]:
        """Give source key, target key and step of what is in both checkpoints."""
        for step in self.steps:
            if step.source is not None and step.target is not None:
                yield step.source, step.target, step

    def apply(self, tensors: Mapping[str, Tensor], dtype: str | None = None) -> dict[str, Tensor]:
        """Give the tensors of the target, as views of those of the source.

        Args:
            tensors: Of the source.
            dtype: What floating tensors are cast to; as they are if None.
        """
        made: dict[str, Tensor] = {}
        for step in self.steps:
            if step.target is None:
                continue
            if step.source is None:
                made[step.target] = held(np.full(step.target_shape, step.value, np.int64))
                continue
            tensor = turn(step, tensors[step.source])
            made[step.target] = tensor
            if dtype is not None and tensor.dtype in FLOATING:
                made[step.target] = tensor.cast(dtype)
        return made


def source_side(checkpoint: Checkpoint, table: Table) -> Side:
    """Tell which framework a checkpoint is of: by its format, or else by names and shapes."""
    if checkpoint.side is not None:
        return checkpoint.side
    distances = {side: closest(checkpoint.shapes, table, side).distance for side in SIDES}
    return "paddle" if distances["paddle"] < distances["torch"] else "torch"


def make_plan(checkpoint: Checkpoint, table: Table, variant: str | None = None) -> Plan:
    """Decide what becomes of every tensor of a PyTorch checkpoint on its way to Paddle.

    Args:
        checkpoint: The opened source.
        table: The rows of the family it belongs to.
        variant: Name of the variant; found from names and shapes if None.

    Raises:
        ConversionError: The checkpoint is of another family or variant, or any key is unclaimed,
            claimed twice, missing, not expected or of the wrong shape. All are listed at once.
    """
    shapes = checkpoint.shapes
    match = _match(shapes, table, variant, "torch")
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
    return Plan(table, match.variant, match.num_classes, "torch", steps)


def make_plan_back(checkpoint: Checkpoint, table: Table, variant: str | None = None) -> Plan:
    """Decide what becomes of every tensor of a Paddle checkpoint on its way to PyTorch.

    Raises:
        CheckpointError: It is no whole model of the variant; everything that is wrong is listed.
        ConversionError: There is no such variant, or it is a checkpoint of another family.
    """
    match = _match(checkpoint.shapes, table, variant, "paddle")
    if match.distance > 0:
        _check_family(checkpoint, table, closest(checkpoint.shapes, table, "paddle"), "paddle")
    num_classes = check_paddle(checkpoint, table, match.variant)
    places = {key: place for place, key in enumerate(checkpoint.tensors)}
    steps, restored = list[tuple[float, Step]](), list[tuple[str, Step]]()
    ends: dict[str, int] = {}  # PyTorch layer -> where in the source its last tensor is
    for key, pattern in match.variant.shapes.items():
        if num_classes or "num_classes" not in pattern:
            step = _step_back(key, match.variant.resolve(pattern, num_classes), table)
            if step is not None and step.source is not None:
                place, layer = places[step.source], key.rpartition(".")[0]
                ends[layer] = max(place, ends.get(layer, 0))
                steps.append((place, step))
            elif step is not None:
                restored.append((key.rpartition(".")[0], step))
    # In the order of the source; what is restored comes last in its layer, as PyTorch has it.
    steps += [(ends[layer] + 0.5, step) for layer, step in restored]
    steps.sort(key=lambda pair: pair[0])
    return Plan(table, match.variant, num_classes, "paddle", tuple(step for _, step in steps))


def apply_rows(checkpoint: Checkpoint, table: Table, dtype: str | None = None) -> dict[str, Tensor]:
    """Convert a PyTorch checkpoint by the rows of a table that has no variants.

    Nothing says what the model needs: that the result is a whole one, parity tells.

    Args:
        checkpoint: The opened source.
        table: The rows, of the user's own.
        dtype: What floating tensors are cast to; as they are if None.

    Returns:
        The tensors for Paddle, as views of those of the source.

    Raises:
        ConversionError: A key is claimed by no row or by several, or a target filled twice.
    """
    problems, made = [], dict[str, Tensor]()
    for key, tensor in checkpoint.tensors.items():
        claims = table.claims(key)
        if len(claims) > 1:
            rows = " and ".join(f"row {claim.row.number}" for claim in claims)
            problems.append(f"{key}: claimed by {rows}. Make one of them narrower.")
        elif not claims and table.ignored(key) is None:
            shape = list(tensor.shape)
            problems.append(f"{key}: no row claims this {shape} tensor. Add a row, or [ignore] it.")
        elif claims and (target := claims[0].target) is not None:
            if target in made:
                problems.append(f"{key}: would become {target}, which another tensor became.")
            view = turn(_step(key, tensor, table), tensor)
            made[target] = view.cast(dtype) if dtype and tensor.dtype in FLOATING else view
    if problems:
        raise ConversionError(listing(f"{checkpoint.path} does not fit {table.file}:", problems))
    if not made:
        raise ConversionError(f"{table.file} claims no tensor of {checkpoint.path}.")
    return made


def _match(shapes: Mapping[str, Shape], table: Table, variant: str | None, side: Side) -> Fit:
    """Compare with a variant, or with the closest one."""
    if variant is None:
        return closest(shapes, table, side)
    if variant not in table.variants:
        raise ConversionError(
            f"{table.file} has no variant {variant!r}; it has {', '.join(table.variants)}."
        )
    return fit(shapes, table.variants[variant], table, side)


def check_paddle(checkpoint: Checkpoint, table: Table, variant: Variant) -> int:
    """Check that a Paddle checkpoint is a whole model of a variant; give its number of classes.

    Raises:
        CheckpointError: It is another model; or every key that is missing, too many, ill-shaped or
            of no floating type.
    """
    shapes = checkpoint.shapes
    match = fit(shapes, variant, table, "paddle")
    if match.distance > 0:
        fits = (closest(shapes, other, "paddle") for other in map(load_table, families()))
        better = min(fits, key=lambda found: found.distance)
        if better.distance == 0:
            raise CheckpointError(
                f"{checkpoint.path} is a {better.variant.name}, not a {variant.name}."
            )
        if told := _unknown(checkpoint, table, len(shapes) - len(match.extra)):
            raise CheckpointError(told)
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


def _check_family(checkpoint: Checkpoint, table: Table, own: Fit, expected: Side = "torch") -> None:
    """Refuse what is, or is nearly, another model, or of which most names are unknown.

    Args:
        checkpoint: The file.
        table: The family it should be of.
        own: The closest of that family.
        expected: The framework it should be of.
    """
    names = checkpoint.tensors
    claimed = sum(1 for key in names if table.claims(key) or table.ignored(key))
    if expected == "paddle":
        fits = (fit(checkpoint.shapes, v, table, "paddle") for v in table.variants.values())
        claimed = len(names) - min(len(found.extra) for found in fits)
    others = [
        (closest(checkpoint.shapes, other, side), side)
        for other in map(load_table, families())
        for side in SIDES
        if (other.family, side) != (table.family, expected)
    ]
    nearest, side = min(others, key=lambda found: found[0].distance)
    if 4 * nearest.distance < own.distance:
        word = "comes closest to" if nearest.distance else "is"
        found = nearest.variant
        advice = f"Convert it with: vitconvert {found.family}"
        if found.family == table.family:
            advice = f"Take the {NAMES[expected]} checkpoint."
        raise ConversionError(
            f"{checkpoint.path} {word} a {found.name} as {NAMES[side]} has it (family "
            f"{found.family}), not a {NAMES[expected]} checkpoint of {table.title}. {advice}"
        )
    if told := _unknown(checkpoint, table, claimed):
        raise ConversionError(told)


def _unknown(checkpoint: Checkpoint, table: Table, claimed: int) -> str:
    """Say that most names of a checkpoint are unknown, without listing them; "" if they are not."""
    names = list(checkpoint.tensors)
    if 2 * claimed >= len(names):
        return ""
    return (
        f"{checkpoint.path} is not a {table.title} checkpoint: {table.file} knows {claimed} of "
        f"its {len(names)} tensors, which begin with {some(names, 3)}. See what it holds: "
        f"vitconvert inspect FILE."
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
        paddle = f" (in Paddle {list(turned(found, claim))} and {list(turned(expected, claim))})"
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
    target_shape = turned(tensor.shape, claim)
    if claim.rule.transpose:
        reason = f"{kind}: {claim.row.kind.layout}"
        return Step(key, "transpose", claim.target, reason, tensor.shape, target_shape)
    return Step(key, "copy", claim.target, kind, tensor.shape, target_shape)


def _step_back(key: str, shape: Shape, table: Table) -> Step | None:
    """Say what becomes a PyTorch tensor; None if nothing does."""
    (claim,) = table.claims(key)
    kind = f"row {claim.row.number}, kind {claim.row.kind.name}"
    if claim.target is None:
        value = claim.rule.restore
        if value is None:
            return None
        return Step(None, "restore", key, f"{kind}: {claim.rule.drop}", (), shape, value)
    if claim.rule.transpose:
        reason = f"{kind}: {claim.row.kind.layout}, the other way"
        return Step(claim.target, "transpose", key, reason, turned(shape, claim), shape)
    return Step(claim.target, "copy", key, kind, shape, shape)


def turn(step: Step, tensor: Tensor) -> Tensor:
    """Change one tensor's layout for the other framework, as a view.

    Args:
        step: The step, of operation "copy" or "transpose".
        tensor: For a linear weight [out, in] in PyTorch, [in, out] in Paddle.

    Returns:
        For a linear weight [in, out] in Paddle, [out, in] in PyTorch.
    """
    return tensor.transposed() if step.operation == "transpose" else tensor
