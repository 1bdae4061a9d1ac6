"""Read and lay out files of torch.save: a zip of one pickle and one record per storage.

Source of the format: PyTorch, torch/serialization.py and caffe2/serialize/inline_container.cc,
release 2.13.
"""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import CheckpointError
from . import _zip, arrays, foreign, pickles
from ._tensor import Tensor
from ._torch import STORAGES, Storages
from .storage import File, Storage
from .writing import Layout, integer, text

_TYPES = {dtype: name for name, dtype in reversed(STORAGES.items())}  # plain ones come first
_RECORDS = {"data.pkl", "byteorder", "version", "constants.pkl"}  # that have a meaning


def names_in(file: File) -> set[str]:
    """Give the names of all classes and functions in a file.

    Raises:
        CheckpointError: The file is cut short or malformed.
    """
    entries, found = _zip.read_directory(file), set[str]()
    pickled = entries[_folder(entries) + "data.pkl"]
    data = _zip.open_entry(file, pickled, may_lack_checksum=True)
    pickles.load(data, {}, lambda _: None, names=found)
    return found


def _folder(entries: Mapping[str, _zip.Entry]) -> str:
    """Give the folder of the records, with its slash; refuse what torch would find elsewhere."""
    named = [name for name in entries if name.endswith("/data.pkl")]
    if len(named) != 1:
        told = "" if named else foreign.in_zip(entries)
        raise CheckpointError(
            told
            or f"a zip file, but not one that torch.save wrote: expected one entry "
            f"<name>/data.pkl, found {len(named)} among {len(entries)} entries."
        )
    folder = named[0].removesuffix("data.pkl")
    if next(iter(entries)).partition("/")[0] + "/" != folder:
        raise CheckpointError(
            f"the first entry of the zip is {next(iter(entries))!r}, where PyTorch expects its "
            f"records; they are in {folder!r}. Save the weights again."
        )
    _refuse_other_case(entries)
    return folder


def read_tree(file: File) -> Any:
    """Give the saved object, tensors as lazy `Tensor`, everything else inert.

    Raises:
        CheckpointError: The file is cut short or not of this format.
    """
    entries = _zip.read_directory(file)
    folder = _folder(entries)
    if folder + "constants.pkl" in entries:
        raise CheckpointError(
            "a TorchScript program, not a checkpoint. Save its weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), ...)"
        )
    opened: dict[str, Storage] = {}

    def record(name: str) -> Storage:
        if name not in opened:
            entry = entries.get(folder + name)
            if entry is None:
                raise CheckpointError(f"record {name!r} is missing from the file.")
            if entry.method != _zip.STORED:
                raise CheckpointError(
                    f"entry {entry.name!r} is compressed, as torch.save never does. Another "
                    f"program repacked the file: use the original."
                )
            opened[name] = _zip.open_entry(file, entry, may_lack_checksum=True)
        return opened[name]

    def find(key: str, numel: int, width: int) -> Storage:
        storage = record(f"data/{key}")
        if storage.size != numel * width:
            raise CheckpointError(
                f"storage {key} holds {storage.size} bytes, expected {numel * width}."
            )
        return storage

    for name in ("byteorder", "data.pkl"):
        if folder + name in entries:
            record(name).check()
    order = b"little"
    if folder + "byteorder" in entries:
        order = record("byteorder").read(0, min(record("byteorder").size, 20))
    if order not in (b"little", b"big"):
        raise CheckpointError(f"unknown byte order {order!r}.")
    reader = Storages(find, order == b"big")
    tree, _ = pickles.load(record("data.pkl"), reader.builders(), reader.persistent_load)
    return arrays.resolve(tree)


def _refuse_other_case(entries: Iterable[str]) -> None:
    """Refuse names that PyTorch's reader, to which capitals are small letters, takes for others."""
    seen: dict[str, str] = {}
    for name in entries:
        own = name.rpartition("/")[2] if name.count("/") == 1 else name
        if seen.setdefault(name.lower(), name) != name or own.lower() in _RECORDS - {own}:
            raise CheckpointError(f"entry {name!r} of the zip is another one to PyTorch's reader.")


# -- writing

_FOLDER = "archive/"  # the name that torch.save uses
_ALIGNMENT = 64  # bytes, of records
_VERSION = b"3\n"  # of the format; as release 1.6 and all later ones write it


def layout(tensors: Mapping[str, Tensor]) -> Layout:
    """Lay out a .pth that torch.load(weights_only=True) reads, from release 1.6 on.

    Raises:
        CheckpointError: torch has no storage class for the dtype of a tensor.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _TYPES:
            raise CheckpointError(f"{name}: a .pth file cannot hold {tensor.dtype}.")
    made, entries = Layout(), list[_zip.Entry]()
    records: list[tuple[str, bytes | tuple[str, Tensor]]] = [("data.pkl", _pickled(tensors))]
    records += [("byteorder", b"little"), ("version", _VERSION)]
    records += [(f"data/{i}", item) for i, item in enumerate(tensors.items())]
    for record, data in records:
        size = len(data) if isinstance(data, bytes) else data[1].nbytes
        crc = zlib.crc32(data) if isinstance(data, bytes) else 0
        name = _FOLDER + record
        entries.append(_zip.Entry(name, _zip.STORED, crc, size, size, made.size))
        made.add(_zip.local_header(name, size, crc, made.size, _ALIGNMENT))
        if isinstance(data, bytes):
            made.add(data)
        else:
            made.add_tensor(*data)
    own, start = len(records) - len(tensors), made.size
    made.size += len(_zip.directory(entries, start))

    def close(checksums: list[int]) -> list[tuple[int, bytes]]:
        whole = entries[:own] + [
            replace(entry, crc=crc) for entry, crc in zip(entries[own:], checksums, strict=True)
        ]
        patches = [(e.header + _zip.CRC_AT, e.crc.to_bytes(4, "little")) for e in whole]
        return [*patches, (start, _zip.directory(whole, start))]

    made.closing = close
    return made


def _pickled(tensors: Mapping[str, Tensor]) -> bytes:
    """Encode the OrderedDict of tensors in protocol 2, as torch.save does."""
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    items = []
    for index, (name, tensor) in enumerate(tensors.items()):
        numel = math.prod(tensor.shape)
        strides = tuple(math.prod(tensor.shape[a + 1 :]) for a in range(len(tensor.shape)))
        storage = b"(" + text("storage") + b"ctorch\n" + _TYPES[tensor.dtype].encode() + b"\n"
        storage += text(str(index)) + text("cpu") + integer(numel) + b"tQ"
        axes = [
            b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (tensor.shape, strides)
        ]
        items.append(
            text(name)
            + b"ctorch._utils\n_rebuild_tensor_v2\n("
            + storage
            + integer(0)
            + b"".join(axes)
            + b"\x89"  # needs no gradient
            + ordered_dict
            + b"tR"
        )
    return b"\x80\x02" + ordered_dict + b"(" + b"".join(items) + b"u."
