"""Tensors made of others without reading them: axes split and merged, parts joined or cut out.

Where strides alone can say it, the result is a view of the same bytes. Elsewhere it is a view of a
`Packed` storage, which reads the tensors behind it when asked, as much as is asked for.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ._tensor import DTYPES, Tensor, gather
from .storage import Held, Shaped, Storage

Box = tuple[tuple[int, ...], tuple[int, ...]]  # the index where it starts, and its shape


class Packed(Shaped):
    """The values of tensors of one dtype, in C order, one tensor after the other.

    Args:
        parts: They differ in their first axis at most.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.parts = [part for part in parts if math.prod(part.shape)]
        self.ends = list(accumulate(part.shape[0] for part in self.parts))
        self.shape = (self.ends[-1], *self.parts[0].shape[1:])
        self.type = DTYPES[self.parts[0].dtype]
        self.size = math.prod(self.shape) * self.type.itemsize
        self.strides = _in_order(self.shape, self.type.itemsize)

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer."""
        width = self.type.itemsize
        first, last = at // width, -(-(at + len(buffer)) // width)
        if (last - first) * width != len(buffer):  # it begins or ends within an element
            whole = self.read(first * width, (last - first) * width)
            buffer[:] = whole[at - first * width :][: len(buffer)]
            return
        values = np.frombuffer(buffer, self.type)
        for start, shape in _boxes(self.shape, first, last):
            count = math.prod(shape)
            self._read(values[:count].reshape(shape), start, range(len(shape)))
            values = values[count:]

    def fill(self, out: np.ndarray, offset: int, strides: tuple[int, ...]) -> None:
        """Read a view from each of the tensors, in the order in which it lies in the file.

        An axis of the view is one of the tensors, or runs through neighbours as if they were one.
        One of neither sort is read index by index, as the outer part of an axis that was split.
        """
        start = [offset // s % n for s, n in zip(self.strides, self.shape, strict=True)]
        order: list[int] = []  # of all axes that the view has, those within one together
        runs: list[list[Box]] = []  # of each axis of the view
        for own, (length, stride) in enumerate(zip(out.shape, strides, strict=True)):
            if length == 1:
                continue
            if (run := self._axes_of(stride, start, length)) is None or {*run[0]} & {*order}:
                before = (slice(None),) * own
                for n in range(length):
                    self.fill(out[(*before, slice(n, n + 1))], offset + n * stride, strides)
                return
            axes, first = run
            order += axes
            shape = tuple(self.shape[axis] for axis in axes)
            runs.append(list(_boxes(shape, first, first + length)))
        rest = [axis for axis in range(len(self.shape)) if axis not in order]
        kept = [0 if length == 1 else slice(None) for length in out.shape]
        out = out[(*kept, ...)]
        for boxes, place in _combined(runs):
            at = dict(zip(order, (n for first, _ in boxes for n in first), strict=True))
            shape = (*(n for _, box in boxes for n in box), *[1] * len(rest))
            begin = tuple(at.get(axis, start[axis]) for axis in range(len(start)))
            self._read(out[place].reshape(shape), begin, [*order, *rest])  # splits: no copy

    def _axes_of(
        self, stride: int, start: Sequence[int], length: int
    ) -> tuple[list[int], int] | None:
        """Find which axes an axis of a view runs through, and where it begins in them as one."""
        axes: list[int] = []
        first, size = 0, 1
        for axis in reversed(range(len(self.shape))):
            if self.shape[axis] == 1 or (not axes and self.strides[axis] != stride):
                continue
            axes.insert(0, axis)
            first, size = first + start[axis] * size, size * self.shape[axis]
            if first + length <= size:
                return axes, first
        return None

    def _read(self, out: np.ndarray, start: tuple[int, ...], order: Sequence[int]) -> None:
        """Read a box; `order` says which axis of the tensors each axis of the array is."""
        place = list(order).index(0)
        lengths = [out.shape[list(order).index(axis)] for axis in range(len(order))]
        before = (slice(None),) * place
        first, last = start[0], start[0] + lengths[0]
        for part, end in zip(self.parts, self.ends, strict=True):
            begin = end - part.shape[0]
            low, high = max(first, begin), min(last, end)
            if low < high:
                cut = part.region((low - begin, *start[1:]), (high - low, *lengths[1:]))
                _read_part(permuted(cut, order), out[(*before, slice(low - first, high - first))])

    def checked(self) -> Iterator[Storage]:
        """Give the checked parts of the files behind all tensors, each once."""
        found = {id(one): one for part in self.parts for one in part.storage.checked()}
        yield from found.values()


def zeros(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Give a tensor of zeros; it needs no memory.

    Args:
        shape: Its axes.
        dtype: A name of `DTYPES`.
    """
    one = Held(bytes(DTYPES[dtype].itemsize))
    return Tensor(shape, dtype, one, 0, (0,) * len(shape), dtype)


def part(tensor: Tensor, axis: int, start: int, length: int) -> Tensor:
    """Give a part of a tensor along one axis, as a view.

    Raises:
        CheckpointError: There is no such part.
    """
    has = tensor.shape[axis] if 0 <= axis < len(tensor.shape) else None
    if has is None or not 0 <= start <= start + length <= has:
        raise CheckpointError(
            f"a tensor of {list(tensor.shape)} has no indices {start} to {start + length} along "
            f"axis {axis}."
        )
    begin, shape = [0] * len(tensor.shape), list(tensor.shape)
    begin[axis], shape[axis] = start, length
    return tensor.region(tuple(begin), tuple(shape))


def joined(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join tensors along one of their axes, as a view of all of them.

    Args:
        tensors: At least one; of one dtype, and alike but for the length of that axis.
        axis: From 0 on.

    Raises:
        CheckpointError: They differ in dtype or in another axis, or have no such axis.
    """
    if not tensors:
        raise CheckpointError("nothing to join; expected at least one tensor.")
    dtypes = list(dict.fromkeys(tensor.dtype for tensor in tensors))
    if len(dtypes) > 1:
        raise CheckpointError(
            f"cannot join tensors of {' and '.join(dtypes)}; expected one dtype for all of them. "
            f"Cast the checkpoint first, or convert it with --dtype."
        )
    first = tensors[0].shape
    alike = {(*t.shape[:axis], None, *t.shape[axis + 1 :]) for t in tensors}
    if not 0 <= axis < len(first) or len(alike) > 1:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors)
        raise CheckpointError(
            f"cannot join {shapes} along axis {axis}; expected that the other axes are alike."
        )
    if len(tensors) == 1:
        return tensors[0]
    length = sum(tensor.shape[axis] for tensor in tensors)
    whole = (*first[:axis], length, *first[axis + 1 :])
    parts = [tensor for tensor in tensors if math.prod(tensor.shape)]
    if not parts:
        return zeros(whole, dtypes[0])
    # Values that all are cast alike are cast when they are joined.
    stored = parts[0].stored
    if any(tensor.stored != stored for tensor in parts):
        stored = dtypes[0]
    lost = dict[tuple[int, ...], tuple[int, float]]()
    if stored != dtypes[0]:
        parts = [replace(tensor, dtype=stored) for tensor in parts]
    else:
        parts = [replace(tensor, lost=lost) for tensor in parts]
    widest = max(parts, key=lambda tensor: max(tensor.strides))
    others = sorted((a for a in range(len(first)) if a != axis), key=lambda a: -widest.strides[a])
    order = [axis, *others]
    packed = _packed([permuted(tensor, order) for tensor in parts])
    made = permuted(packed, [order.index(a) for a in range(len(first))])
    return replace(made, dtype=dtypes[0], lost=lost)


def permuted(tensor: Tensor, order: Sequence[int]) -> Tensor:
    """Give the view with its axes in another order: of each new axis, which one it was."""
    shape = tuple(tensor.shape[axis] for axis in order)
    return replace(tensor, shape=shape, strides=tuple(tensor.strides[axis] for axis in order))


def arranged(tensor: Tensor, split: Sequence[int], groups: Sequence[Sequence[int]]) -> Tensor:
    """Split the axes of a tensor, put them in another order, and merge them anew.

    Args:
        tensor: The tensor.
        split: The lengths its axes are split into, all in one list; those of one axis multiply to
            its length. An axis of length 1 may be left out.
        groups: Of each axis of the result, which of these it is made of, the outermost first; none
            for an axis of length 1.

    Returns:
        A view of the same bytes if strides can express it, or else one that reads them when asked.

    Raises:
        CheckpointError: The lengths are not those of the tensor, or one is left out or used twice.
    """
    used = [axis for group in groups for axis in group]
    if math.prod(split) != math.prod(tensor.shape) or sorted(used) != [*range(len(split))]:
        raise CheckpointError(
            f"cannot arrange {list(tensor.shape)} as {list(split)}, {list(map(list, groups))}."
        )
    shape = tuple(math.prod(split[axis] for axis in group) for group in groups)
    if not math.prod(shape):
        width = DTYPES[tensor.stored].itemsize
        return replace(tensor, shape=shape, strides=_in_order(shape, width))
    steps = _split(tensor, split)
    merged = [_merged([split[a] for a in group], [steps[a] for a in group]) for group in groups]
    strides = [step for step in merged if step is not None]
    if len(strides) == len(groups):
        return replace(tensor, shape=shape, strides=tuple(strides))
    # The axes of the packed bytes keep the order of the file as far as their groups permit.
    order = sorted(range(len(groups)), key=lambda g: -max((steps[a] for a in groups[g]), default=0))
    axes = [axis for group in order for axis in groups[group]]
    loose = replace(
        tensor,
        dtype=tensor.stored,
        shape=tuple(split[axis] for axis in axes),
        strides=tuple(steps[axis] for axis in axes),
    )
    packed = _packed([loose])
    made = replace(
        packed,
        shape=tuple(shape[group] for group in order),
        strides=_in_order(tuple(shape[group] for group in order), DTYPES[tensor.stored].itemsize),
    )
    made = permuted(made, [order.index(group) for group in range(len(groups))])
    return replace(made, dtype=tensor.dtype, lost=tensor.lost)


def _packed(parts: Sequence[Tensor]) -> Tensor:
    """View the values of tensors one after the other as one tensor."""
    storage = Packed(parts)
    dtype = parts[0].dtype
    return Tensor(storage.shape, dtype, storage, 0, storage.strides, dtype)


def _split(tensor: Tensor, split: Sequence[int]) -> list[int]:
    """Find the strides of axes that the axes of a tensor are split into."""
    found: list[int] = []
    lengths = list(split)
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        size = 1
        while lengths and size < length:
            found.append(stride * size)
            size *= lengths.pop()
        if size != length:
            raise CheckpointError(f"cannot split {list(tensor.shape)} into {list(split)}.")
    while lengths and lengths.pop() == 1:
        found.append(0)
    if len(found) != len(split):
        raise CheckpointError(f"cannot split {list(tensor.shape)} into {list(split)}.")
    return found[::-1]


def _merged(lengths: Sequence[int], strides: Sequence[int]) -> int | None:
    """Give the one stride of axes as one; None if there is none."""
    pairs = [(n, step) for n, step in zip(lengths, strides, strict=True) if n > 1]
    for (_, outer), (length, inner) in pairwise(pairs):
        if outer != inner * length:
            return None
    return pairs[-1][1] if pairs else 0


def _in_order(shape: tuple[int, ...], width: int) -> tuple[int, ...]:
    """Give the strides of C order, in bytes."""
    return tuple(math.prod(shape[axis + 1 :]) * width for axis in range(len(shape)))


def _boxes(shape: tuple[int, ...], first: int, last: int) -> Iterator[Box]:
    """Divide a range of elements in C order into boxes, in order."""
    size = math.prod(shape[1:])
    if not shape or first >= last:
        if first < last:
            yield (), ()
        return
    row, skip = divmod(first, size)
    if skip or last - first < size:
        stop = min(last, (row + 1) * size)
        for start, box in _boxes(shape[1:], skip, stop - row * size):
            yield (row, *start), (1, *box)
        first, row = stop, row + 1
    if rows := (last - first) // size:
        yield (row, *[0] * (len(shape) - 1)), (rows, *shape[1:])
        first, row = first + rows * size, row + rows
    if first < last:
        for start, box in _boxes(shape[1:], 0, last - first):
            yield (row, *start), (1, *box)


def _combined(runs: Sequence[Sequence[Box]]) -> Iterator[tuple[list[Box], Any]]:
    """Combine the boxes of every axis with those of the others, and say where they belong."""
    placed = []
    for boxes in runs:
        ends = list(accumulate(math.prod(shape) for _, shape in boxes))
        places = map(slice, [0, *ends], ends)
        placed.append(list(zip(boxes, places, strict=True)))
    for found in product(*placed):
        yield [box for box, _ in found], (*(place for _, place in found), ...)


def _read_part(tensor: Tensor, out: np.ndarray) -> None:
    """Read a tensor into an array that may have any strides."""
    if tensor.dtype != tensor.stored:
        out[...] = tensor.read()
        return
    gather(tensor.storage, out, tensor.offset, tensor.strides)
    if tensor.big_endian:
        out.byteswap(inplace=True)
