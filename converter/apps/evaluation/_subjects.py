"""What is evaluated: a shipped variant, or models of the user's own."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from ...checkpoints import Checkpoint, open_checkpoint
from ...errors import ModelError
from ...models import check_side
from ...parity import Pair, make_subject, open_for
from ...running.setup import Subject, check_factory
from ...sides import NAMES, SIDES, Side
from ...tables.plan import make_plan
from ...tables.reading import find_variant, read_table
from ...tables.variant import Variant

_USUAL_SIZE = (224, 224)  # pixels, where no table states any


def variant_of(model: str | Pair, sides: Container[Side]) -> Variant:
    """Return the variant; for a pair a stand-in, which says how its images are preprocessed.

    Args:
        model: As for `evaluate`.
        sides: That are run; they name the stand-in.

    Raises:
        ModelError: The variant is unknown, or a model of the pair is missing.
        TableError: The table of the pair is malformed.
    """
    if isinstance(model, str):
        return find_variant(model)[1]
    size = read_table(Path(model.table)).input_size if model.table else None
    name = ", ".join(_factory(model, side) for side in SIDES if side in sides)
    return Variant(name, name, {}, {}, size or _USUAL_SIZE, smallest_image=1)


def open_subject(
    model: str | Pair, side: Side, file: Path, weights: str | None
) -> tuple[Checkpoint, Subject]:
    """Check a file by names and shapes, as far as they are known; give what to load and build.

    Raises:
        CheckpointError: The file is of the other framework, or does not fit.
        ConversionError: A PyTorch file does not fit.
    """
    known = isinstance(model, str) or model.table
    checkpoint = open_for(model, side, file, weights) if known else open_checkpoint(file, weights)
    if isinstance(model, str):
        return checkpoint, make_subject(model, side, checkpoint)
    check_side(side, checkpoint)
    if not model.table:
        return checkpoint, Subject(_factory(model, side))
    table = read_table(Path(model.table))
    make_plan(checkpoint, replace(table, variants={}), side=side)
    return checkpoint, Subject(_factory(model, side), table=str(table.path.absolute()))


def _factory(pair: Pair, side: Side) -> str:
    """Return the function that builds the model of a side."""
    name = pair.torch_model if side == "torch" else pair.paddle_model
    if not name:
        raise ModelError(f"{NAMES[side]} weights need a {NAMES[side]} model, which {pair} lacks.")
    check_factory(name, side)
    return name
