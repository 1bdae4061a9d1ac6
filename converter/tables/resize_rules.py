"""`[resize]` of a table: key pattern -> the functions that fit such a tensor to another size."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from . import _resampling
from ._resize_aims import (
    aim_channels,
    aim_patch,
    aim_positions,
    aim_relative,
    aim_rotary,
    aim_windowed,
)
from ._resize_sizes import Change, Sizes, Subject
from ._rotary import rotary_table

Rules = Mapping[str, tuple[str, ...]]  # PyTorch key pattern -> functions, in the order they run


@dataclass(frozen=True)
class Function:
    """One way to resize.

    Attributes:
        aim: Gives what becomes of a tensor, or None if it stays as it is.
        compute: Values in float64, the change, and the stored dtype -> the new values.
        channels: Whether it depends on the channels of an image, not on its size.
    """

    aim: Callable[[Subject, Sizes], Change | None]
    compute: Callable[[np.ndarray, Change, str], np.ndarray]
    channels: bool = False


def _positions(table: np.ndarray, change: Change, _dtype: str) -> np.ndarray:
    flat = table.reshape(1, *table.shape[-2:])
    return _resampling.position_table(flat, *_grids(change), change.kept).reshape(change.shape)


def _relative(table: np.ndarray, change: Change, _dtype: str) -> np.ndarray:
    return _resampling.relative_position_table(table, *_grids(change), change.kept)


def _patch(kernel: np.ndarray, change: Change, _dtype: str) -> np.ndarray:
    return _resampling.patch_kernel(kernel, _grids(change)[1])


def _channels(kernel: np.ndarray, change: Change, _dtype: str) -> np.ndarray:
    return _resampling.input_channels(kernel, change.old[0], change.new[0])


def _rotary(table: np.ndarray, change: Change, dtype: str) -> np.ndarray:
    return rotary_table(table, *_grids(change), dtype)


def _grids(change: Change) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give height and width before and after."""
    (a, b), (c, d) = change.old, change.new
    return (a, b), (c, d)


FUNCTIONS: Mapping[str, Function] = {
    "position_table": Function(aim_positions, _positions),
    "relative_position_table": Function(aim_relative, _relative),
    "window_position_table": Function(aim_windowed, _relative),
    "rotary_table": Function(aim_rotary, _rotary),
    "patch_kernel": Function(aim_patch, _patch),
    "input_channels": Function(aim_channels, _channels, channels=True),
}
