"""One tensor of a checkpoint file: a strided view of bytes, read when asked for.

A transposed tensor is a view of the same bytes with its axes exchanged, a piece is a smaller view;
one routine, `gather`, reads them all. `arranging` makes tensors of several others.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .storage import CHUNK, Held, Shaped, Storage

# Name used throughout -> how NumPy holds it. bfloat16 and float8 are kept as their bit patterns.
DTYPES: dict[str, np.dtype] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "float8_e4m3fn": np.dtype("u1"),
    "float8_e5m2": np.dtype("u1"),
    "float8_e4m3fnuz": np.dtype("u1"),
    "float8_e5m2fnuz": np.dtype("u1"),
    "float8_e8m0fnu": np.dtype("u1"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
    "complex64": np.dtype("<c8"),
    "complex128": np.dtype("<c16"),
}

FLOATING = ("float64", "float32", "float16", "bfloat16")

BLOCK = 16 << 20  # bytes of a tensor handled at a time
_GAP = 8 << 10  # bytes between two runs; beyond that, each run is read by itself
_LINE = 64  # bytes of a cache line
_CAST = 1 << 16  # elements cast at a time

# A tensor that repeats its storage (torch's expand) may have up to this many bytes.
_MOST_EXPANDED = 1 << 28
_MOST = 1 << 62  # bytes or elements; NumPy counts with 64 bits
_MOST_AXES = 32  # the limit of NumPy 1

_scratch = threading.local()


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Attributes:
        shape: Its axes; () for a scalar.
        dtype: A name of `DTYPES`, the dtype that `read` gives.
        storage: The bytes it views.
        offset: Position of the first element in the storage, in bytes.
        strides: Distance from one index to the next, by axis, in bytes.
        stored: The dtype of the bytes; differs from `dtype` if `read` casts them.
        big_endian: Whether the bytes of an element come in the other order.
        lost: Filled by a cast: part that was read -> how many of its values became zero, and the
            largest.
    """

    shape: tuple[int, ...]
    dtype: str
    storage: Storage
    offset: int
    strides: tuple[int, ...]
    stored: str
    big_endian: bool = False
    lost: dict[tuple[int, ...], tuple[int, float]] = field(default_factory=dict, compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def read(self) -> np.ndarray:
        """Give the values; bfloat16 and float8 as unsigned integers holding the bits.

        Raises:
            CheckpointError: The file cannot be read, or a value does not fit the dtype.
        """
        out = np.empty(self.shape, DTYPES[self.dtype])
        self.read_into(out)
        return out

    def read_into(self, out: np.ndarray) -> None:
        """Read into an array of the shape and dtype, in C order."""
        raw = out if self.dtype == self.stored else np.empty(self.shape, DTYPES[self.stored])
        if raw.size:
            gather(self.storage, raw, self.offset, self.strides)
        if self.big_endian:
            raw.byteswap(inplace=True)
        if raw is not out:
            wide, narrow = raw.reshape(-1), out.reshape(-1)
            for at in range(0, raw.size, _CAST):
                part = wide[at : at + _CAST]
                place = (id(self.storage), self.offset, *self.shape, at)
                narrow[at : at + _CAST] = _narrowed(part, self.stored, self.dtype)
                if lost := _vanished(part, narrow[at : at + _CAST], self.stored, self.dtype):
                    self.lost[place] = lost

    def transposed(self) -> "Tensor":
        """Give the view with its axes in reverse order."""
        return replace(self, shape=self.shape[::-1], strides=self.strides[::-1])

    def cast(self, dtype: str) -> "Tensor":
        """Give the tensor as another floating dtype, rounded to nearest even."""
        return replace(self, dtype=dtype, lost={})

    def vanished(self) -> tuple[int, float]:
        """Count the values read so far that a cast made zero, though they were not; the largest."""
        found = list(self.lost.values())
        return sum(count for count, _ in found), max((most for _, most in found), default=0.0)

    def region(self, start: tuple[int, ...], shape: tuple[int, ...]) -> "Tensor":
        """Give the view of a part: the index where it starts, and its shape."""
        skip = sum(n * stride for n, stride in zip(start, self.strides, strict=True))
        return replace(self, shape=shape, offset=self.offset + skip)

    def pieces(self) -> Iterator[tuple[tuple[int, ...], "Tensor"]]:
        """Cut into parts of at most `BLOCK` bytes: where each starts, and the part.

        A transposed tensor is cut into tiles, so that runs of bytes are thousands long both in the
        file it is read from and in the file it is written to, however large it is.
        """
        yield from _cut(self, (0,) * len(self.shape))


def _cut(part: Tensor, start: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    size = math.prod(part.shape) * max(DTYPES[d].itemsize for d in (part.dtype, part.stored))
    if size <= BLOCK:
        if size:
            yield start, part
        return
    axes = [axis for axis, length in enumerate(part.shape) if length > 1]
    first, widest = axes[0], max(axes, key=part.strides.__getitem__)
    steps = list(part.shape)
    if part.strides[first] == part.strides[widest]:
        steps[first] = max(1, BLOCK * part.shape[first] // size)
    else:
        lengths = part.shape[first], part.shape[widest]
        room = max(1, BLOCK * lengths[0] * lengths[1] // size)  # pairs of indices
        side = math.isqrt(room)
        steps[widest] = min(lengths[1], max(side, room // lengths[0]))
        steps[first] = max(1, min(lengths[0], room // steps[widest]))
    for index in np.ndindex(*(-(-n // step) for n, step in zip(part.shape, steps, strict=True))):
        at = tuple(i * step for i, step in zip(index, steps, strict=True))
        shape = tuple(min(s, n - a) for s, n, a in zip(steps, part.shape, at, strict=True))
        yield from _cut(part.region(at, shape), tuple(map(sum, zip(start, at, strict=True))))


def runs(
    whole: tuple[int, ...], start: tuple[int, ...], shape: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
    """Find where the elements of a part lie in a whole in C order.

    Yields:
        First element and number of each run, in the order of the part.
    """
    split = len(shape)  # the axes from here on lie in one run
    while split and (split == len(shape) or shape[split] == whole[split]):
        split -= 1
    length = math.prod(shape[split:])
    strides = [math.prod(whole[axis + 1 :]) for axis in range(len(whole))]
    begin = sum(n * stride for n, stride in zip(start, strides, strict=True))
    for index in np.ndindex(*shape[:split]):
        yield begin + sum(i * stride for i, stride in zip(index, strides, strict=False)), length


def view(
    storage: Storage,
    dtype: str,
    shape: Any,
    offset: Any = 0,
    strides: Any = None,
    big_endian: bool = False,
) -> Tensor:
    """View bytes of a file as a tensor, after checking what the file states about it.

    Args:
        storage: The bytes.
        dtype: A name of `DTYPES`.
        shape: The axes.
        offset: The first element, in elements.
        strides: In elements; C order if None.
        big_endian: The order of bytes.

    Raises:
        CheckpointError: The view reaches beyond the storage, or repeats it too often.
        ValueError: A number is negative or not an integer.
    """
    shape, width = check_axes(shape), DTYPES[dtype].itemsize
    check_axes([offset])
    size = math.prod(shape) * width
    if strides is None:
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    strides = check_axes(strides)
    what = f"a tensor of {dtype} {list(shape)}"
    if math.prod(n or 1 for n in shape) * width > _MOST:
        raise CheckpointError(f"{what} is larger than any memory.")
    if len(shape) != len(strides) or _overlap(shape, strides):
        raise CheckpointError(
            f"{what} has strides {list(strides)}; expected one per axis, without overlap."
        )
    if size > max(storage.size, _MOST_EXPANDED):
        raise CheckpointError(
            f"{what} needs {size} bytes, its storage has {storage.size}; the limit is "
            f"{_MOST_EXPANDED}."
        )
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size and (last + 1) * width > storage.size:
        raise CheckpointError(
            f"{what}, strides {list(strides)}, offset {offset}, needs {(last + 1) * width} bytes "
            f"of a storage of {storage.size}."
        )
    in_bytes = tuple(step * width for step in strides)
    return Tensor(shape, dtype, storage, offset * width, in_bytes, dtype, big_endian)


def held(array: np.ndarray) -> Tensor:
    """Make a tensor of values in memory."""
    return view(Held(np.ascontiguousarray(array).tobytes()), str(array.dtype), array.shape)


def check_axes(numbers: Any) -> tuple[int, ...]:
    """Check that axes, strides or offsets from a file are a few natural numbers.

    This comes before anything is computed or printed: numbers of a megabyte each, or a million of
    them, would take minutes.

    Raises:
        CheckpointError: There are too many, or one is too large.
        ValueError: One is negative or not an integer.
    """
    found = tuple(numbers)
    if len(found) > _MOST_AXES:
        raise CheckpointError(f"a tensor of {len(found)} axes; the limit is {_MOST_AXES}.")
    if any(type(number) is not int or number < 0 for number in found):
        raise ValueError("axes, strides or offsets that are not natural numbers")
    if any(number > _MOST for number in found):
        raise CheckpointError("a tensor whose axes or strides are larger than any memory.")
    return found


def _overlap(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tell whether elements share bytes other than by stride 0, which repeats a whole axis."""
    reach = 0  # of the axes so far, from the first to the last element
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if stride and length > 1:
            if stride <= reach:
                return True
            reach += stride * (length - 1)
    return False


# -- reading


def gather(storage: Storage, out: np.ndarray, offset: int, strides: tuple[int, ...]) -> None:
    """Copy a strided view of a storage into an array, reading at most `CHUNK` bytes at a time.

    A larger view is cut along the axis with the largest stride, so that the file is read from
    front to back.
    """
    if isinstance(storage, Shaped):
        storage.fill(out, offset, strides)
        return
    with _chunk() as buffer:
        _gather(storage, out, offset, strides, buffer)


def _gather(
    storage: Storage, out: np.ndarray, offset: int, strides: tuple[int, ...], buffer: memoryview
) -> None:
    axes = [axis for axis, length in enumerate(out.shape) if length > 1]
    if out.flags.c_contiguous and all(strides[axis] == out.strides[axis] for axis in axes):
        storage.read_into(offset, out.reshape(-1).view(np.uint8).data)
        return
    extent = out.itemsize + sum((out.shape[axis] - 1) * strides[axis] for axis in axes)
    if extent <= CHUNK:
        storage.read_into(offset, buffer[:extent])
        _copy(out, np.ndarray(out.shape, out.dtype, buffer, 0, strides))
        return
    axis = max(axes, key=strides.__getitem__)
    stride = strides[axis]
    run = extent - (out.shape[axis] - 1) * stride  # bytes from the first to the last of one index
    before = (slice(None),) * axis
    if stride - run <= _GAP or run > CHUNK:
        step = max(1, (CHUNK - run) // stride + 1)
        for start in range(0, out.shape[axis], step):
            part = out[(*before, slice(start, start + step))]
            _gather(storage, part, offset + start * stride, strides, buffer)
        return
    step = CHUNK // run
    packed = (*strides[:axis], run, *strides[axis + 1 :])
    for start in range(0, out.shape[axis], step):
        part = out[(*before, slice(start, start + step))]
        for i in range(part.shape[axis]):
            piece = buffer[i * run : (i + 1) * run]
            storage.read_into(offset + (start + i) * stride, piece)
        _copy(part, np.ndarray(part.shape, out.dtype, buffer, 0, packed))


@contextmanager
def _chunk() -> Iterator[memoryview]:
    """Lend a buffer of this thread; a storage that reads other tensors needs one more meanwhile."""
    if not hasattr(_scratch, "buffers"):
        _scratch.buffers = []
    buffer = _scratch.buffers.pop() if _scratch.buffers else memoryview(bytearray(CHUNK))
    try:
        yield buffer
    finally:
        _scratch.buffers.append(buffer)


def _copy(out: np.ndarray, values: np.ndarray) -> None:
    """Copy an array; a transposed one by strips that fill whole cache lines, which is faster."""
    if values.ndim < 2 or values.strides[-1] < max(values.strides):
        out[...] = values
        return
    step = max(1, _LINE // out.itemsize)
    for start in range(0, out.shape[-1], step):
        out[..., start : start + step] = values[..., start : start + step]


# -- floating types


def floats(tensor: Tensor, dtype: str = "float32") -> np.ndarray:
    """Read a floating tensor as float32 or float64, bfloat16 included; integers as they are.

    Raises:
        CheckpointError: The tensor is float8, which NumPy does not have.
    """
    if tensor.dtype.startswith("float8"):
        raise CheckpointError(f"{tensor.dtype} weights cannot be used; save them as float16.")
    array = tensor.read()
    if tensor.dtype not in FLOATING:
        return array
    return np.asarray(_widened(array, tensor.dtype), dtype)


def _widened(array: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _narrowed(array: np.ndarray, stored: str, dtype: str) -> np.ndarray:
    """Round floating values to a dtype as PyTorch does: by way of float32, to nearest even.

    Raises:
        CheckpointError: A finite value would become infinite.
    """
    wide = _widened(array, stored)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded: np.ndarray = wide.astype(np.float32)
        if dtype == "float16":
            rounded = rounded.astype(np.float16)
        elif dtype == "bfloat16":
            is_nan, bits = np.isnan(rounded), rounded.view(np.uint32)
            rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
            rounded[is_nan] = 0x7FC0
        lost = np.isinf(_widened(rounded, dtype)) & np.isfinite(wide)
    if lost.any():
        largest = np.abs(wide[lost]).max()
        raise CheckpointError(
            f"a value of {largest:.4g} is too large for {dtype}. Use bfloat16, or keep the stored "
            f"dtype."
        )
    return rounded


def _vanished(
    array: np.ndarray, rounded: np.ndarray, stored: str, dtype: str
) -> tuple[int, float] | None:
    """Count the values that rounding made zero, though they were not, and give the largest."""
    zero = rounded == 0 if dtype != "bfloat16" else rounded & 0x7FFF == 0
    if not zero.any():
        return None
    sizes = np.abs(_widened(array[zero], stored))
    sizes = sizes[sizes > 0]
    return (len(sizes), float(sizes.max())) if len(sizes) else None
