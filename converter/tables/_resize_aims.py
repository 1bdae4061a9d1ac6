"""What a resized tensor becomes: shapes and sizes -> a change, before any value is read.

No framework is asked: the grid of a table follows from its length and the image size that its
variant was published for.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import ConversionError
from .variant import Shape

Grid = tuple[int, int]  # height, width

_MOST_PREFIX = 16  # class, distillation and register tokens of a position table
_CLASS_ROWS = (0, 3)  # at the end of a relative table: none, or to, from and between class tokens


@dataclass(frozen=True)
class Asked:
    """What the user wants to be otherwise; None where nothing changes.

    Attributes:
        image_size: Height and width in pixels.
        in_chans: Channels of an image.
        patch_size: Height and width of a patch in pixels.
        window: Height and width of an attention window in tokens.
    """

    image_size: Grid | None = None
    in_chans: int | None = None
    patch_size: Grid | None = None
    window: Grid | None = None

    @property
    def grid(self) -> bool:
        """Whether anything is asked that grids of tokens depend on."""
        return any((self.image_size, self.patch_size, self.window))


@dataclass(frozen=True)
class Sizes:
    """What a variant was published for, and what is asked.

    Attributes:
        image: Height and width in pixels that its own shapes are for.
        channels: Of an image.
        patch: Height and width of its patch kernel in pixels; None if [resize] names none.
        asked: What shall be otherwise.
    """

    image: Grid
    channels: int
    patch: Grid | None
    asked: Asked

    @property
    def new_image(self) -> Grid:
        """The image size that is wanted."""
        return self.asked.image_size or self.image

    @property
    def new_patch(self) -> Grid | None:
        """The patch size that is wanted."""
        return self.asked.patch_size or self.patch


@dataclass(frozen=True)
class Subject:
    """One tensor that may change.

    Attributes:
        key: Its PyTorch name.
        shape: What it has.
        own: What the variant has there.
        stage: Number of its stage, if its name says so.
    """

    key: str
    shape: Shape
    own: Shape
    stage: int | None = None

    def refused(self, what: str) -> ConversionError:
        """Make an error about it."""
        return ConversionError(f"{self.key} {list(self.shape)}: {what}")


@dataclass(frozen=True)
class Change:
    """What one function does to one tensor.

    Attributes:
        shape: What it will have.
        old: Its grid, window, patch or number of channels.
        new: The same afterwards.
        kept: Tokens or rows that stay as they are.
        what: All this for people.
    """

    shape: Shape
    old: tuple[int, ...]
    new: tuple[int, ...]
    kept: int
    what: str


def aim_positions(subject: Subject, sizes: Sizes) -> Change | None:
    """Absolute positions, [..., prefix + h w, C]."""
    old, kept, new = _grids(subject, sizes, _tokens_of, math.prod, range(_MOST_PREFIX + 1))
    if old == new:
        return None
    shape = (*subject.shape[:-2], kept + math.prod(new), subject.shape[-1])
    what = f"{_by(old)} -> {_by(new)} tokens, bicubic with antialias"
    what += f", the first {kept} as they were" if kept else ""
    return Change(shape, old, new, kept, what)


def aim_rotary(subject: Subject, sizes: Sizes) -> Change | None:
    """Rotary tables, [h w, D]."""
    if len(subject.shape) != 2:
        raise subject.refused("expected a rotary table of two axes.")
    old, _kept, new = _grids(subject, sizes, _rows_of, math.prod, (0,))
    if old == new:
        return None
    what = f"{_by(old)} -> {_by(new)} tokens, worked out anew"
    return Change((math.prod(new), subject.shape[1]), old, new, 0, what)


def aim_relative(subject: Subject, sizes: Sizes) -> Change | None:
    """Biases by relative position where the whole grid is one window."""
    old, kept, new = _grids(subject, sizes, _rows_of, _positions, _CLASS_ROWS)
    return _relative(subject, old, new, kept)


def aim_windowed(subject: Subject, sizes: Sizes) -> Change | None:
    """Biases by relative position in windows of a fixed size, or of the whole map if smaller."""
    assert subject.stage is not None, "checked when the table is parsed"
    own, kept = _window_of(subject, subject.own)
    own = sizes.asked.window or own
    grid = _divided(subject, sizes.new_image, _patch(subject, sizes.new_patch))
    for _ in range(subject.stage):
        grid = (grid[0] + 1) // 2, (grid[1] + 1) // 2
    new = min(own[0], grid[0]), min(own[1], grid[1])
    old, found = _window_of(subject, subject.shape)
    if found != kept:
        raise subject.refused(f"expected {kept} rows that are no position, found {found}.")
    return _relative(subject, old, new, kept)


def aim_patch(subject: Subject, sizes: Sizes) -> Change | None:
    """Patch kernels, [O, I, h, w]."""
    if len(subject.shape) != 4:
        raise subject.refused("expected the kernel of a patch embedding, [out, in, h, w].")
    old, new = subject.shape[2:], sizes.asked.patch_size or subject.own[2:]
    if old == new:
        return None
    what = f"{_by(old)} -> {_by(new)} pixels, pseudo-inverse of bicubic with antialias"
    return Change((*subject.shape[:2], *new), old, new, 0, what)


def aim_channels(subject: Subject, sizes: Sizes) -> Change | None:
    """Kernels of the first convolution, [O, I, h, w]."""
    base, wanted = sizes.channels, sizes.asked.in_chans or sizes.channels
    if len(subject.shape) != 4 or subject.shape[1] != subject.own[1]:
        raise subject.refused(f"expected a kernel [out, {subject.own[1]}, h, w].")
    out, inputs, *rest = subject.shape
    if inputs % base:
        raise subject.refused(f"{inputs} inputs are no multiple of the {base} channels.")
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


# -- grids


def _grids(
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
            f"its {own} entries are no grid of images of {_by(sizes.image)} pixels."
        )
    if sizes.patch and sizes.asked.patch_size:
        new_patch = sizes.asked.patch_size
        step = step[0] // sizes.patch[0] * new_patch[0], step[1] // sizes.patch[1] * new_patch[1]
    new = _divided(subject, sizes.new_image, step)
    if length == own:
        return grid, kept, new
    side = _side(length - kept, count)
    if side is None:
        raise subject.refused(
            f"without {kept}, its {length} entries are no square grid. Only that of the variant "
            f"itself, {_by(grid)}, may be no square."
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


def _divided(subject: Subject, image: Grid, step: Grid) -> Grid:
    """Divide an image into patches.

    Raises:
        ConversionError: It holds none.
    """
    grid = image[0] // step[0], image[1] // step[1]
    if min(grid) < 1:
        raise subject.refused(
            f"an image of {_by(image)} pixels holds no token of {_by(step)}. Ask for a larger one."
        )
    return grid


def _patch(subject: Subject, patch: Grid | None) -> Grid:
    if patch is None:
        raise subject.refused("its grid needs a tensor with function 'patch_kernel' in [resize].")
    return patch


def _side(length: int, count: Callable[[Grid], int]) -> int | None:
    """Find the side of the square grid that has so many entries; None if there is none."""
    root = math.isqrt(max(length, 0))
    side = root if count is math.prod else (root + 1) // 2
    return side if side > 0 and count((side, side)) == length else None


def _positions(window: Grid) -> int:
    """Count the relative positions in a window."""
    return (2 * window[0] - 1) * (2 * window[1] - 1)


def _window_of(subject: Subject, shape: Shape) -> tuple[Grid, int]:
    """Find the window of a table from its shape, and its rows that are no position."""
    if len(shape) == 3 and shape[1] % 2 and shape[2] % 2:
        return ((shape[1] + 1) // 2, (shape[2] + 1) // 2), 0
    for kept in _CLASS_ROWS if len(shape) == 2 else ():
        if (side := _side(shape[0] - kept, _positions)) is not None:
            return (side, side), kept
    raise subject.refused("expected biases by relative position of a square window.")


def _relative(subject: Subject, old: Grid, new: Grid, kept: int) -> Change | None:
    """Make the change of a relative table, [(2h-1) (2w-1) + kept, heads] or [heads, 2h-1, 2w-1]."""
    if old == new:
        return None
    if len(subject.shape) == 3:
        shape: Shape = (subject.shape[0], 2 * new[0] - 1, 2 * new[1] - 1)
    else:
        shape = (_positions(new) + kept, subject.shape[1])
    what = f"window of {_by(old)} -> {_by(new)} tokens, linear between geometric steps"
    what += f", the last {kept} rows as they were" if kept else ""
    return Change(shape, old, new, kept, what)


def _tokens_of(shape: Shape) -> int:
    """Count the entries of a position table, [..., entries, C]."""
    return shape[-2]


def _rows_of(shape: Shape) -> int:
    """Count the entries of a table [entries, C], or of a map [heads, rows, columns]."""
    return shape[0] if len(shape) == 2 else math.prod(shape[1:])


def _by(grid: tuple[int, ...]) -> str:
    return "x".join(map(str, grid))
