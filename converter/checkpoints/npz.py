"""Read .npz: a zip of .npy files.

Source of the format: NumPy, numpy/lib/format.py.
"""

import ast

from ..errors import CheckpointError
from . import _zip, pickles
from ._tensor import DTYPES, Tensor, view
from .storage import File, Part, Storage

_MOST_HEADER = 10_000  # bytes; NumPy's own limit

# The parser gives a MemoryError for expressions that are nested too deeply.
_MALFORMED = (*pickles.MALFORMED, SyntaxError, MemoryError)

# Letters of a dtype, without byte order -> name. NumPy saves bfloat16 as void of two bytes.
_CODES = {dtype.str[1:]: name for name, dtype in reversed(DTYPES.items())}
_CODES |= {"u2": "uint16", "u1": "uint8", "V2": "bfloat16"}


def looks_like(file: File) -> bool:
    """Tell by its first entry whether a zip holds .npy files."""
    head = file.read(0, min(file.size, 512))
    name = head[_zip.LOCAL.size :][: int.from_bytes(head[26:28], "little")]
    return name.endswith(b".npy")


def read_tree(file: File) -> dict[str, Tensor | pickles.Opaque]:
    """Give the arrays by name, in file order; other entries become inert.

    Raises:
        CheckpointError: The file is damaged.
    """
    tensors: dict[str, Tensor | pickles.Opaque] = {}
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


def _array(data: Storage) -> Tensor | pickles.Opaque:
    head = data.read(0, min(data.size, 12))
    if head[:6] != b"\x93NUMPY":
        raise ValueError("not a NumPy array")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    if length > _MOST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    begin = 8 + width + length
    header = ast.literal_eval(data.read(8 + width, length).decode().strip())
    code, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
    if not isinstance(code, str) or code[:1] not in ("<", ">", "|") or code[1:] not in _CODES:
        return pickles.Opaque(f"array of dtype {code!r:.60}")  # such as objects, which are pickles
    tensor = view(
        Part(data, begin, data.size - begin),
        _CODES[code[1:]],
        shape[::-1] if fortran else shape,
        big_endian=code[0] == ">",
    )
    return tensor.transposed() if fortran else tensor
