"""How far apart two arrays are: by the largest difference of all elements, never by a mean."""

from dataclasses import dataclass

import numpy as np

# Two float64 runs of one function differ by rounding alone, about 1e-13 of the largest value, once
# PyTorch has Paddle's float32 epsilons. A real difference of function or weights is larger.
FLOAT64_LIMIT = 1e-10


@dataclass(frozen=True)
class Apart:
    """The largest difference between two arrays of one shape.

    Attributes:
        relative: The difference, in the truth's largest value; infinite where one is not finite.
        index: Where it is.
        truth: The value there.
        other: The value there on the other side.
    """

    relative: float
    index: tuple[int, ...]
    truth: float
    other: float


def apart(truth: np.ndarray, other: np.ndarray) -> Apart:
    """Compare two arrays of the same shape, element by element, in float64.

    Raises:
        ValueError: The shapes differ: nothing is ever broadcast.
    """
    if truth.shape != other.shape:
        raise ValueError(f"shapes {truth.shape} and {other.shape}")
    if not truth.size:
        return Apart(0.0, (), 0.0, 0.0)
    if truth.dtype.kind in "iub":
        # Numbers that count have no rounding: one that differs is as wrong as can be.
        unequal = np.asarray(truth != other)
        index = np.unravel_index(int(unequal.argmax()), unequal.shape)
        place = tuple(map(int, index))
        relative = np.inf if unequal[index] else 0.0
        return Apart(relative, place, float(truth[index]), float(other[index]))
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(np.subtract(other, truth, dtype=np.float64))
    scale = float(np.abs(truth).max())
    index = np.unravel_index(int(distance.argmax()), distance.shape)  # a NaN counts as largest
    largest = float(distance[index])
    relative = largest / (scale or 1.0) if np.isfinite(largest) and np.isfinite(scale) else np.inf
    place = tuple(map(int, index))
    return Apart(float(relative), place, float(truth[index]), float(other[index]))


def spell(one: float, other: float) -> tuple[str, str]:
    """Spell two numbers with as many digits as tell them apart, and two more."""
    for digits in range(4, 16):
        if f"{one:.{digits}g}" != f"{other:.{digits}g}":
            return f"{one:.{digits + 2}g}", f"{other:.{digits + 2}g}"
    return f"{one:.17g}", f"{other:.17g}"


def not_finite(array: np.ndarray) -> int:
    """Count the values that are NaN or infinite."""
    if array.dtype.kind != "f":
        return 0
    # One pass without a mask in the usual case: a sum is finite only if all its terms are, and
    # where finite terms overflow the count tells.
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):
            return 0
    return array.size - int(np.isfinite(array).sum())
