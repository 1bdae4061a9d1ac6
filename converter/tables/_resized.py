"""A resized tensor: its values are computed when they are first read, and then kept."""

import math
import threading
from collections.abc import Iterator

import numpy as np

from ..checkpoints import DTYPES, FLOATING, Tensor, floats
from ..checkpoints.storage import Storage
from ..errors import CheckpointError, ConversionError
from ._resize_sizes import Change
from .resize_rules import FUNCTIONS

Changes = tuple[tuple[str, Change], ...]  # functions and what each does, in the order they run

_WIDTH = DTYPES["float64"].itemsize


def computed(key: str, tensor: Tensor, changes: Changes) -> Tensor:
    """Make the resized tensor, of the stored dtype. Reads nothing yet.

    Raises:
        ConversionError: The tensor does not hold floating numbers.
    """
    if tensor.dtype not in FLOATING:
        raise ConversionError(
            f"{key}: {tensor.dtype} cannot be resized, expected floating numbers. Leave the size "
            f"as it is."
        )
    shape = changes[-1][1].shape
    strides = tuple(_WIDTH * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    storage = _Computed(tensor, changes)
    return Tensor(shape, tensor.dtype, storage, 0, strides, "float64")


class _Computed(Storage):
    """Values in float64; who reads them rounds them to the dtype, by way of float32."""

    def __init__(self, source: Tensor, changes: Changes) -> None:
        self.source = source
        self.changes = changes
        self.size = _WIDTH * math.prod(changes[-1][1].shape)
        self.lock = threading.Lock()  # two threads read
        self.data: memoryview | None = None

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer.

        Raises:
            CheckpointError: The stored values cannot be read, are not finite, or are such as a
                function cannot resize.
        """
        with self.lock:
            if self.data is None:
                self.data = self._compute()
        buffer[:] = self.data[at : at + len(buffer)]

    def _compute(self) -> memoryview:
        values = floats(self.source, "float64")
        if not np.isfinite(values).all():
            raise CheckpointError(
                "holds values that are not finite, which resizing would spread. Choose another "
                "file, or leave the size as it is."
            )
        for name, change in self.changes:
            try:
                values = FUNCTIONS[name].compute(values, change, self.source.dtype)
            except ConversionError as error:
                raise CheckpointError(error) from error
            assert values.shape == change.shape, (name, values.shape, change)
        return np.ascontiguousarray(values, np.float64).reshape(-1).view(np.uint8).data

    def checked(self) -> Iterator[Storage]:
        """Give the checked parts of what is stored."""
        yield from self.source.storage.checked()
