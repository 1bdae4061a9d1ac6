"""A file's weights as a table has them: chosen, under our names, at the size that is asked for."""

from pathlib import Path

from ..checkpoints import Checkpoint, Renames, Selection, open_selected
from ..sides import Side
from ._choice import Asked
from .border import to_ours
from .borders import require_names
from .choosing import choose_weights
from .heads import with_new_head
from .refusal import refused_names
from .sized import published, resize
from .table import Table
from .variant import Variant


def open_weights(
    path: str | Path,
    table: Table,
    variant: str | None = None,
    *,
    side: Side | None = None,
    weights: str | None = None,
    rename: Renames | None = None,
    num_classes: int | None = None,
    dialect: str | None = None,
    target: str | None = None,
) -> Checkpoint:
    """Open the weights of a file that fit a table; without reading a tensor.

    Args:
        path: The file.
        table: Of the family, or of a model of the user's own.
        variant: Of the family; any if None. For one at another size the file may be of the
            published size: it is resized.
        side: The framework whose names are expected; either if None and the file does not say.
        weights: Which weights to take: keys and beginnings of names, with dots.
        rename: Beginnings of names -> what takes their place.
        num_classes: Size of the head: another one than the file's is made anew, 0 leaves it out on
            purpose; it stays as it is if None.
        dialect: Of the table, whose names a PyTorch file has; found from the names if None.
        target: Of the table, whose names a Paddle file has; found from the names if None.

    Returns:
        The weights that fit whole, under our names; or else those that come closest, for a message
        that says what does not fit.

    Raises:
        CheckpointError: As of `open_checkpoint`; or several sets of weights fit, and none is
            called "model".
        ConversionError: There is no such dialect or target, or the names are of one and do not
            fit whole; or the weights cannot be resized.
        TableError: The names of the table's dialect or target contradict its rows.
    """
    asked = Asked(side, weights, rename, num_classes, dialect, target)
    opened, found = choose_weights(path, table, variant, asked)
    own = None if variant is None else table.variants.get(variant)
    if own is not None and own.base is not None and (found is None or found.distance):
        other, whole = choose_weights(path, published(table, own), own.base.name, asked)
        if whole is not None and not whole.distance and whole.side == "torch":
            classes = whole.fit.num_classes
            other = _as_table_has(other, table, own, "torch", classes, is_resized=True)
            return with_new_head(other, table, own, "torch", classes, num_classes)
    if found is None:
        return opened
    if found.names is not None:
        require_names(table, found.names)
        if found.distance:
            raise refused_names(opened, table, found.names, found.fit)
    match = found.fit
    opened = _as_table_has(opened, table, match.variant, found.side, match.num_classes)
    if match.distance:
        return opened
    return with_new_head(opened, table, match.variant, found.side, match.num_classes, num_classes)


def reopen(
    path: str | Path,
    selection: Selection,
    table: Table,
    variant: Variant,
    side: Side,
    num_classes: int,
) -> Checkpoint:
    """Open exactly the weights that were chosen where the work was planned, as they were then.

    Args:
        path: The file.
        selection: What was chosen of it.
        table: Of the model.
        variant: Which one it is.
        side: Whose weights they are.
        num_classes: Size of the head.

    Raises:
        CheckpointError: The file cannot be read.
        ConversionError: It is not what it was.
    """
    opened = open_selected(path, selection)
    is_resized = bool(selection.resized)
    opened = _as_table_has(opened, table, variant, side, num_classes, is_resized)
    return with_new_head(opened, table, variant, side, 0, selection.new_head)


def _as_table_has(
    opened: Checkpoint,
    table: Table,
    variant: Variant,
    side: Side,
    num_classes: int,
    is_resized: bool = False,
) -> Checkpoint:
    """Give weights under our names, resized where the file is of the published size."""
    if not is_resized or variant.base is None:
        return to_ours(opened, table, side, variant, num_classes)
    original = published(table, variant)
    opened = to_ours(opened, original, side, variant.base, num_classes)
    return resize(opened, original, variant)
