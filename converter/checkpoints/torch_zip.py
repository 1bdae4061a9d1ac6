"""Read what torch.save writes: a zip of one pickle and one uncompressed record per storage.

Source of the format: PyTorch, torch/serialization.py and torch/_utils.py, release 2.13.
"""

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .._errors import CheckpointError
from . import _pickle
from ._tensor import DTYPES, Tensor, check_shape

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}

# An expanded tensor may be larger than its storage, up to this many bytes.
_MOST_EXPANDED = 1 << 28


def read_tree(path: Path, buffer: memoryview) -> Any:
    """Give the saved object, tensors as lazy `Tensor`, everything else inert.

    Args:
        path: The file.
        buffer: Its bytes.

    Raises:
        CheckpointError: The file is cut short or is not what torch.save writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OverflowError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the zip directory at the end of the file is missing: the file is cut short "
            f"or damaged. Copy or download it again."
        ) from error
    pickles = [name for name in records if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(
            f"{path}: a zip file, but not one that torch.save wrote: expected one entry "
            f"<name>/data.pkl, found {len(pickles)} among {len(records)} entries."
        )
    folder = pickles[0].removesuffix("data.pkl")

    def bytes_of(name: str) -> memoryview:
        info = records.get(folder + name)
        if info is None:
            raise CheckpointError(f"{path}: record {name!r} is named but not in the file.")
        return _record(path, buffer, info)

    order = bytes_of("byteorder").tobytes() if folder + "byteorder" in records else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError(f"{path}: unknown byte order {order[:20]!r}.")
    reader = _Storages(path, bytes_of, ">" if order == b"big" else "<")
    return _pickle.load(bytes_of("data.pkl"), reader.builders(), reader.persistent_load)


def _record(path: Path, buffer: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Give the bytes of one stored zip entry without copying them."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise CheckpointError(
            f"{path}: entry {info.filename!r} is compressed; torch.save stores entries plainly. "
            f"The file was packed again by another program."
        )
    header = buffer[info.header_offset : info.header_offset + 30]
    if bytes(header[:4]) != b"PK\x03\x04":
        raise CheckpointError(f"{path}: entry {info.filename!r} has no header where it should.")
    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = info.header_offset + 30 + names
    data = buffer[start : start + info.file_size]
    if len(data) != info.file_size:
        raise CheckpointError(f"{path}: entry {info.filename!r} reaches past the end of the file.")
    return data


class _Storages:
    """What a pickle of torch.save refers to: storages, and the functions that view them."""

    def __init__(
        self, path: Path, bytes_of: Callable[[str], memoryview], order: Literal["<", ">"]
    ) -> None:
        self.path = path
        self.bytes_of = bytes_of
        self.order: Literal["<", ">"] = order

    def persistent_load(self, identity: Any) -> tuple[memoryview, str]:
        """Give the bytes and dtype of the storage with this persistent id."""
        tag, storage_type, key, _location, numel = identity
        if not isinstance(key, str):
            raise TypeError("a storage whose key is no text")
        check_shape(numel)
        type_name = storage_type.name.rpartition(".")[2]
        if tag != "storage" or type_name not in _STORAGES:
            raise CheckpointError(f"{self.path}: storage type {type_name} is not supported.")
        dtype, data = _STORAGES[type_name], self.bytes_of(f"data/{key}")
        if len(data) < numel * DTYPES[dtype].itemsize:
            raise CheckpointError(
                f"{self.path}: storage {key} holds {len(data)} bytes, expected {numel} {dtype}."
            )
        return data, dtype

    def builders(self) -> dict[str, _pickle.Builder]:
        """Name the functions that torch's pickles call, with what stands for them here."""
        return {
            "collections.OrderedDict": _pickle.ordered_dict,
            "torch._utils._rebuild_tensor": self.view,
            "torch._utils._rebuild_tensor_v2": self.view,
            "torch._utils._rebuild_tensor_v3": self.view_as,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        }

    def view(
        self, storage: tuple[memoryview, str], offset: int, size: Any, stride: Any, *_: Any
    ) -> Tensor:
        """View a storage as a tensor; offset and stride count elements."""
        data, dtype = storage
        shape, steps = tuple(size), tuple(stride)
        width = DTYPES[dtype].itemsize
        check_shape(*shape, *steps, offset)
        if len(shape) != len(steps):
            raise CheckpointError(f"{self.path}: a tensor has shape {shape}, stride {steps}.")
        size_in_bytes = math.prod(shape) * width
        if size_in_bytes > max(len(data), _MOST_EXPANDED):
            raise CheckpointError(
                f"{self.path}: a tensor of shape {list(shape)}, stride {list(steps)} repeats a "
                f"storage of {len(data)} bytes to {size_in_bytes}; that much is not believed."
            )
        last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if math.prod(shape) and (last + 1) * width > len(data):
            raise CheckpointError(
                f"{self.path}: a tensor of shape {list(shape)}, stride {list(steps)}, offset "
                f"{offset} needs element {last} of a storage of {len(data) // width}."
            )

        def read() -> np.ndarray:
            dtype_on_disk = DTYPES[dtype].newbyteorder(self.order)
            strides = tuple(step * width for step in steps)
            if not math.prod(shape):
                return np.empty(shape, DTYPES[dtype])
            array: np.ndarray = np.ndarray(shape, dtype_on_disk, data, offset * width, strides)
            return array if self.order == "<" else array.astype(DTYPES[dtype])

        return Tensor(shape, dtype, read)

    def view_as(
        self,
        storage: tuple[memoryview, str],
        offset: int,
        size: Any,
        stride: Any,
        _requires_grad: Any,
        _hooks: Any,
        dtype: _pickle.Global,
        *_: Any,
    ) -> Tensor:
        """View an untyped storage as a tensor of a dtype that has no storage class of its own."""
        name = dtype.name.removeprefix("torch.")
        if name not in DTYPES:
            raise CheckpointError(f"{self.path}: tensors of {name} are not supported.")
        return self.view((storage[0], name), offset, size, stride)
