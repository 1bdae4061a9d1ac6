"""Seeded noise for the tensors of a PyTorch model, of a size at which every layer shows.

A model that is built but not trained is often no use for a proof: branches begin with weights of
zero, and statistics of BatchNorm that are 0 and 1 let numbers grow or shrink from layer to layer
until nothing of the image is left in the output.
"""

from typing import Any

import numpy as np

from ...running.side import AnySide

_SMALLEST, _LARGEST = 0.1, 4.0  # of the size that keeps numbers as large as they are
_LEAST_VARIANCE = 0.1  # of the mean of all channels: one that is dead here must not become huge


def fill(old: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """Make noise for a tensor: never zeros or ones, of a size that lets a deep model stay finite.

    What varies keeps its mean and deviation, and its sign if it has one. What begins at one value,
    as a variance or the weight of a norm at 1, stays about there and keeps its sign.
    """
    start = float(old.flat[0]) if old.size and is_constant(old) else None
    if start is not None and (old.ndim < 2 or start > 0):
        if start == 0:
            return np.asarray(noise.standard_normal(old.shape) * 0.2)
        start = float(np.copysign(max(abs(start), 0.2), start))
        return np.asarray(start * noise.uniform(0.5, 1.5, old.shape))
    if start is None and ((old > 0).all() or (old < 0).all()):
        return np.asarray(old * noise.uniform(0.5, 1.5, old.shape))
    # Matrices and kernels of this size neither grow nor shrink what goes through them.
    even = float(np.prod(old.shape[1:])) ** -0.5 if old.ndim > 1 else 0.2
    if start is not None:
        return np.asarray(noise.standard_normal(old.shape) * even)
    mean, own = float(old.mean()), float(old.std())
    size = max(own, _SMALLEST * even)
    if old.ndim > 1 and size > _LARGEST * even:
        mean, size = mean * _LARGEST * even / size, _LARGEST * even
    return np.asarray(mean + size * noise.standard_normal(old.shape))


def is_constant(array: np.ndarray) -> bool:
    """Tell whether all elements are the same."""
    return bool(array.size == 0 or (array == array.flat[0]).all())


def calibrate(side: AnySide, layer: Any, given: Any, noise: np.random.Generator) -> None:
    """Give a PyTorch BatchNorm statistics of about what it is given, as training would.

    Args:
        side: PyTorch.
        layer: Any layer, before its first call; one without running statistics stays as it is.
        given: Its input [B, C, ...].
        noise: Moves the statistics: each mean by a fifth of the deviation, each variance by half.
    """
    mean: Any = getattr(layer, "running_mean", None)
    variance: Any = getattr(layer, "running_var", None)
    if not (side.is_tensor(mean) and side.is_tensor(variance) and side.is_tensor(given)):
        return
    values = side.array(given)
    if values.shape[1:2] != side.array(mean).shape or not np.isfinite(values).all():
        return
    axes = (0, *range(2, values.ndim))
    found = values.var(axes)
    found = found + (_LEAST_VARIANCE * found.mean() or 1.0)
    moved = 0.2 * found**0.5 * noise.standard_normal(found.shape)
    side.set(mean, values.mean(axes) + moved)
    side.set(variance, found * noise.uniform(0.5, 1.5, found.shape))
