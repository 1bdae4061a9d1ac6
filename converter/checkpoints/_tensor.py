"""One tensor of a checkpoint file, read when asked for, and the names of data types."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import CheckpointError

# Name used throughout -> how NumPy holds it. bfloat16 and float8 are kept as their bit patterns.
DTYPES: dict[str, np.dtype] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "float8_e4m3fn": np.dtype("u1"),
    "float8_e5m2": np.dtype("u1"),
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


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Attributes:
        shape: Its axes; () for a scalar.
        dtype: A name of `DTYPES`.
        read: Gives the values as a read-only array, without a copy where the file allows it;
            bfloat16 and float8 as unsigned integers holding the bits.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def check_shape(*numbers: Any) -> None:
    """Refuse what a file gives for axes, strides or offsets if it is not made of natural numbers.

    Raises:
        ValueError: A number is negative, or no integer.
    """
    for number in numbers:
        if type(number) is not int or number < 0:
            raise ValueError(f"{number!r} among the axes, strides or offsets of a tensor")


def floats(tensor: Tensor, dtype: str = "float32") -> np.ndarray:
    """Read a floating tensor as float32 or float64, bfloat16 included; integers as they are.

    Raises:
        CheckpointError: float8, which NumPy does not have.
    """
    array = tensor.read()
    if tensor.dtype == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(dtype)
    if tensor.dtype.startswith("float8"):
        raise CheckpointError(f"{tensor.dtype} weights cannot be used; save them as float16.")
    return array.astype(dtype) if array.dtype.kind == "f" else array
