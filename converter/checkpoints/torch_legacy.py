"""Read files of torch.save before release 1.6: four pickles, a list of keys, the storages."""

from typing import Any

from ..errors import CheckpointError
from . import pickles
from ._torch import Storages
from .storage import File, Part, Storage

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
MAGIC = b"\x80\x02\x8a\x0a" + _MAGIC_NUMBER.to_bytes(10, "little")
_VERSION = 1001


def read_tree(file: File) -> Any:
    """Give the saved object, tensors as lazy `Tensor`, everything else inert.

    Raises:
        CheckpointError: The file is cut short or not of this format.
    """
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
    tree, at = pickles.load(file, reader.builders(), reader.persistent_load, start=at)
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
    return tree
