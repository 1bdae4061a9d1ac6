"""How far apart two arrays are: by the largest difference of all elements, never by a mean."""

import re
from dataclasses import dataclass

import numpy as np

# Two float64 runs of one function differ by rounding alone, about 1e-13 of the largest value, once
# PyTorch has Paddle's float32 epsilons. A real difference of function or weights is larger.
FLOAT64_LIMIT = 1e-10


_NUMBER = re.compile("[0-9]+")
_LEAST_MASK = 1e6  # a number that masks is at least that, and as many times all others

INPUT_OF = "input of "  # in a finding: before the key of the layer that is called


@dataclass(frozen=True)
class Finding:
    """How an array compares with that of the reference.

    Attributes:
        difference: The largest of all elements, relative to the reference's largest value;
            infinite where values are not finite.
        where: What it is of one layer: "output", or "input of <key>" for what the layer's code
            gives to a layer within.
        index: Place of the largest difference.
        reference: The value there on the side that was the reference.
        candidate: The value there on the other side.
        note: Why it could not be compared, if so.
        kept: Index of the candidate's array, where it is wrong enough to be looked into.
        at: Index of the reference's array.
        given: What the layer is given in another shape, or number, than the reference's.
    """

    difference: float
    where: str = "output"
    index: tuple[int, ...] = ()
    reference: float = 0.0
    candidate: float = 0.0
    note: str = ""
    kept: int | None = None
    at: int | None = None
    given: str = ""

    def spell(self, what: str, quote: str = "") -> str:
        """Say something about the value, with where it is; a layer's name stands in quotes."""
        if self.where == "output":
            return f"what it gives {what}"
        return f"what it gives to {quote}{self.where.removeprefix(INPUT_OF)}{quote} {what}"


def place_of(layer: str, where: str) -> str:
    """Name a place in a layer without its numbers: the same for all of a row of blocks."""
    return _NUMBER.sub("#", f"{layer} {where}")


def apart(truth: np.ndarray, other: np.ndarray) -> Finding:
    """Compare two arrays of the same shape, element by element, in float64.

    Raises:
        ValueError: The shapes differ: nothing is ever broadcast.
    """
    if truth.shape != other.shape:
        raise ValueError(f"shapes {truth.shape} and {other.shape}")
    if not truth.size:
        return Finding(0.0)
    if truth.dtype.kind in "iub":
        # Numbers that count have no rounding: one that differs is as wrong as can be.
        distance, scale = np.where(truth != other, np.inf, 0.0), 1.0
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.abs(np.subtract(other, truth, dtype=np.float64))
        scale = scale_of(truth, other)
        if not np.isfinite(scale) and (masked := _masked(truth, other)).any():
            distance[masked] = 0.0
            scale = scale_of(truth[~masked], other[~masked])
    index = np.unravel_index(int(distance.argmax()), distance.shape)  # a NaN counts as largest
    largest = float(distance[index])
    relative = largest / (scale or 1.0) if np.isfinite(largest) and np.isfinite(scale) else np.inf
    place = tuple(map(int, index))
    return Finding(float(relative), "output", place, float(truth[index]), float(other[index]))


def scale_of(truth: np.ndarray, other: np.ndarray) -> float:
    """Give the largest value of floats, but for the number that masks some: it would hide all else.

    Masks hold one huge number, which no side computes: both have it in the same places.
    """
    sizes = np.abs(truth)
    largest = float(sizes.max(initial=0.0))
    if not _LEAST_MASK <= largest < np.inf:
        return largest
    places = sizes == largest
    numbers = truth[places]
    if len(numbers) < 2 or (numbers != numbers[0]).any() or (other[places] != numbers).any():
        return largest
    rest = float(sizes[~places].max(initial=0.0))
    return rest if rest * _LEAST_MASK <= largest and not places.all() else largest


def _masked(truth: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Tell where both sides mask by -inf, if that is not everywhere."""
    places = (truth == -np.inf) & (other == -np.inf)
    return np.asarray(places & (not places.all()))


def spell(one: float, other: float) -> tuple[str, str]:
    """Spell two numbers with as many digits as distinguish them, and two more."""
    for digits in range(4, 16):
        if f"{one:.{digits}g}" != f"{other:.{digits}g}":
            return f"{one:.{digits + 2}g}", f"{other:.{digits + 2}g}"
    return f"{one:.17g}", f"{other:.17g}"


def not_finite(array: np.ndarray, truth: np.ndarray | None = None) -> str:
    """Say how many values are NaN or infinite: "has 2 values that are not finite"; "" if none.

    Args:
        array: Any.
        truth: What it should be, of the same shape: where that masks by -inf, so may the array.
    """
    if array.dtype.kind != "f":
        return ""
    # One pass without a mask in the usual case: a sum is finite only if all its terms are, and
    # where finite terms overflow the count tells.
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):
            return ""
    broken = ~np.isfinite(array)
    if truth is not None:
        broken &= ~_masked(truth, array)
    count = int(broken.sum())
    values = "value that is" if count == 1 else "values that are"
    return f"has {count} {values} not finite" if count else ""
