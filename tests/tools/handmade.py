"""Checkpoint files made byte by byte, without any framework and without the writers under test."""

import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# -- pickles, in protocol 2; each function gives the instructions that push one value


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    data = value.to_bytes(size, "little", signed=True)
    return (b"\x8a" + bytes([size]) if size < 256 else b"\x8b" + struct.pack("<i", size)) + data


def row(*values: bytes) -> bytes:
    """Push a tuple."""
    return b"(" + b"".join(values) + b"t"


def several(*values: bytes) -> bytes:
    """Push a list."""
    return b"](" + b"".join(values) + b"e"


def named(*pairs: tuple[str, bytes]) -> bytes:
    """Push a dict."""
    return b"}(" + b"".join(text(name) + value for name, value in pairs) + b"u"


def name_of(function: str) -> bytes:
    module, _, name = function.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def call(function: str, *args: bytes) -> bytes:
    return name_of(function) + row(*args) + b"R"


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


# -- PyTorch


def torch_tensor(
    key: str,
    shape: bytes,
    strides: bytes,
    numel: bytes,
    offset: bytes = b"K\x00",
    storage: str = "FloatStorage",
    more: bytes = b"",
) -> bytes:
    """Push what torch.save writes of a tensor; all numbers are given as instructions.

    The older form says None more of a storage that is not a part of another.
    """
    kind = name_of(f"torch.{storage}")
    identity = row(text("storage"), kind, text(key), text("cpu"), numel, more) + b"Q"
    rest = (offset, shape, strides, b"\x89", call("collections.OrderedDict"))
    return call("torch._utils._rebuild_tensor_v2", identity, *rest)


def plain_tensor(key: str, shape: Sequence[int], storage: str = "FloatStorage") -> bytes:
    """Push a tensor that fills its storage in C order."""
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    rows = [row(*map(number, numbers)) for numbers in (shape, strides)]
    return torch_tensor(key, rows[0], rows[1], number(int(np.prod(shape))), storage=storage)


_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def torch_legacy(
    tree: bytes,
    storages: Mapping[str, tuple[int, bytes]],
    version: bytes = number(1001),
    keys: bytes | None = None,
) -> bytes:
    """Make what torch.save wrote before 1.6; a storage is a number of elements and bytes."""
    named_keys = several(*map(text, storages)) if keys is None else keys
    head = [_MAGIC, *map(pickled, (version, b"}", tree, named_keys))]
    return b"".join(head + [struct.pack("<Q", n) + data for n, data in storages.values()])


@dataclass
class Entry:
    """An entry of a zip; None is what is right."""

    name: str | bytes
    data: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    packed: int | None = None
    size: int | None = None
    header: int | None = None
    local_name: bytes | None = None
    local_extra: bytes = b""
    moved: int = 0  # by how much more the local header says that its extra field is long


def deflated(name: str, data: bytes, size: int | None = None) -> Entry:
    machine = zlib.compressobj(9, wbits=-15)
    packed = machine.compress(data) + machine.flush()
    size = len(data) if size is None else size
    return Entry(name, packed, method=8, crc=zlib.crc32(data), size=size)


def zipped(*entries: Entry, end64: tuple[int, int, int] | None = None, ended: bool = True) -> bytes:
    """Make a zip file; `end64` is the number of entries, size and start of the directory."""
    body, lines = b"", b""
    for entry in entries:
        name = entry.name.encode() if isinstance(entry.name, str) else entry.name
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        packed = len(entry.data) if entry.packed is None else entry.packed
        size = len(entry.data) if entry.size is None else entry.size
        header = len(body) if entry.header is None else entry.header
        local = name if entry.local_name is None else entry.local_name
        facts = (20, entry.flags, entry.method, 0, 0x21, crc, packed, size)
        extra = len(entry.local_extra) + entry.moved
        body += struct.pack("<4s5H3I2H", b"PK\3\4", *facts, len(local), extra)
        body += local + entry.local_extra + entry.data
        lines += struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, *facts, len(name), *[0] * 5, header)
        lines += name
    numbers = (len(entries), len(lines), len(body))
    end = b""
    if end64:
        at = len(body) + len(lines)
        end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, end64[0], *end64)
        end += struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
        numbers = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    end += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, numbers[0], *numbers, 0)
    return body + lines + end * ended


def torch_entries(tree: bytes, storages: Mapping[str, bytes]) -> list[Entry]:
    """Give the entries of what torch.save writes."""
    head = {"data.pkl": pickled(tree), "byteorder": b"little", "version": b"3\n"}
    whole = head | {f"data/{key}": data for key, data in storages.items()}
    return [Entry(f"archive/{name}", data) for name, data in whole.items()]


# -- the others


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Make a .safetensors; a header of bytes is taken as it is."""
    spelled = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(spelled) if length is None else length) + spelled + data


def npy(header: str, data: bytes = b"") -> bytes:
    spelled = header.encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(spelled)) + spelled + data


def npz(*arrays: np.ndarray) -> bytes:
    """Make an .npz of arrays named a, b, ..."""
    file = io.BytesIO()
    named: dict[str, Any] = dict(zip("abcdefgh", arrays, strict=False))
    np.savez(file, **named)
    return file.getvalue()


def paddle_array(shape: bytes, data: bytes, code: str = "f4") -> bytes:
    """Push what numpy pickles of an array; shape and data are given as instructions."""
    empty = call("numpy.core.multiarray._reconstruct", name_of("numpy.ndarray"), b"K\x00\x85", b"N")
    dtype = call("numpy.dtype", text(code), b"\x89", b"\x88")
    return empty + row(b"K\x01", shape, dtype, b"\x89", data) + b"b"


def raw(data: bytes) -> bytes:
    """Push bytes."""
    return b"B" + struct.pack("<I", len(data)) + data
