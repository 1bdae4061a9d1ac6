"""What a resized tensor becomes: shapes and sizes -> a change, before any value is read.

No framework is asked: the grid of a table follows from its length and the image size that its
variant was published for.
"""

import math

from ._resize_grids import (
    CLASS_ROWS,
    divided,
    grids,
    patch_of,
    positions,
    rows_of,
    tokens_of,
    window_of,
)
from ._resize_sizes import Change, Grid, Sizes, Subject, by
from .variant import Shape

_MOST_PREFIX = 16  # class, distillation and register tokens of a position table


def aim_positions(subject: Subject, sizes: Sizes) -> Change | None:
    """Absolute positions, [..., prefix + h w, C]."""
    old, kept, new = grids(subject, sizes, tokens_of, math.prod, range(_MOST_PREFIX + 1))
    if old == new:
        return None
    shape = (*subject.shape[:-2], kept + math.prod(new), subject.shape[-1])
    what = f"{by(old)} -> {by(new)} tokens, bicubic with antialias"
    what += f", the first {kept} as they were" if kept else ""
    return Change(shape, old, new, kept, what)


def aim_rotary(subject: Subject, sizes: Sizes) -> Change | None:
    """Rotary tables, [h w, D]."""
    if len(subject.shape) != 2:
        raise subject.refused("expected a rotary table of two axes.")
    old, _kept, new = grids(subject, sizes, rows_of, math.prod, (0,))
    if old == new:
        return None
    what = f"{by(old)} -> {by(new)} tokens, worked out anew"
    return Change((math.prod(new), subject.shape[1]), old, new, 0, what)


def aim_relative(subject: Subject, sizes: Sizes) -> Change | None:
    """Biases by relative position where the whole grid is one window."""
    old, kept, new = grids(subject, sizes, rows_of, positions, CLASS_ROWS)
    return _relative(subject, old, new, kept)


def aim_windowed(subject: Subject, sizes: Sizes) -> Change | None:
    """Biases by relative position in windows of a fixed size, or of the whole map if smaller."""
    assert subject.stage is not None, "checked when the table is parsed"
    own, kept = window_of(subject, subject.own)
    own = sizes.asked.window or own
    grid = divided(subject, sizes.new_image, patch_of(subject, sizes.new_patch))
    for _ in range(subject.stage):
        grid = (grid[0] + 1) // 2, (grid[1] + 1) // 2
    new = min(own[0], grid[0]), min(own[1], grid[1])
    old, found = window_of(subject, subject.shape)
    if found != kept:
        raise subject.refused(f"expected {kept} rows for a class token, found {found}.")
    return _relative(subject, old, new, kept)


def aim_patch(subject: Subject, sizes: Sizes) -> Change | None:
    """Patch kernels, [O, I, h, w]."""
    if len(subject.shape) != 4:
        raise subject.refused("expected the kernel of a patch embedding, [out, in, h, w].")
    old, new = subject.shape[2:], sizes.asked.patch_size or subject.own[2:]
    if old == new:
        return None
    what = f"{by(old)} -> {by(new)} pixels, pseudo-inverse of bicubic with antialias"
    return Change((*subject.shape[:2], *new), old, new, 0, what)


def aim_channels(subject: Subject, sizes: Sizes) -> Change | None:
    """Kernels of the first convolution, [O, I, h, w]."""
    base, wanted = sizes.channels, sizes.asked.in_chans or sizes.channels
    if len(subject.shape) != 4 or subject.shape[1] != subject.own[1]:
        raise subject.refused(f"expected a kernel [out, {subject.own[1]}, h, w].")
    out, inputs, *rest = subject.shape
    if inputs % base:
        raise subject.refused(f"{inputs} inputs are not a multiple of the {base} channels.")
    if wanted == base:
        return None
    if wanted != 1 and inputs != base:
        raise subject.refused(
            f"its {inputs} inputs are {base} channels from {inputs // base} places each; these can "
            f"be summed to 1 channel only, not made {wanted}."
        )
    how = "summed" if wanted == 1 else f"repeated, times {base}/{wanted}"
    what = f"{base} -> {wanted} channels, {how}"
    return Change((out, inputs // base * wanted, *rest), (base,), (wanted,), 0, what)


def _relative(subject: Subject, old: Grid, new: Grid, kept: int) -> Change | None:
    """Make the change of a relative table, [(2h-1) (2w-1) + kept, heads] or [heads, 2h-1, 2w-1]."""
    if old == new:
        return None
    if len(subject.shape) == 3:
        shape: Shape = (subject.shape[0], 2 * new[0] - 1, 2 * new[1] - 1)
    else:
        shape = (positions(new) + kept, subject.shape[1])
    what = f"window of {by(old)} -> {by(new)} tokens, linear between geometric steps"
    what += f", the last {kept} rows as they were" if kept else ""
    return Change(shape, old, new, kept, what)
