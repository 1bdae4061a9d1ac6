"""Read and lay out .pdparams: one pickled dict of name -> NumPy array.

Source of the format: Paddle, python/paddle/framework/io.py, release 3.3.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from ..sides import Side
from . import arrays, pickles, torch_legacy
from ._tensor import DTYPES, Tensor, view
from ._torch import Storages
from .arrays import Array
from .storage import Held, Joined, Storage
from .writing import Layout, integer, text

# Paddle's own entries beside the tensors.
NAME_TABLE = "StructuredToParameterName@@"
_SPLIT = "UnpackBigParamInfor@@"

# Protocol 4, empty dict, mark: as `layout` begins, and Python itself never.
_OWN = b"\x80\x04}("

# Name -> NumPy's code. Paddle stores bfloat16 as uint16 and reads any uint16 as bfloat16; it cannot
# store float8, nor other unsigned integers of more than a byte.
_WRITABLE = {
    name: dtype.str[1:]
    for name, dtype in DTYPES.items()
    if not name.startswith(("float8", "uint")) or name == "uint8"
}
_READABLE = arrays.CODES | {code: name for name, code in _WRITABLE.items()}

# -- reading


def read_tree(file: Storage) -> tuple[Any, Side | None]:
    """Give the pickled object: arrays as lazy `Tensor`, everything else inert; and of whom it is.

    Every pickle of arrays is read. Paddle's own writer leaves marks in most of its files, and
    PyTorch's tensors have names of their own; without either the arrays may be of both.

    Raises:
        CheckpointError: The file is cut short or malformed.
    """
    names = set[str]()
    tree, _ = pickles.load(file, _Builders(names))
    marks = set[str]()

    def unpaired(value: Any) -> Any:
        """In a dict that holds more than tensors, paddle.save writes one as (name, array)."""
        is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
        if is_pair and isinstance(value[1], Array):
            marks.add("pair")
            return value[1]
        return value

    def cleaned(found: dict[Any, Any]) -> None:
        """Remove what paddle.save adds to a dict, and join what it split."""
        marks.update(key for key in (NAME_TABLE, _SPLIT) if key in found)
        found.pop(NAME_TABLE, None)
        if (parts := found.pop(_SPLIT, None)) is not None:
            _join(found, parts)

    tree = arrays.resolve(tree, unpaired, cleaned)
    own = file.size > len(_OWN) and file.read(0, len(_OWN)) == _OWN
    if own or marks or any(name.endswith(".eval") for name in names):
        return tree, "paddle"
    return tree, "torch" if any(name.startswith("torch.") for name in names) else None


class _Builders(dict[str, pickles.Builder]):
    """Stand-ins for the functions that pickles of arrays and of tensors call.

    Args:
        names: Gets the names of all functions called.
    """

    def __init__(self, names: set[str]) -> None:
        self.names = names
        super().__init__({**Storages(_no_storage).builders(_READABLE)})
        self["torch.storage._load_from_bytes"] = _storage
        for module in ("builtins", "__builtin__"):  # the latter in protocol 2
            self[f"{module}.tuple"] = lambda items=(): tuple(items)
            self[f"{module}.eval"] = _data

    def get(self, name: str, default: Any = None) -> Any:
        """Give the stand-in, and remember the name."""
        self.names.add(name)
        return super().get(name, default)


def _no_storage(key: str, _numel: int, _width: int) -> Storage:
    raise ValueError(f"storage {key:.40}, of which there is none")


def _storage(data: Any) -> Any:
    """Stand in for what a plain pickle of a torch.Tensor calls: its storage is a file within."""
    if isinstance(data, pickles.Text):  # of protocol 2
        data = Held(data.part.read(0, data.part.size).decode().encode("latin-1"))
    if not isinstance(data, Storage):
        raise TypeError("a storage that is not bytes")
    return torch_legacy.read_storage(data)


def _data(expression: Any = None, names: Any = None, *_: Any) -> Any:
    """Stand in for eval('data', {'data': array}), which paddle.save writes for a DenseTensor.

    No expression is evaluated; any other one becomes inert.
    """
    if expression == "data" and isinstance(names, dict) and isinstance(names.get("data"), Array):
        return names["data"]
    return pickles.Opaque("builtins.eval")


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
    made.add(_OWN)
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
