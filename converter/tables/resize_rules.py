"""`[resize]` of a table: key pattern -> the functions that fit such a tensor to another size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checked import shown
from ..errors import nearest
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
from .patterns import PLACEHOLDER

Rules = Mapping[str, tuple[str, ...]]  # PyTorch key pattern -> functions, in the order they run

STAGE = "stage"  # the placeholder that holds the number of a stage


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


def parse_resize(data: Mapping[str, Any], problems: list[str]) -> dict[str, tuple[str, ...]]:
    """Read the section [resize] of a parsed table: key pattern -> functions.

    Args:
        data: The table.
        problems: Gets whatever cannot be.
    """
    section = data.get("resize", {})
    if not isinstance(section, dict):
        problems.append(f"resize is {shown(section)}, expected key patterns with functions.")
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for pattern, cell in section.items():
        names = cell if isinstance(cell, list) else [cell]
        where = f"resize: {shown(pattern, str)}"
        wrong = list(_wrong(pattern, names))
        problems += [f"{where}: {told}" for told in wrong]
        if not wrong:
            found[pattern] = tuple(names)
    return found


def _wrong(pattern: str, names: Sequence[Any]) -> Iterator[str]:
    """Say what is wrong with one entry."""
    if set("{}") & set(PLACEHOLDER.sub("", pattern)):
        yield "a placeholder is a name in braces, such as {i}."
    if not names:
        yield "expected a function, found an empty list."
    for name in names:
        if not isinstance(name, str) or name not in FUNCTIONS:
            meant = nearest(name, FUNCTIONS) if isinstance(name, str) else ""
            meant = meant or f" There are: {', '.join(FUNCTIONS)}."
            yield f"function {shown(name)} is unknown.{meant}"
        elif names.count(name) > 1:
            yield f"function {name!r} stands there twice."
        elif name == "window_position_table" and STAGE not in PLACEHOLDER.findall(pattern):
            yield f"{name!r} needs the number of the stage: a placeholder {{{STAGE}}}."
