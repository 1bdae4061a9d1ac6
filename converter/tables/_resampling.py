"""Numbers of a tensor for another grid, patch or number of channels: arrays -> arrays.

All is computed in float64. Each rule is separable: a matrix [new, old] for each axis.

Sources: PyTorch 2.13, torch.nn.functional.interpolate(mode="bicubic", antialias=True); timm 1.0.31,
layers/pos_embed.py, layers/pos_embed_rel.py, layers/patch_embed.py and models/_manipulate.py;
FlexiViT (Beyer et al. 2023), equation 7.
"""

from math import ceil
from typing import Any

import numpy as np

Grid = tuple[int, int]  # height, width
Array = np.ndarray

_A = -0.5  # of the cubic kernel: PyTorch's with antialias, and Pillow's; without antialias -0.75
_RATIOS = 1.01, 1.5  # between which the growth of the distances in a relative table is looked for
_EXACT = 1e-6  # of that ratio


def position_table(table: Array, old: Grid, new: Grid, prefix: int) -> Array:
    """Resample absolute positions: [1, prefix + h w, C] -> [1, prefix + h' w', C].

    Bicubic with antialias, align_corners false. The first `prefix` tokens (class, registers,
    distillation) stay as they are. PyTorch works the weights out in float32, and so do we: their
    rounding, up to 4e-6, is part of its numbers.
    """
    kept, rest = table[:, :prefix], table[:, prefix:]
    grid = rest.reshape(*old, -1)
    rows, columns = (bicubic(*pair, np.float32) for pair in zip(old, new, strict=True))
    moved = _along(grid, rows, columns)
    return np.concatenate([kept, moved.reshape(1, new[0] * new[1], -1)], 1)


def relative_position_table(table: Array, old: Grid, new: Grid, extra: int) -> Array:
    """Resample biases by relative position, [(2h-1) (2w-1) + extra, heads], for another window.

    Linear between unevenly spaced positions: the distance from one to the next grows by a constant
    ratio from the centre, so that those near by keep their biases. If one axis alone changes, timm
    spreads the other one as well, and so do we. The last `extra` rows (to, from and between class
    tokens) stay. [heads, 2h-1, 2w-1] is taken as well.

    Args:
        table: The biases.
        old: Height and width of the window that they are for.
        new: Of the window that they shall be for.
        extra: Rows at the end that stand for class tokens.
    """
    if old == new:
        return table
    sizes = [(2 * o - 1, 2 * n - 1) for o, n in zip(old, new, strict=True)]
    rows, columns = (_spread(*pair) for pair in sizes)
    if table.ndim == 3:
        return _along(table.transpose(1, 2, 0), rows, columns).transpose(2, 0, 1)
    count = len(table) - extra
    grid = table[:count].reshape(sizes[0][0], sizes[1][0], -1)
    moved = _along(grid, rows, columns)
    return np.concatenate([moved.reshape(-1, table.shape[1]), table[count:]])


def patch_kernel(kernel: Array, new: Grid) -> Array:
    """Fit the kernel of a patch embedding to patches of another size: [O, I, h, w].

    The new kernel gives for a resized patch what the old one gave for the patch, as nearly as
    possible: it is multiplied with the pseudo-inverse of the bicubic resize with antialias.
    """
    height, width = kernel.shape[2:]
    rows = np.linalg.pinv(bicubic(height, new[0])).T
    columns = np.linalg.pinv(bicubic(width, new[1])).T
    return _along(kernel.transpose(2, 3, 0, 1), rows, columns).transpose(2, 3, 0, 1)


def input_channels(kernel: Array, base: int, channels: int) -> Array:
    """Fit the kernel of the first convolution, [O, I, h, w], to another number of channels.

    One channel gets the sum of all. More get those there are, over and over, so scaled that equal
    channels give what they gave. A kernel behind a rearrangement of space to depth has a group of
    `base` inputs for each place; these can be summed only.
    """
    out, inputs, height, width = kernel.shape
    if channels == 1:
        return np.asarray(kernel.reshape(out, inputs // base, base, height, width).sum(2))
    repeated = np.tile(kernel, (1, ceil(channels / base), 1, 1))
    return np.asarray(repeated[:, :channels] * (base / channels))


def bicubic(old: int, new: int, number: type[np.floating[Any]] = np.float64) -> Array:
    """Give the weights [new, old] with which one axis is resized: bicubic with antialias.

    Args:
        old: Length of the axis.
        new: Length that it shall have.
        number: What places and distances are worked out in.
    """
    scale = number(old) / number(new)
    wide = max(scale, number(1))  # of a step of the kernel: only an axis that shrinks is smoothed
    centres = (scale * (np.arange(new, dtype=number) + number(0.5)))[:, None]
    first = np.maximum(np.trunc(centres - 2 * wide + number(0.5)), 0)
    last = np.minimum(np.trunc(centres + 2 * wide + number(0.5)), old)
    places = np.arange(old, dtype=number)
    offsets = (places - first) + (first - centres) + number(0.5)
    inside = (places >= first) & (places < last)
    weights = np.where(inside, _cubic(offsets * (number(1) / wide)), 0).astype(np.float64)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _cubic(x: Array) -> Array:
    """Compute the cubic convolution kernel. Source: Keys 1981, equation 4 for a = -0.5."""
    x = np.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * _A - 4 * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _along(grid: Array, rows: Array, columns: Array) -> Array:
    """Apply a matrix to each of the first two axes: [h, w, …] -> [h', w', …]."""
    height, width, *rest = grid.shape
    flat: Array = rows @ grid.astype(np.float64).reshape(height, -1)
    moved: Array = columns @ flat.reshape(len(rows), width, -1)
    return moved.reshape(len(rows), len(columns), *rest)


def _spread(old: int, new: int) -> Array:
    """Give the weights [new, old] along one axis of a relative table; both are odd.

    The old entries are put at distances from the centre that grow by a ratio, so that the outermost
    comes where the new one is. What lies beyond them takes the outermost. timm holds the places in
    float32, and so do we: their rounding is part of its numbers.
    """
    steps = _ratio(old // 2, new // 2) ** np.arange(old // 2, dtype=np.float64)
    half = np.cumsum(steps)
    places = np.concatenate([-half[::-1], [0.0], half]).astype(np.float32)
    asked = np.arange(new, dtype=np.float32) - np.float32(new // 2)
    right = np.searchsorted(places, asked).clip(0, old - 1)
    left = np.maximum(right - 1, 0)
    before = np.maximum(asked - places[left], 0).astype(np.float64)
    after = np.maximum(places[right] - asked, 0).astype(np.float64)
    alone = (before == 0) & (after == 0)
    before[alone] = after[alone] = 1
    weights, row = np.zeros((new, old)), np.arange(new)
    np.add.at(weights, (row, left), after / (before + after))
    np.add.at(weights, (row, right), before / (before + after))
    return weights


def _ratio(count: int, reach: int) -> float:
    """Find the ratio at which the sum of that many distances is `reach`, by halving its range.

    What counts is the last one tried: another that is as near moves the outermost place.
    """
    low, high = _RATIOS
    tried = low
    while high - low > _EXACT:
        tried = (low + high) / 2
        if (1.0 - tried**count) / (1.0 - tried) > reach:
            high = tried
        else:
            low = tried
    return tried
