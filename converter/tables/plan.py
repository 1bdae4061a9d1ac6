"""Names and shapes of a checkpoint, and a table, -> plan, forth or back. Reads no tensor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..checkpoints import FLOATING, Checkpoint, Tensor, held
from ..errors import CheckpointError, ConversionError, nearest
from ..hub import config_beside, origin
from ..sides import SIDES, Side
from .axes import Axes
from .heads import missing_head
from .identify import Fit, closest, fit, twins
from .patterns import join
from .refusal import refuse_misfit
from .spelled import turned
from .table import Claim, Table, sizes_of
from .variant import Shape, Variant

Operation = Literal["copy", "transpose", "rearrange", "drop", "restore"]


@dataclass(frozen=True)
class Step:
    """What becomes of one tensor.

    Attributes:
        source: Its key; None when there is none and the target is restored.
        operation: "copy", "transpose" (whole axes change places), "rearrange" (axes are split,
            merged or taken out as well), "drop" or "restore".
        target: The key it gets; None when dropped.
        reason: The row's kind and what it does, or why the tensor is dropped.
        shape: Shape in the source.
        target_shape: Shape in the target.
        value: Of a restored int64 tensor.
        keep: Whether a cast to half precision leaves it in float32.
        axes: How the axes of the source become the target's; None if they are the same.
    """

    source: str | None
    operation: Operation
    target: str | None
    reason: str
    shape: Shape
    target_shape: Shape
    value: int = 0
    keep: bool = False
    axes: Axes | None = None


@dataclass(frozen=True)
class Plan:
    """Every step of one conversion, in the order of the source.

    Attributes:
        table: The rows of the family.
        variant: Which of its variants the checkpoint is; made up where the table has none.
        num_classes: Size of the head; 0 for none.
        source: The framework that the checkpoint is of; it becomes one of the other.
        steps: What becomes of every tensor.
    """

    table: Table
    variant: Variant
    num_classes: int
    source: Side
    steps: tuple[Step, ...]

    @property
    def target(self) -> Side:
        """The framework that the new checkpoint is for."""
        return "paddle" if self.source == "torch" else "torch"

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
        made, sizes = dict[str, Tensor](), sizes_of(self.table, self.variant)
        for step in self.steps:
            if step.target is None:
                continue
            if step.source is None:
                made[step.target] = held(np.full(step.target_shape, step.value, np.int64))
                continue
            tensor = tensors[step.source]
            if step.axes is not None:
                tensor = step.axes.apply(tensor, sizes)
            if dtype is not None and tensor.dtype in FLOATING:
                tensor = tensor.cast(_kept_in(tensor.dtype, dtype) if step.keep else dtype)
            made[step.target] = tensor
        return made

    def counters(self) -> dict[str, list[str]]:
        """Give the tensors that are ignored because no model computes with them, by reason."""
        found: dict[str, list[str]] = {}
        for step in self.steps:
            if step.source is None or step.operation != "drop":
                continue
            if reason := self.table.counter(step.source, self.source):
                found.setdefault(reason, []).append(step.source)
        return found

    def notes(self) -> Iterator[str]:
        """Describe the counters that are ignored, a sentence for each kind."""
        for reason, keys in self.counters().items():
            name, many = keys[0].rpartition(".")[2], "s" * (len(keys) > 1)
            yield f"ignored: {len(keys)} tensor{many} {name!r}, {reason}"


def _kept_in(stored: str, dtype: str) -> str:
    """Give the dtype of a tensor that half precision would harm: what it has, or float32."""
    return stored if stored == dtype else "float32"


def source_side(checkpoint: Checkpoint, table: Table) -> Side:
    """Tell which framework a checkpoint is of: by its format, or else by names and shapes."""
    if checkpoint.side is not None:
        return checkpoint.side
    distances = {side: closest(checkpoint.shapes, table, side).distance for side in SIDES}
    if distances["torch"] == distances["paddle"]:
        return checkpoint.leaning
    return "paddle" if distances["paddle"] < distances["torch"] else "torch"


def _as_named(match: Fit, checkpoint: Checkpoint, table: Table) -> Fit:
    """Choose, of the variants that have the very same tensors, the one that the file is called.

    A config.json beside it, as timm writes one, says it as well.
    """
    alike = [match.variant.name, *twins(match.variant, table)]
    if len(alike) == 1:
        return match
    config = config_beside(checkpoint.path)
    file = f"{checkpoint.path.name} {origin(checkpoint.path)}"
    told = config.architecture if config and config.architecture in alike else alike[0]
    named = max((name for name in alike if name in file), key=len, default=told)
    return replace(match, variant=table.variants.get(named, match.variant))


def make_plan(
    checkpoint: Checkpoint, table: Table, variant: str | None = None, side: Side = "torch"
) -> Plan:
    """Decide what becomes of every tensor of a checkpoint on its way to the other framework.

    Args:
        checkpoint: The opened source.
        table: The rows of the family it belongs to.
        variant: Name of the variant; found from names and shapes if None.
        side: The framework that the checkpoint is of.

    Raises:
        ConversionError: There is no such variant; or a PyTorch checkpoint is of another family or
            variant, or any key is unclaimed, claimed twice, missing, not expected or of the wrong
            shape. All are listed at once.
        CheckpointError: The same of a Paddle checkpoint.
    """
    if variant is None:
        match = _as_named(closest(checkpoint.shapes, table, side), checkpoint, table)
    elif variant in table.variants:
        match = fit(checkpoint.shapes, table.variants[variant], table, side)
    else:
        known = ", ".join(table.variants) or "none"
        raise ConversionError(
            f"{table.file} has no variant {variant!r}; it has {known}."
            f"{nearest(variant, table.variants)}"
        )
    if told := missing_head(checkpoint, table, match, side):
        error = ConversionError if side == "torch" else CheckpointError
        raise error(f"{checkpoint.path}: ", told).asking("--rename", "--num-classes", side=side)
    refuse_misfit(checkpoint, table, match, variant, side)
    steps = tuple(_steps(checkpoint, table, side, sizes_of(table, match.variant)))
    return Plan(table, match.variant, match.num_classes, side, steps)


def check_paddle(checkpoint: Checkpoint, table: Table, variant: Variant) -> int:
    """Check that a Paddle checkpoint is a whole model of a variant; give its number of classes.

    Raises:
        CheckpointError: It is another model, or not whole; everything that is wrong is listed.
    """
    return make_plan(checkpoint, table, variant.name, "paddle").num_classes


def _steps(
    checkpoint: Checkpoint, table: Table, side: Side, sizes: Mapping[str, int]
) -> Iterator[Step]:
    """Say what becomes of every tensor; what is restored comes last in its layer, as in PyTorch."""
    claims = {key: next(iter(table.claims(key, side)), None) for key in checkpoint.tensors}
    ends = {claim.layer: key for key, claim in claims.items() if claim is not None}
    for key, claim in claims.items():
        shape = checkpoint.tensors[key].shape
        if claim is None:
            yield Step(key, "drop", None, table.ignored(key, side) or "", shape, ())
            continue
        yield _step(key, shape, claim, side, sizes)
        if side == "paddle" and ends[claim.layer] == key:
            yield from _restored(claim)


def _step(key: str, shape: Shape, claim: Claim, side: Side, sizes: Mapping[str, int]) -> Step:
    reason = _reason(claim)
    target = claim.paddle if side == "torch" else claim.torch
    if target is None:
        return Step(key, "drop", None, f"{reason}: {claim.rule.drop}", shape, ())
    keep, axes = claim.rule.keep, claim.rule.axes_from(side)
    if axes is None:
        return Step(key, "copy", target, reason, shape, shape, keep=keep)
    operation: Operation = "transpose" if axes.permutes else "rearrange"
    made = turned(shape, claim, sizes, side)
    return Step(key, operation, target, f"{reason}: {axes}", shape, made, keep=keep, axes=axes)


def _restored(claim: Claim) -> Iterator[Step]:
    """Give what PyTorch's layer has besides, and Paddle's has not."""
    for rule in claim.row.kind.tensors:
        if rule.restore is not None:
            key, reason = join(claim.layer, rule.leaf), f"{_reason(claim)}: {rule.drop}"
            yield Step(None, "restore", key, reason, (), (), rule.restore)


def _reason(claim: Claim) -> str:
    return f"row {claim.row.number}, kind {claim.row.kind.name}"
