"""Read checkpoints by other means than those under test; for damaged files, that execute nothing.

The safetensors package, numpy.load, torch.load, and Python's own unpickler with stand-ins for all
that a file may name.
"""

import argparse
import codecs
import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors


class Inert:
    """Stands for whatever a file names or calls."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def ignore(self, *_: Any) -> "Inert":
        """Do nothing."""
        return self

    __call__ = __setstate__ = __setitem__ = append = extend = ignore


class Unpickler(pickle._Unpickler):
    """Python's own unpickler; the one in C would make room for a memo of any size."""

    def __init__(self, file: io.BytesIO, names: Mapping[str, Any], **options: Any) -> None:
        super().__init__(file, **options)
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in for a name."""
        return self.names.get(f"{module}.{name}", Inert)

    def get_extension(self, _: int) -> None:
        """Push what stands for a name that is given by its number."""
        self.append(Inert)  # type: ignore[attr-defined]  # of the pickle module's own


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    return names["data"] if expression == "data" else Inert()


def encode(letters: str, encoding: str) -> bytes:
    return codecs.encode(letters, {"latin1": "latin1"}[encoding])


class Dtype:
    """A pickled numpy.dtype; NumPy's own crashes on some states."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """A pickled numpy.ndarray."""

    array: Any = None

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(dtype, Dtype) and not dtype.dtype.hasobject:
            data = data.encode("latin1") if isinstance(data, str) else data
            values = np.frombuffer(data, dtype.dtype)
            self.array = values.reshape(shape, order="F" if fortran else "C")


PADDLE = {
    "collections.OrderedDict": OrderedDict,
    "numpy.dtype": Dtype,
    "numpy.core.multiarray._reconstruct": Array,
    "_codecs.encode": encode,
    "builtins.eval": evaluate,
    "builtins.tuple": tuple,
}
PADDLE |= {name.replace(".core", "._core"): value for name, value in PADDLE.items()}
PADDLE |= {name.replace("builtins", "__builtin__"): value for name, value in PADDLE.items()}


def read_pdparams(path: Path) -> Any:
    return plain(Unpickler(io.BytesIO(path.read_bytes()), PADDLE, encoding="latin1").load())


def plain(tree: Any) -> Any:
    """Put arrays in the place of what stands for them."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree.array if isinstance(tree, Array) else tree


class View:
    """A tensor of torch: storage, first element, shape, strides."""

    def __init__(self, *facts: Any) -> None:
        self.facts = facts[:4]


TORCH: dict[str, Any] = {"collections.OrderedDict": OrderedDict} | {
    f"torch._utils._rebuild_{name}": View for name in ("tensor", "tensor_v2")
}
TORCH["torch._utils._rebuild_parameter"] = lambda data, *_: data
TYPES = {"Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "V2", "Long": "<i8"}
TYPES |= {"Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?"}
TORCH |= {f"torch.{name}Storage": np.dtype(code) for name, code in TYPES.items()}


class TorchUnpickler(Unpickler):
    """Keeps of a storage its type, as torch does: that which is met first."""

    storages: dict[str, Any]

    def persistent_load(self, identity: Any) -> Any:
        """Give key and type of a storage."""
        _, dtype, key, _, numel, *_ = identity
        if not isinstance(dtype, np.dtype):
            raise TypeError(dtype)
        return key, self.storages.setdefault(key, (dtype, numel))[0]


def viewed(tree: Any, storages: Mapping[str, bytes]) -> Any:
    """Make arrays of views; the unpickler is done, and all storages are known."""
    if isinstance(tree, View):
        (key, dtype), offset, shape, strides = tree.facts
        whole = len(storages[key]) // dtype.itemsize * dtype.itemsize
        values = np.frombuffer(storages[key][:whole], dtype)[offset:]
        steps = [step * dtype.itemsize for step in strides]
        last = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if min(offset, *strides, 0) < 0 or (0 not in shape and last >= len(values)):
            raise ValueError("outside the storage")
        return np.lib.stride_tricks.as_strided(values, shape, steps)
    if isinstance(tree, dict):
        return {key: viewed(value, storages) for key, value in tree.items()}
    return tree


def read_torch_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        for info in entries.values():
            info.CRC = info.CRC or None  # type: ignore[assignment]  # 0 stands for none
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise ValueError("big-endian")
        unpickler = TorchUnpickler(io.BytesIO(archive.read(entries["data.pkl"])), TORCH)
        unpickler.storages = {}
        tree = unpickler.load()
        data = {key: archive.read(entries[f"data/{key}"]) for key in unpickler.storages}
    return viewed(tree, data)


def read_torch_legacy(path: Path) -> Any:
    file, values = io.BytesIO(path.read_bytes()), []
    storages, found = dict[str, Any](), dict[str, bytes]()
    for _ in range(5):
        unpickler = TorchUnpickler(file, TORCH)
        unpickler.storages = storages
        values.append(unpickler.load())
    for key in values[4]:
        numel = struct.unpack("<Q", file.read(8))[0]
        dtype, expected = storages[key]
        if numel != expected:
            raise ValueError("the sizes of a storage differ")
        found[key] = file.read(numel * dtype.itemsize)
    return viewed(values[3], found)


def read_safetensors(path: Path) -> Any:
    deserialize: Any = safetensors.deserialize
    names = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "BOOL": "?", "F16": "<f2", "BF16": "V2"}
    names |= {"I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4"}
    return {
        name: np.frombuffer(entry["data"], names[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in deserialize(path.read_bytes())
    }


def read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_index(path: Path) -> Any:
    found = {}
    for name, shard in json.loads(path.read_bytes())["weight_map"].items():
        found[name] = read_safetensors(path.parent / shard)[name]
    return found


READERS = {
    "PyTorch zip": read_torch_zip,
    "PyTorch before 1.6": read_torch_legacy,
    "safetensors": read_safetensors,
    "Paddle .pdparams": read_pdparams,
    "pickled NumPy arrays": read_pdparams,
    "NumPy .npz": read_npz,
    "sharded safetensors": read_index,
}


def torch_load(path: Path) -> Any:
    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        return arrays_of(torch.load(path, map_location="cpu", weights_only=True))


def arrays_of(tree: Any) -> Any:
    """Turn torch's tensors into arrays."""
    import torch

    if isinstance(tree, dict):
        return {key: arrays_of(value) for key, value in tree.items()}
    if not isinstance(tree, torch.Tensor):
        return tree
    tree = tree.detach()
    return (
        tree.view(torch.uint16).numpy().view("V2") if tree.dtype == torch.bfloat16 else tree.numpy()
    )
