"""Grids of tokens, from the length of a table and the image size that its variant is for."""

import math
from collections.abc import Callable, Iterator

from ._resize_sizes import Grid, Sizes, Subject, by
from .variant import Shape

CLASS_ROWS = (0, 3)  # at the end of a relative table: none, or to, from and between class tokens


def grids(
    subject: Subject,
    sizes: Sizes,
    entries: Callable[[Shape], int],
    count: Callable[[Grid], int],
    extras: range | tuple[int, ...],
) -> tuple[Grid, int, Grid]:
    """Find the grid of a table, its tokens beside the grid, and the grid that is wanted.

    Args:
        subject: The table.
        sizes: Of its variant.
        entries: Counts those of a table by its shape.
        count: How many entries a grid has.
        extras: How many entries there may be besides.
    """
    if not 2 <= len(subject.shape) == len(subject.own) <= 3:
        raise subject.refused(f"expected a table with as many axes as {list(subject.own)}.")
    own, length = entries(subject.own), entries(subject.shape)
    for step in _steps(sizes.image, sizes.patch):
        grid = sizes.image[0] // step[0], sizes.image[1] // step[1]
        if (kept := own - count(grid)) in extras:
            break
    else:
        raise subject.refused(
            f"its {own} entries are not a grid of images of {by(sizes.image)} pixels."
        )
    if sizes.patch and sizes.asked.patch_size:
        new_patch = sizes.asked.patch_size
        step = step[0] // sizes.patch[0] * new_patch[0], step[1] // sizes.patch[1] * new_patch[1]
    new = divided(subject, sizes.new_image, step)
    if length == own:
        return grid, kept, new
    side = _side(length - kept, count)
    if side is None:
        raise subject.refused(
            f"without {kept}, its {length} entries are not a square grid. Only that of the variant "
            f"itself, {by(grid)}, need not be square."
        )
    return (side, side), kept, new


def _steps(image: Grid, patch: Grid | None) -> Iterator[Grid]:
    """Give the distances of tokens, in pixels, that a grid may have, the likely ones first."""
    height, width = patch or (1, 1)
    every = range(1, min(image[0] // height, image[1] // width) + 1)
    steps = [(height * times, width * times) for times in every]
    yield from steps[:1] if patch else ()
    yield from (step for step in steps if not image[0] % step[0] and not image[1] % step[1])
    yield from steps


def divided(subject: Subject, image: Grid, step: Grid) -> Grid:
    """Divide an image into patches.

    Raises:
        ConversionError: It holds none.
    """
    grid = image[0] // step[0], image[1] // step[1]
    if min(grid) < 1:
        raise subject.refused(
            f"an image of {by(image)} pixels holds no token of {by(step)}. Ask for a larger one."
        )
    return grid


def patch_of(subject: Subject, patch: Grid | None) -> Grid:
    if patch is None:
        raise subject.refused("its grid needs a tensor with function 'patch_kernel' in [resize].")
    return patch


def _side(length: int, count: Callable[[Grid], int]) -> int | None:
    """Find the side of the square grid that has so many entries; None if there is none."""
    root = math.isqrt(max(length, 0))
    side = root if count is math.prod else (root + 1) // 2
    return side if side > 0 and count((side, side)) == length else None


def positions(window: Grid) -> int:
    """Count the relative positions in a window."""
    return (2 * window[0] - 1) * (2 * window[1] - 1)


def window_of(subject: Subject, shape: Shape) -> tuple[Grid, int]:
    """Find the window of a table from its shape, and its rows for a class token."""
    if len(shape) == 3 and shape[1] % 2 and shape[2] % 2:
        return ((shape[1] + 1) // 2, (shape[2] + 1) // 2), 0
    for kept in CLASS_ROWS if len(shape) == 2 else ():
        if (side := _side(shape[0] - kept, positions)) is not None:
            return (side, side), kept
    raise subject.refused("expected biases by relative position of a square window.")


def tokens_of(shape: Shape) -> int:
    """Count the entries of a position table, [..., entries, C]."""
    return shape[-2]


def rows_of(shape: Shape) -> int:
    """Count the entries of a table [entries, C], or of a map [heads, rows, columns]."""
    return shape[0] if len(shape) == 2 else math.prod(shape[1:])
