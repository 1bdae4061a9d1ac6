"""Read and write .pdparams: one pickled dict of name -> NumPy array.

Source of the format: Paddle, python/paddle/framework/io.py, release 3.3.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._errors import CheckpointError
from . import _pickle
from ._tensor import DTYPES, Tensor, check_shape

NAME_TABLE = "StructuredToParameterName@@"  # Paddle's own entry beside the tensors

# Paddle stores bfloat16 as uint16 and reads any uint16 as bfloat16; float8 it cannot tell apart.
_WRITABLE = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "b1",
    "complex64": "c8",
    "complex128": "c16",
}
_READABLE = {code: name for name, code in _WRITABLE.items()}

_BLOCK = 4 << 20  # bytes transposed and written at a time


# -- reading


def read_tree(path: Path, buffer: memoryview) -> Any:
    """Give the pickled object, arrays as lazy `Tensor`, everything else inert.

    Raises:
        CheckpointError: The file is cut short or malformed.
    """
    builders: dict[str, _pickle.Builder] = {
        "collections.OrderedDict": _pickle.ordered_dict,
        "numpy.dtype": _Dtype,
        "_codecs.encode": _encode,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        builders[f"{module}._reconstruct"] = lambda *_: _Array()
    try:
        tree = _pickle.load(buffer, builders)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    _resolve(tree, set())
    return tree


def _encode(text: str, encoding: str) -> memoryview:
    """Stand for the call with which protocol 2 spells bytes."""
    if encoding != "latin1":
        raise ValueError("not how bytes are spelled")
    return memoryview(text.encode("latin1"))


class _Dtype:
    """A pickled numpy.dtype: its code now, its byte order with its state."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str):
            raise TypeError("a dtype that is no text")
        self.code = code
        self.order = "<"

    def set_state(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """A pickled numpy.ndarray, filled by its state."""

    def __init__(self) -> None:
        self.tensor: Tensor | None = None

    def set_state(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        if dtype.code not in _READABLE:
            raise CheckpointError(f"arrays of dtype {dtype.code!r} are not supported")
        name = _READABLE[dtype.code]
        check_shape(*shape)
        size = math.prod(shape) * DTYPES[name].itemsize
        if len(data) != size:
            raise CheckpointError(
                f"an array of {name} {list(shape)} needs {size} bytes, found {len(data)}"
            )

        def read() -> np.ndarray:
            on_disk = DTYPES[name].newbyteorder(dtype.order)
            array: np.ndarray = np.ndarray(shape, on_disk, data, order="F" if fortran else "C")
            return array if dtype.order == "<" else array.astype(DTYPES[name])

        self.tensor = Tensor(tuple(shape), name, read)


def _resolve(tree: Any, seen: set[int], depth: int = 0) -> None:
    """Put tensors in the place of pickled arrays, as deep as wrappers go, each dict once."""
    if not isinstance(tree, dict) or id(tree) in seen or depth > 4:
        return
    seen.add(id(tree))
    tree.pop(NAME_TABLE, None)
    for key, value in tree.items():
        if isinstance(value, _Array) and value.tensor is not None:
            tree[key] = value.tensor
        _resolve(value, seen, depth + 1)


# -- writing

Source = tuple[str, tuple[int, ...], str, Callable[[], np.ndarray]]  # name, shape, dtype, values


def write(file: BinaryIO, tensors: Iterable[Source]) -> Iterator[int]:
    """Write a .pdparams that every Paddle reads, under NumPy 1 and 2 alike, in order.

    The same tensors give the same bytes. Values are fetched tensor by tensor and copied in blocks,
    so that a transposed view never exists as a whole. bfloat16 comes as its bits in uint16.

    Args:
        file: Open for writing in binary.
        tensors: Name, shape, dtype and a function that gives the values.

    Yields:
        The bytes of values written since the last, for a progress display.

    Raises:
        CheckpointError: Paddle has no such dtype in its files.
    """
    file.write(b"\x80\x04}(")  # protocol 4, empty dict, mark
    for name, shape, dtype, values in tensors:
        if dtype not in _WRITABLE:
            raise CheckpointError(f"{name}: a .pdparams file cannot hold {dtype}.")
        size = math.prod(shape) * DTYPES[dtype].itemsize
        file.write(_text(name) + _array_head(shape, _WRITABLE[dtype]) + _bytes_head(size))
        for block in blocks(values()):
            file.write(np.ascontiguousarray(block).data)
            yield block.nbytes
        file.write(b"t" + b"b")  # close the state tuple, set it
    file.write(b"u.")  # put all pairs into the dict, stop


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Cut an array into pieces of about 4 MiB along its first axis, in C order."""
    if array.nbytes <= _BLOCK or array.ndim == 0:
        yield array
        return
    rows = max(1, _BLOCK * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _array_head(shape: tuple[int, ...], code: str) -> bytes:
    """Spell numpy.ndarray up to its bytes, by the module name that all NumPy releases know."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    byte_order = "|" if code in ("i1", "u1", "b1") else "<"
    dtype = b"cnumpy\ndtype\n" + _text(code) + b"\x89\x88\x87R"  # dtype(code, False, True)
    order = b"(K\x03" + _text(byte_order) + b"NNN" + _int(-1) + _int(-1) + b"K\x00tb"
    axes = b"(" + b"".join(_int(n) for n in shape) + b"t"
    return empty + b"(K\x01" + axes + dtype + order + b"\x89"  # version 1, shape, dtype, C order


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def _int(number: int) -> bytes:
    if -(2**31) <= number < 2**31:
        return b"J" + number.to_bytes(4, "little", signed=True)
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)


def _bytes_head(size: int) -> bytes:
    if size < 2**32:
        return b"B" + size.to_bytes(4, "little")
    return b"\x8e" + size.to_bytes(8, "little")
