"""What a side of a check is made of: its weights, its model, and the description of its file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoints import Checkpoint, Renames
from ..errors import ParityError
from ..hub import origin
from ..models import check_side
from ..plain import sha256
from ..running.foreign import choose_model
from ..running.setup import Subject, check_factory
from ..sides import Side
from ..tables.border import find_names
from ..tables.opening import open_weights
from ..tables.plan import check_paddle, make_plan
from ..tables.reading import find_variant, read_table
from ._options import Pair


def open_for(
    model: str | Pair,
    side: Side,
    file: Path,
    weights: str | None = None,
    rename: Renames | None = None,
    num_classes: int | None = None,
    spelling: str | None = None,
) -> Checkpoint:
    """Open the weights of one side: those of the file that fit the model's table.

    Raises:
        CheckpointError: As of `open_weights`.
    """
    if isinstance(model, str):
        table, variant = find_variant(model)[0], model
    else:
        table, variant = replace(read_table(Path(model.table)), variants={}), None
    if num_classes is not None and variant is None:
        raise ParityError("num_classes is for shipped models.")
    return open_weights(
        file,
        table,
        variant,
        side=side,
        weights=weights,
        rename=rename,
        num_classes=num_classes,
        **{"dialect" if side == "torch" else "target": spelling},
    )


def make_subject(
    model: str | Pair, side: Side, checkpoint: Checkpoint, target: str | None = None
) -> Subject:
    """Check a file by names and shapes before any framework starts, and return what to build.

    Args:
        model: The variant, or a pair of the user's own.
        side: Which of the two.
        checkpoint: Its weights, under our names.
        target: Whose own model of the variant is to run, if it names models; or whose names the
            user's Paddle model has.

    Raises:
        ModelError: The target names models, but none of this variant.
    """
    check_side(side, checkpoint)
    if isinstance(model, Pair):
        name = model.torch_model if side == "torch" else model.paddle_model
        check_factory(name, side)
        return Subject(name, table=str(Path(model.table).absolute()), target=target or "")
    table, variant = find_variant(model)
    if side == "torch":
        num_classes = make_plan(checkpoint, table, model).num_classes
    else:
        num_classes = check_paddle(checkpoint, table, variant)
    output = "logits" if num_classes else "features"
    if target is None or not choose_model(find_names(table, "paddle", target), variant):
        return Subject(model, num_classes, output=output)
    return Subject(model, num_classes, output=output, target=target)


def describe_checkpoint(checkpoint: Checkpoint, rounded: Mapping[str, str]) -> dict[str, Any]:
    """Return which file this is, with its hash; for a sharded one that of every file.

    A file of the hub has the name that gives it again, the commit included.
    """
    first, *shards = map(sha256, checkpoint.files)
    facts: dict[str, Any] = {"file": str(checkpoint.path), "sha256": first}
    if name := origin(checkpoint.path):
        facts["from"] = name
    if shards:
        facts["shards"] = shards
    facts |= checkpoint.selection.facts()
    if rounded:
        facts["rounded_to"] = ", ".join(sorted(set(rounded.values())))
    return facts
