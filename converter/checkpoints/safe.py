"""Read and lay out .safetensors: an eight-byte length, a JSON header, then the tensors.

Source of the format: https://github.com/huggingface/safetensors, README, "Format".
"""

import json
from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from ._tensor import DTYPES, Tensor, view
from .storage import File, Part
from .writing import Layout

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

# Bytes. The reference implementation reads up to 100 million; 200,000 tensors need 24 million.
_MOST_HEADER = 32_000_000

_LONGEST_NAME = 4096  # bytes
_ALIGNMENT = 8  # bytes


# -- reading


def header_length(head: bytes) -> int:
    """Decode the length of the header from the first eight bytes."""
    return int.from_bytes(head[:8], "little")


def looks_like(head: bytes) -> bool:
    """Tell whether a file begins like a .safetensors."""
    return len(head) >= 10 and head[8:9] == b"{" and header_length(head) < 1 << 32


def read_tree(file: File) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Give the tensors by name, in file order, each read when asked for, and the metadata.

    Raises:
        CheckpointError: The header is malformed, or the tensors do not fill the file.
    """
    length = header_length(file.read(0, 8))
    if length > _MOST_HEADER:
        raise CheckpointError(
            f"the file states a header of {length} bytes; the limit is {_MOST_HEADER}."
        )
    if file.size < 8 + length:
        raise CheckpointError(
            f"cut short: the header alone has {length} bytes, the file {file.size}."
        )
    data = Part(file, 8 + length, file.size - 8 - length)
    try:
        text = file.read(8, length).decode("utf-8")
        header = json.loads(text, object_pairs_hook=_no_duplicates)
        metadata = _texts(header.pop("__metadata__", {}))
        entries = sorted(header.items(), key=lambda entry: tuple(entry[1]["data_offsets"]))
        tensors = {name: _tensor(name, entry, data) for name, entry in entries}
        _check_filled(entries, data.size)
        return tensors, metadata
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(f"malformed safetensors header: {error!r:.200}") from error


def _texts(metadata: Any) -> dict[str, str]:
    """Give the texts of a header, as safetensors itself: null is none, a number an error."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(
            f"malformed safetensors header: __metadata__ is {metadata!r:.100}; expected texts "
            f"alone, as safetensors itself, which refuses this file, too. Save it again with "
            f"texts, such as {{'step': '7'}}."
        )
    return metadata


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _tensor(name: str, entry: dict[str, Any], data: Part) -> Tensor:
    if len(name.encode()) > _LONGEST_NAME:  # half a surrogate pair cannot be encoded
        raise CheckpointError(f"a tensor with a name of {len(name)} characters.")
    begin, end = entry["data_offsets"]
    if entry["dtype"] not in _DTYPES:
        raise CheckpointError(f"{name}: dtype {entry['dtype']!r:.60} is not supported.")
    dtype = _DTYPES[entry["dtype"]]
    if not (type(begin) is int and type(end) is int and 0 <= begin <= end <= data.size):
        raise CheckpointError(
            f"{name}: the header places it at bytes {begin!r:.30} to {end!r:.30} of {data.size}. "
            f"The file is cut short or damaged."
        )
    tensor = view(Part(data, begin, end - begin), dtype, entry["shape"])
    if tensor.nbytes != end - begin:
        raise CheckpointError(
            f"{name}: {dtype} {list(tensor.shape)} needs {tensor.nbytes} bytes, it has "
            f"{end - begin}."
        )
    return tensor


def _check_filled(entries: list[tuple[str, Any]], size: int) -> None:
    """Check that the tensors follow one another without gaps or overlaps, to the end."""
    at = 0
    for name, entry in entries:
        begin, end = entry["data_offsets"]
        if begin != at:
            kind = "overlaps the tensor before it" if begin < at else "leaves a gap before it"
            raise CheckpointError(f"{name}: {kind}, at byte {begin}.")
        at = end
    if at != size:
        raise CheckpointError(f"the tensors end at byte {at}, the file at {size}.")


# -- writing


def layout(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Layout:
    """Lay out a .safetensors.

    Larger elements come first, as the reference implementation does, so that every tensor begins at
    a multiple of its element size; among equals the order stays.

    Raises:
        CheckpointError: A tensor has a dtype that the format cannot hold.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise CheckpointError(f"{name}: a .safetensors file cannot hold {tensor.dtype}.")
    ordered = sorted(tensors.items(), key=lambda item: -DTYPES[item[1].dtype].itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, tensor in ordered:
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": tensor.shape,
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    made = Layout()
    made.add(len(text).to_bytes(8, "little") + text)
    for name, tensor in ordered:
        made.add_tensor(name, tensor)
    return made
