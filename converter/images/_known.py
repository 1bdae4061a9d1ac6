"""The names of a model's classes, as far as they are known: those beside its weights, or given."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, some
from ._names import check_names, read_classes

_LOG = logging.getLogger("vitconvert")
_RUN = "run.json"  # of a training, beside its weights
_SHOWN = 4  # names of a list


@dataclass(frozen=True)
class Known:
    """The names of a model's classes, in the order of its head, and where they come from."""

    names: tuple[str, ...]
    source: str


def known_classes(
    weights: Path,
    num_classes: int | None = None,
    given: Sequence[str] = (),
    stored: Known | None = None,
) -> Known | None:
    """Find the names of a model's classes.

    Args:
        weights: Its checkpoint; a training left its run.json beside it.
        num_classes: Size of its head; None if that is not known.
        given: Names that the user gave, which come first.
        stored: Names that the checkpoint has itself.

    Returns:
        The names; None if they are not known.

    Raises:
        DataError: More or fewer are given than the head has, or the training had another order.
    """
    stored = stored or _stored(weights, num_classes)
    if not given:
        return stored
    if num_classes is not None:
        check_names(given, num_classes, weights)
    names = tuple(given)
    if stored is not None and names != stored.names and sorted(names) == sorted(stored.names):
        raise DataError(
            f"--classes has the names of {stored.source} in another order ({some(names, _SHOWN)}; "
            f"there {some(stored.names, _SHOWN)}), but {weights} has that one. Leave "
            f"--classes out."
        )
    return Known(names, "--classes")


def _stored(weights: Path, num_classes: int | None) -> Known | None:
    """Read the names in the run.json beside weights; a file that does not fit is reported."""
    path = weights.parent / _RUN
    if weights.is_dir() or not path.is_file():
        return None
    try:
        names = read_classes(path)
    except DataError as error:
        _LOG.warning(f"{error} The names of its classes are not used.")
        return None
    if num_classes is not None and len(names) != num_classes:
        _LOG.warning(
            f"{path} names {len(names)} classes, {weights} has a head for {num_classes}: the names "
            f"are not used."
        )
        return None
    return Known(names, str(path))
