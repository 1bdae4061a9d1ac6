"""Read and lay out .pdparams: one pickled dict of name -> NumPy array.

Source of the format: Paddle, python/paddle/framework/io.py, release 3.3.
"""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from . import pickles
from ._checkpoint import DEEPEST
from ._tensor import DTYPES, Tensor, check_axes, view
from .storage import Held, Joined, Latin, Storage
from .writing import Layout, integer, text

# Paddle's own entries beside the tensors.
NAME_TABLE = "StructuredToParameterName@@"
_SPLIT = "UnpackBigParamInfor@@"

# Name -> NumPy's code. Paddle stores bfloat16 as uint16 and reads any uint16 as bfloat16; it cannot
# store float8, nor other unsigned integers of more than a byte.
_WRITABLE = {
    name: dtype.str[1:]
    for name, dtype in DTYPES.items()
    if not name.startswith(("float8", "uint")) or name == "uint8"
}
_READABLE = {code: name for name, code in _WRITABLE.items()}

# -- reading


def read_tree(file: Storage) -> Any:
    """Give the pickled object: arrays as lazy `Tensor`, everything else inert.

    Raises:
        CheckpointError: The file is cut short or malformed.
    """
    tree, _ = pickles.load(file, _builders())
    return _resolve(tree, {}, 0)


def _builders() -> dict[str, pickles.Builder]:
    """Map the functions that Paddle's pickles call to their stand-ins."""
    builders: dict[str, pickles.Builder] = {
        "collections.OrderedDict": pickles.ordered_dict,
        "numpy.dtype": _Dtype,
        "_codecs.encode": _encode,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        builders[f"{module}._reconstruct"] = lambda *_: _Array()
    for module in ("builtins", "__builtin__"):  # the latter in protocol 2
        builders[f"{module}.tuple"] = lambda items=(): tuple(items)
        builders[f"{module}.eval"] = _data
        builders[f"{module}.bytes"] = lambda: Held(b"")
    return builders


def _data(expression: Any = None, names: Any = None, *_: Any) -> Any:
    """Stand in for eval('data', {'data': array}), which paddle.save writes for a DenseTensor.

    No expression is evaluated; any other one becomes inert.
    """
    if expression == "data" and isinstance(names, dict) and isinstance(names.get("data"), _Array):
        return names["data"]
    return pickles.Opaque("builtins.eval")


def _encode(text: str | pickles.Text, encoding: str) -> Held | pickles.Text:
    """Stand in for the call that protocol 2 writes for bytes."""
    if encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
    return text if isinstance(text, pickles.Text) else Held(text.encode("latin1"))


class _Dtype:
    """A pickled numpy.dtype: constructed with its code; its state holds the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str):
            raise TypeError("a dtype that is not a string")
        self.code = code
        self.order = "<"

    def set_state(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """A pickled numpy.ndarray, filled by its state."""

    def __init__(self) -> None:
        self.tensor: Tensor | None = None
        self.what = "array"

    def set_state(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        self.tensor = None  # the last state counts
        if not isinstance(dtype, _Dtype) or dtype.code not in _READABLE:
            self.what = f"array of dtype {getattr(dtype, 'code', '?')!r}"  # such as objects
            return
        name = _READABLE[dtype.code]
        shape = check_axes(shape)
        size = math.prod(shape) * DTYPES[name].itemsize
        if isinstance(data, pickles.Text):
            data = Latin(data.part, size)
        elif isinstance(data, str):  # bytes of Python 2
            data = Held(data.encode("latin1"))
        if data.size != size:
            raise CheckpointError(
                f"an array of {name} {list(shape)} needs {size} bytes, found {data.size}"
            )
        axes = shape[::-1] if fortran else shape
        tensor = view(data, name, axes, big_endian=dtype.order == ">")
        self.tensor = tensor.transposed() if fortran else tensor


def _resolve(tree: Any, seen: dict[int, Any], depth: int) -> Any:
    """Replace pickled arrays by tensors, as deep as wrappers go, each dict once.

    In a dict that holds more than tensors, paddle.save writes a tensor as (name, array).
    """
    if isinstance(tree, tuple) and len(tree) == 2 and isinstance(tree[0], str):
        tree = tree[1] if isinstance(tree[1], _Array) else tree
    if isinstance(tree, _Array):
        return tree.tensor or pickles.Opaque(tree.what)
    if not isinstance(tree, dict) or depth > DEEPEST or id(tree) in seen:
        return tree
    seen[id(tree)] = tree
    tree.pop(NAME_TABLE, None)
    for key, value in tree.items():
        tree[key] = _resolve(value, seen, depth + 1)
    if (parts := tree.pop(_SPLIT, None)) is not None:
        _join(tree, parts)
    return tree


def _join(tree: dict[Any, Any], parts: Any) -> None:
    """Join tensors that protocols 2 and 3 split, because these cannot hold 4 GiB in one piece."""
    try:
        for name, info in list(parts.items()):  # they may be the tree itself
            if not all(isinstance(piece, str) for piece in (name, *info["slices"])):
                raise TypeError("names that are not strings")
            pieces = [tree.pop(piece) for piece in info["slices"]]
            dtype, swapped = pieces[0].dtype, pieces[0].big_endian
            if any((p.dtype, p.big_endian, len(p.shape)) != (dtype, swapped, 1) for p in pieces):
                raise ValueError("pieces of other types")
            whole = Joined([piece.storage for piece in pieces])
            tree[name] = view(whole, dtype, info["OriginShape"], big_endian=swapped)
            if tree[name].nbytes != whole.size:
                raise ValueError(f"{whole.size} bytes for {dtype} {list(tree[name].shape)}")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"split tensors do not fit together: {error!r:.200}") from error


# -- writing


def layout(tensors: Mapping[str, Tensor]) -> Layout:
    """Lay out a .pdparams that every Paddle release reads, under NumPy 1 and 2 alike.

    Raises:
        CheckpointError: A tensor has a dtype that Paddle's files cannot hold.
    """
    made = Layout()
    made.add(b"\x80\x04}(")  # protocol 4, empty dict, mark
    for name, tensor in tensors.items():
        if tensor.dtype not in _WRITABLE:
            raise CheckpointError(f"{name}: a .pdparams file cannot hold {tensor.dtype}.")
        head = _array_head(tensor.shape, _WRITABLE[tensor.dtype])
        made.add(text(name) + head + _bytes_head(tensor.nbytes))
        made.add_tensor(name, tensor)
        made.add(b"tb")  # close the state tuple, set it
    made.add(b"u.")  # put all pairs into the dict, stop
    return made


def _array_head(shape: tuple[int, ...], code: str) -> bytes:
    """Encode numpy.ndarray up to its bytes, by the module name that all NumPy releases know."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    byte_order = "|" if code in ("i1", "u1", "b1") else "<"
    dtype = b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R"  # dtype(code, False, True)
    order = b"(K\x03" + text(byte_order) + b"NNN" + integer(-1) + integer(-1) + b"K\x00tb"
    axes = b"(" + b"".join(integer(n) for n in shape) + b"t"
    return empty + b"(K\x01" + axes + dtype + order + b"\x89"  # version 1, shape, dtype, C order


def _bytes_head(size: int) -> bytes:
    if size < 2**32:
        return b"B" + size.to_bytes(4, "little")
    return b"\x8e" + size.to_bytes(8, "little")
