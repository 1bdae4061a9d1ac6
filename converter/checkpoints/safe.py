"""Read .safetensors: an eight-byte length, a JSON header, then the tensors.

Source of the format: https://github.com/huggingface/safetensors, README, "Format".
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import CheckpointError
from ._tensor import DTYPES, Tensor, check_shape

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}

_MOST_HEADER = 100_000_000  # bytes; the limit of the reference implementation


def header_length(buffer: memoryview) -> int:
    """Give the length that the first eight bytes announce."""
    return int.from_bytes(buffer[:8], "little")


def looks_like(buffer: memoryview) -> bool:
    """Tell whether a file begins as a .safetensors does."""
    return (
        len(buffer) >= 10 and bytes(buffer[8:9]) == b"{" and header_length(buffer) <= _MOST_HEADER
    )


def read_tree(path: Path, buffer: memoryview) -> dict[str, Tensor]:
    """Give the tensors by name, in file order, each read when asked for.

    Raises:
        CheckpointError: The header is malformed, or the file shorter than it says.
    """
    length = header_length(buffer)
    data = buffer[8 + length :]
    if len(buffer) < 8 + length:
        raise CheckpointError(
            f"{path}: cut short: the header alone has {length} bytes, the file {len(buffer)}."
        )
    try:
        header = json.loads(bytes(buffer[8 : 8 + length]))
        entries = [(name, e) for name, e in header.items() if name != "__metadata__"]
        entries.sort(key=lambda entry: entry[1]["data_offsets"][0])
        return {name: _tensor(path, name, entry, data) for name, entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(f"{path}: malformed safetensors header: {error}") from error


def _tensor(path: Path, name: str, entry: dict[str, Any], data: memoryview) -> Tensor:
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    check_shape(*shape, begin, end)
    if entry["dtype"] not in _DTYPES:
        raise CheckpointError(f"{path}: {name}: dtype {entry['dtype']} is not supported.")
    dtype = _DTYPES[entry["dtype"]]
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if end - begin != size or end > len(data):
        raise CheckpointError(
            f"{path}: {name}: {dtype} {list(shape)} at bytes {begin} to {end} of {len(data)} does "
            f"not fit: it needs {size} bytes. The file is cut short or damaged."
        )

    def read() -> np.ndarray:
        return np.ndarray(shape, DTYPES[dtype], data, begin)

    return Tensor(shape, dtype, read)
