"""The same values in another shape: how one array is brought to the shape of another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ._distance import Finding, apart

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Way:
    """How the array of one side is brought to the shape of the other's.

    Attributes:
        name: For the report.
        source: The axis that is moved first.
        target: Where to; the values are then laid into the other shape as they come.
    """

    name: str = "reshaped"
    source: int = 0
    target: int = 0

    def bring(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """Bring an array to another shape."""
        if self.source != self.target:
            array = np.moveaxis(array, self.source, self.target)
        return array.reshape(shape)

    @property
    def back(self) -> "Way":
        """The way back."""
        return Way(self.name, self.target, self.source)

    def spell(self, shape: Shape, to: Shape) -> str:
        """Name the way, if anything is done at all."""
        return "" if shape == to and self.source == self.target else self.name


AS_IT_IS = Way()
_MOVED = (Way("channels moved", -1, 1), Way("channels moved", 1, -1))
_BATCH = Way("batch moved", 0, 1)


def ways(shape: Shape, to: Shape, whole: bool = False) -> list[Way]:
    """List how an array may be brought to another shape: the most likely first, none if no way.

    Args:
        shape: What an array has.
        to: What it is to have.
        whole: Whether it is of the whole model: whose users see the axes, so that none moves,
            neighbours are merged or split alone, and every image keeps its place.
    """
    if whole:
        return [AS_IT_IS] if shape == to or (shape[:1] == to[:1] and _merge(shape, to)) else []
    return list(_ways(shape, to)) if _size(shape) == _size(to) else []


def _ways(shape: Shape, to: Shape) -> Iterator[Way]:
    yield AS_IT_IS
    ranks = len(shape), len(to)
    # Where shapes agree, an axis that moved is more likely a fault; maps may be square, though.
    if min(ranks) >= 3 and shape[0] == to[0] and (shape != to or ranks[0] > 3):
        yield from (way for way in _MOVED if shape[way.source] == to[way.target])
    if ranks == (3, 3) and shape != to and (shape[1], shape[0], shape[2]) == to:
        yield _BATCH


def nearest(
    truth: np.ndarray, found: np.ndarray, choices: Sequence[Way], limit: float
) -> tuple[Way, Finding]:
    """Find the way by which an array is the other side's.

    Args:
        truth: What it should be.
        found: What it is.
        choices: What `ways` gives.
        limit: Relative difference that is allowed.

    Returns:
        The first way that leaves no more than that. If there is none: the first, unless another
        comes clearly closer.
    """
    best, least = AS_IT_IS, Finding(np.inf)
    for way in choices:
        finding = apart(truth, way.bring(found, truth.shape))
        if finding.difference <= limit:
            return way, finding
        if way is choices[0] or finding.difference < least.difference / 2:
            best, least = way, finding
    return best, least


def _merge(shape: Shape, to: Shape) -> bool:
    """Tell whether one shape is the other with neighbouring axes merged: [B, 8, 4, 4], [B, 8, 16].

    [B, 8, 16] laid into [B, 16, 8] is not: no axis would be what it says.
    """
    inner, other = ({_size(one[:end]) for end in range(len(one) + 1)} for one in (shape, to))
    return _size(shape) == _size(to) and (inner <= other or other <= inner)


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))
