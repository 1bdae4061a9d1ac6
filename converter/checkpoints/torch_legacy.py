"""Read files of torch.save before release 1.6: four pickles, a list of keys, the storages."""

import re
import tarfile
from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from . import arrays, pickles
from ._torch import Storages
from .storage import File, Part, Storage

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
# Its pickle in protocol 2 (the usual one), in 3 to 5, and in 1, which spells it.
_MAGIC = re.compile(
    rb"(?:\x80[\x02-\x05])?(?:\x95.{8})?\x8a\x0a%b\.|L%dL?\n\."
    % (re.escape(_MAGIC_NUMBER.to_bytes(10, "little")), _MAGIC_NUMBER),
    re.DOTALL,
)
_VERSION = 1001
_PICKLES = 5  # one after another


def looks_like(head: bytes) -> bool:
    """Tell whether a file begins as torch.save begins it, in any protocol.

    Raises:
        CheckpointError: It is a tar archive as well, which torch.load tries first.
    """
    if not _MAGIC.match(head):
        return False
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return True
    raise CheckpointError("a tar archive and a pickle at once; programs read it differently.")


def names_in(file: File) -> set[str]:
    """Give the names of all classes and functions in a file.

    Raises:
        CheckpointError: The file is cut short or malformed.
    """
    found, at = set[str](), 0
    for _ in range(_PICKLES):
        _, at = pickles.load(file, {}, lambda _: None, at, found)
    return found


def read_tree(file: File) -> Any:
    """Give the saved object, tensors as lazy `Tensor`, everything else inert.

    Raises:
        CheckpointError: The file is cut short or not of this format.
    """
    return _read(file, None)


def read_storage(data: Storage) -> Any:
    """Give the storage that torch.save wrote into a plain pickle of a tensor.

    Nothing is built in it, so that many of them cost no more than their bytes.

    Raises:
        CheckpointError: It is malformed.
    """
    return _read(data, {})


def _read(file: Storage, builders: Mapping[str, pickles.Builder] | None) -> Any:
    """Read the pickles and find the storages; with torch's own builders if there are no others."""
    _, at = pickles.load(file, {})
    version, at = pickles.load(file, {}, start=at)
    if type(version) is not int or version != _VERSION:
        raise CheckpointError(f"not in version {_VERSION} of torch.save's older format.")
    _system, at = pickles.load(file, {}, start=at)
    storages: dict[str, Part] = {}
    numels: dict[str, int] = {}

    def find(key: str, numel: int, width: int) -> Storage:
        size = numel * width
        found = storages.setdefault(key, Part(file, -1, size))
        if found.size != size or numels.setdefault(key, numel) != numel:
            raise CheckpointError(
                f"the pickle gives storage {key} two sizes: {found.size} and {size} bytes."
            )
        if size > file.size:
            raise CheckpointError(
                f"cut short: storage {key} should have {size} bytes, the file has {file.size}."
            )
        return found

    reader = Storages(find)  # always little-endian: torch swaps the bytes on other machines
    known = reader.builders() if builders is None else builders
    tree, at = pickles.load(file, known, reader.persistent_load, start=at)
    keys, at = pickles.load(file, {}, start=at)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("the list of storages is not a list of strings.")
    if sorted(keys) != sorted(storages):
        raise CheckpointError("the list of storages does not match those that the tensors use.")
    for key in keys:
        storage = storages[key]
        if at + 8 + storage.size > file.size:
            raise CheckpointError(
                f"cut short: storage {key} reaches past the end of the file. Copy or download it "
                f"again."
            )
        numel = int.from_bytes(file.read(at, 8), "little")
        if numel != numels[key]:
            raise CheckpointError(
                f"storage {key} has {numel} elements; its tensors expect {numels[key]}."
            )
        storage.start = at + 8
        at += 8 + storage.size
    return arrays.resolve(tree)
