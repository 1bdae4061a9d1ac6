"""What both forms of torch.save have in common: how their pickles describe tensors.

Source of the format: PyTorch, torch/serialization.py and torch/_utils.py, releases 1.4 to 2.13.
"""

from collections.abc import Callable
from typing import Any

from ..errors import CheckpointError
from . import pickles
from ._tensor import DTYPES, Tensor, check_axes, view
from .storage import Storage

STORAGES = {
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
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}

# Bytes, their dtype, and the element that counts as the first.
Typed = tuple[Storage, str, int]


class Storages:
    """Turns what a pickle says of tensors into views of storages.

    Args:
        find: Key, elements and bytes of each -> the storage. Both are what the pickle says.
        big_endian: The order of bytes in the storages.
    """

    def __init__(self, find: Callable[[str, int, int], Storage], big_endian: bool = False) -> None:
        self.find = find
        self.big_endian = big_endian
        self.types: dict[str, str] = {}

    def persistent_load(self, identity: Any) -> Typed:
        """Give the storage with this persistent id.

        The older form has a sixth entry, for a storage that is a part of another: its key, the
        element where it begins, its size.
        """
        if identity[0] == "module":
            raise CheckpointError(f"a whole model was saved, not its weights: {WHOLE_MODEL}.")
        tag, storage_type, key, _location, numel, *part = identity
        if tag != "storage":
            raise ValueError("a persistent id that is no storage")
        if not isinstance(key, str):
            raise TypeError("a storage whose key is no text")
        dtype = STORAGES.get(storage_type.name.rpartition(".")[2])
        if dtype is None:
            name = f"{storage_type.name!r:.60}"
            raise CheckpointError(f"storages of type {name} are not supported.")
        if self.types.setdefault(key, storage_type.name) != storage_type.name:
            raise CheckpointError(f"storage {key:.40} is said to be of two types.")
        first = part[0][1] if part and part[0] is not None else 0
        check_axes([numel, first])
        return self.find(key, numel, DTYPES[dtype].itemsize), dtype, first

    def builders(self) -> dict[str, pickles.Builder]:
        """Name the functions that torch's pickles call, with what stands for them here."""
        return {
            "collections.OrderedDict": pickles.ordered_dict,
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_of,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        }

    def tensor(
        self,
        storage: Typed,
        offset: Any,
        size: Any,
        stride: Any,
        _requires_grad: Any = False,
        _hooks: Any = None,
        flags: Any = None,
    ) -> Tensor | pickles.Opaque:
        """View a storage as a tensor; offset and stride count elements.

        A tensor that is to be conjugated or negated when it is read is named and not read.
        """
        if flags:
            return pickles.Opaque("a conjugated or negated view")
        data, dtype, first = storage
        check_axes([offset])
        return view(data, dtype, size, first + offset, stride, self.big_endian)

    def tensor_of(
        self,
        storage: Typed,
        offset: Any,
        size: Any,
        stride: Any,
        _requires_grad: Any,
        _hooks: Any,
        dtype: pickles.Global,
        flags: Any = None,
    ) -> Tensor | pickles.Opaque:
        """View an untyped storage as a tensor of a dtype that has no storage class of its own."""
        name = dtype.name.removeprefix("torch.")
        if name not in DTYPES:
            raise CheckpointError(f"tensors of {name!r:.60} are not supported.")
        return self.tensor((storage[0], name, 0), offset, size, stride, flags=flags)


WHOLE_MODEL = (
    "read it where its code is installed, and save its weights: torch.save(model.state_dict(), ...)"
)
