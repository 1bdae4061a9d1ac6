"""Shared by both formats of torch.save: how their pickles describe tensors.

Source of the format: PyTorch, torch/serialization.py and torch/_utils.py, releases 1.4 to 2.13.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CheckpointError
from . import arrays, pickles
from ._tensor import DTYPES, FLOATING, Tensor, check_axes, view
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

    def persistent_load(self, identity: Any) -> Typed | pickles.Global:
        """Give the storage with this persistent id.

        The older format has a sixth entry for a storage that is a part of another: its key, the
        element where it begins, its size.
        """
        if identity[0] == "module":  # the class of a model, with its source, in the older format
            return pickles.Global(f"{identity[1].name}")
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

    def builders(self, codes: Mapping[str, str] = arrays.CODES) -> dict[str, pickles.Builder]:
        """Map the functions that torch's pickles call to their stand-ins.

        Args:
            codes: How NumPy's arrays among them are read, as of `arrays.builders`.
        """
        plain: dict[str, pickles.Builder] = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_of,
            "torch._utils._rebuild_parameter": _inner,
            "torch._utils._rebuild_parameter_with_state": _inner,
            "torch._utils._rebuild_device_tensor_from_numpy": _from_device,
            "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_device,
            "torch._utils._rebuild_xla_tensor": _from_device,
        }

        def subclass(function: Any, own: Any, arguments: Any, *_: Any) -> Any:
            """Stand in for a tensor of a class of its own: plain values, or an inert object."""
            builder = plain.get(getattr(function, "name", ""))
            if builder is None or not isinstance(arguments, tuple):
                return pickles.Opaque(getattr(own, "name", "a tensor of another class"))
            return builder(*arguments)

        return {
            "collections.OrderedDict": pickles.ordered_dict,
            **arrays.builders(codes),
            **plain,
            "torch._tensor._rebuild_from_type": subclass,
            "torch._tensor._rebuild_from_type_v2": subclass,
            "torch.tensor._rebuild_from_type": subclass,
            "torch._utils._rebuild_wrapper_subclass": lambda own, *_: pickles.Opaque(own.name),
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


def _inner(data: Any, *_: Any) -> Any:
    """Give the values of a parameter."""
    return data


def _from_device(data: Any, dtype: Any, *_: Any) -> Any:
    """Give the values of a tensor that was on an XLA device or another accelerator.

    They are written as a NumPy array, bfloat16 as float32, or as a tensor of the CPU.
    """
    tensor = data.tensor if isinstance(data, arrays.Array) else data
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, pickles.Global) else ""
    if not isinstance(tensor, Tensor):
        return pickles.Opaque("a tensor of another device")
    return tensor.cast(name) if {name, tensor.dtype} <= set(FLOATING) else tensor


WHOLE_MODEL = (
    "load it where its code is installed, and save its weights: torch.save(model.state_dict(), ...)"
)
