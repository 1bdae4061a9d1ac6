"""Read .npz: a zip of .npy files.

Source of the format: NumPy, numpy/lib/format.py.
"""

import ast
from typing import Any

from ..errors import CheckpointError
from . import _zip, arrays, pickles
from ._tensor import Tensor, view
from .arrays import CODES
from .storage import File, Part, Storage

MAGIC = b"\x93NUMPY"

_MOST_HEADER = 10_000  # bytes; NumPy's own limit

# The parser gives a MemoryError for expressions that are nested too deeply.
_MALFORMED = (*pickles.MALFORMED, SyntaxError, MemoryError)


def looks_like(file: File) -> bool:
    """Tell by its first entry whether a zip holds .npy files."""
    head = file.read(0, min(file.size, 512))
    name = head[_zip.LOCAL.size :][: int.from_bytes(head[26:28], "little")]
    return name.endswith(b".npy")


def read_array(file: Storage) -> Any:
    """Give what an .npy holds: one array, or what numpy.save made of a dict.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        return _array(file)
    except _MALFORMED as error:
        raise CheckpointError(f"malformed .npy header: {error!r:.200}") from error


def read_tree(file: File) -> dict[str, Any]:
    """Give the arrays by name, in file order; other entries become inert.

    An array of one object, which numpy.savez makes of a dict, is a dict of its arrays.

    Raises:
        CheckpointError: The file is damaged.
    """
    tensors: dict[str, Any] = {}
    for name, entry in _zip.read_directory(file).items():
        data = _zip.open_entry(file, entry)
        try:
            found = _array(data)
        except _MALFORMED as error:
            raise CheckpointError(f"{name}: malformed .npy header: {error!r:.200}") from error
        if not isinstance(found, Tensor):  # damaged, or really not a tensor?
            for checked in data.checked():
                checked.check()
        if name.removesuffix(".npy") in tensors:
            raise CheckpointError(
                f"two entries of the zip have the name {name!r}, with or without .npy."
            )
        tensors[name.removesuffix(".npy")] = found
    return tensors


def _array(data: Storage) -> Any:
    head = data.read(0, min(data.size, 12))
    if head[:6] != MAGIC:
        raise ValueError("not a NumPy array")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    if length > _MOST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    begin = 8 + width + length
    header = ast.literal_eval(data.read(8 + width, length).decode().strip())
    code, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
    if code == "|O" and shape == ():
        pickled, _ = pickles.load(data, _objects(), start=begin)
        if isinstance(found := arrays.resolve(pickled), dict):
            return found
    if not isinstance(code, str) or code[:1] not in ("<", ">", "|") or code[1:] not in CODES:
        return pickles.Opaque(f"array of dtype {code!r:.60}")
    tensor = view(
        Part(data, begin, data.size - begin),
        CODES[code[1:]],
        shape[::-1] if fortran else shape,
        big_endian=code[0] == ">",
    )
    return tensor.transposed() if fortran else tensor


def _objects() -> dict[str, pickles.Builder]:
    """Map the functions that a pickled dict of arrays calls to their stand-ins."""
    return {"collections.OrderedDict": pickles.ordered_dict, **arrays.builders(CODES)}
