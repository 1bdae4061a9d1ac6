"""Shared by both formats of torch.save: how their pickles describe tensors.

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
    """Turns the tensor descriptions of a pickle into views of storages.

    Args:
        find: Key, number of elements and bytes per element, as the pickle states them -> storage.
        big_endian: Whether the elements in the storages are big-endian.
    """

    def __init__(self, find: Callable[[str, int, int], Storage], big_endian: bool = False) -> None:
        self.find = find
        self.big_endian = big_endian
        self.types: dict[str, str] = {}
        self.places: dict[str, Any] = {}  # torch remembers storages and parts of them by one key

    def persistent_load(self, identity: Any) -> Typed:
        """Give the storage with this persistent id.

        The older format has a sixth entry for a storage that is a part of another: its key, the
        element where it begins, its size.
        """
        if identity[0] == "module":
            raise CheckpointError(f"a whole model was saved, not its weights: {WHOLE_MODEL}.")
        tag, storage_type, key, _location, numel, *part = identity
        if tag != "storage":
            raise ValueError("a persistent id that is not a storage")
        if not isinstance(key, str):
            raise TypeError("a storage whose key is not a string")
        dtype = STORAGES.get(storage_type.name.rpartition(".")[2])
        if dtype is None:
            name = f"{storage_type.name!r:.60}"
            raise CheckpointError(f"storages of type {name} are not supported.")
        if self.types.setdefault(key, storage_type.name) != storage_type.name:
            raise CheckpointError(f"the pickle gives storage {key:.40} two types.")
        first, view = 0, part[0] if part else None
        if view is not None:
            own, first, _size = view
            if self.places.setdefault(own, (key, first)) != (key, first):
                raise CheckpointError(f"the pickle gives storage {own:.40} two places.")
        if self.places.setdefault(key, (key, None)) != (key, None):
            raise CheckpointError(f"the pickle gives storage {key:.40} two places.")
        check_axes([numel, first])
        return self.find(key, numel, DTYPES[dtype].itemsize), dtype, first

    def builders(self) -> dict[str, pickles.Builder]:
        """Map the functions that torch's pickles call to their stand-ins."""
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

        A view that torch conjugates or negates on reading becomes an `Opaque`.
        """
        if flags:
            return pickles.Opaque("a conjugated or negated view")
        data, dtype, first = storage
        check_axes([offset])
        return view(data, dtype, size, first + offset, stride, self.big_endian)

    def tensor_of(self, storage: Typed, *facts: Any) -> Tensor | pickles.Opaque:
        """View an untyped storage as a tensor of a dtype that has no storage class of its own."""
        offset, size, stride, _requires_grad, _hooks, dtype, *flags = facts
        name = dtype.name.removeprefix("torch.")
        if name not in DTYPES:
            raise CheckpointError(f"tensors of {name!r:.60} are not supported.")
        return self.tensor((storage[0], name, 0), offset, size, stride, flags=any(flags))


WHOLE_MODEL = (
    "load it where its code is installed, and save its weights: torch.save(model.state_dict(), ...)"
)
