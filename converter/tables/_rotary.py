"""Rotary tables for another grid: sines and cosines that follow from the places alone.

Source: timm 1.0.31, layers/pos_embed_sincos.py, build_rotary_pos_embed with a reference shape, as
EVA-02's official code has it: the places of a grid are stretched over those of the grid that the
model was pretrained with, so that only their density changes.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..errors import ConversionError

Grid = tuple[int, int]  # height, width
Array = np.ndarray

_TEMPERATURE = 10_000.0
_MOST_REFERENCE = 256  # tokens of one side of the pretraining grid
# How far the stored table may be from the rule: rounding of angles up to 64, and of the dtype.
_NEAR = {"bfloat16": 1e-2, "float16": 2e-3}
_NEAR_ELSE = 2e-5


def rotary_table(table: Array, old: Grid, new: Grid, dtype: str) -> Array:
    """Work a rotary table out for another grid: [h w, D] -> [h' w', D].

    D is that of one head, or twice that for sines and cosines side by side. Which of the known
    forms a table has is seen from its values: sines, cosines or both; each angle twice in a row, or
    all angles twice.

    Args:
        table: The stored one.
        old: Its grid.
        new: The grid it shall be for.
        dtype: What it is stored in.

    Raises:
        ConversionError: No known form gives the stored values.
    """
    near = _NEAR.get(dtype, _NEAR_ELSE)
    for waves, is_paired in product(("sin", "cos", "sin cos"), (True, False)):
        width = table.shape[1] // (2 if waves == "sin cos" else 1)
        if width % 4:
            continue
        for reference in _references(table, old, waves, is_paired, width):
            if np.abs(_table(old, reference, waves, is_paired, width) - table).max() <= near:
                return _table(new, reference, waves, is_paired, width)
    raise ConversionError(
        f"is a rotary table of {old[0]}x{old[1]} places that no known rule gives: expected sines "
        f"or cosines of places times {_TEMPERATURE:.0f} ** (-k / bands), rows before columns. If "
        f"the model works it out itself, list it under [ignore]."
    )


def _references(table: Array, old: Grid, waves: str, is_paired: bool, width: int) -> Iterator[Grid]:
    """Find the pretraining grid from the first band, whose frequency is 1."""
    wave = np.cos if waves == "cos" else np.sin
    found = []
    for axis, column in ((0, 0), (1, width // 2 if is_paired else width // 4)):
        places = np.arange(old[axis])
        stored = table.reshape(*old, -1)[:, 0, column] if axis == 0 else table[: old[1], column]
        sizes = np.arange(1, _MOST_REFERENCE + 1)
        angles = places * (sizes[:, None] / old[axis])
        found.append(int(sizes[np.abs(wave(angles) - stored).max(1).argmin()]))
    yield found[0], found[1]


def _table(grid: Grid, reference: Grid, waves: str, is_paired: bool, width: int) -> Array:
    """Compute a table; angles in float32, as timm does."""
    count = width // 4
    exponents = np.arange(count, dtype=np.float32) / np.float32(count)
    bands = np.float32(1) / np.float32(_TEMPERATURE) ** exponents
    places = [
        np.arange(n, dtype=np.float32) / np.float32(n) * np.float32(r)
        for n, r in zip(grid, reference, strict=True)
    ]
    rows, columns = (np.outer(axis, bands) for axis in places)
    angles = np.empty((*grid, 2, count), np.float32)
    angles[:, :, 0], angles[:, :, 1] = rows[:, None], columns[None]
    flat = angles.reshape(-1, 2 * count)
    flat = np.repeat(flat, 2, 1) if is_paired else np.concatenate([flat, flat], 1)
    wide = flat.astype(np.float64)
    return np.concatenate([getattr(np, wave)(wide) for wave in waves.split()], 1)
