"""Read PyTorch weights with PyTorch itself: a reader independent of vitconvert's own."""

import pickle
import pickletools
import zipfile
from collections import OrderedDict
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import NPZ, SAFETENSORS, Checkpoint, floats

_LEGACY_PICKLES = 5  # that torch.save wrote one after another before release 1.6


def read_with_torch(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """Read PyTorch weights with PyTorch's own reader.

    torch.load(weights_only=True) runs nothing, but refuses classes it does not know, such as the
    argparse.Namespace of a training checkpoint. Empty classes stand in for those.

    Returns:
        The tensors by name, without wrapper and prefix, and who read them: "torch", "numpy" for an
        .npz, or "vitconvert" where they refuse.
    """
    import torch

    shards = checkpoint.files[1:] or checkpoint.files
    trees = [_read(path, checkpoint.format) for path in shards]
    if None in trees:
        # Torch refuses some names whatever stands in. Our own reader steps in, and reports say so.
        state = {n: torch.from_numpy(floats(t, "float64")) for n, t in checkpoint.tensors.items()}
        return state, "vitconvert"
    tree = trees[0]
    if len(trees) > 1:
        tree = {name: value for shard in trees for name, value in shard.items()}
    state = {name: reduce(getitem, keys, tree) for name, keys in checkpoint.sources.items()}
    return state, "numpy" if NPZ in checkpoint.format else "torch"


def _read(path: Path, format_name: str) -> Any:
    """Read one file; None if its own reader refuses it."""
    with path.open("rb") as file:
        head = file.read(9)
    if NPZ in format_name:
        import torch

        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        except (TypeError, ValueError):  # bfloat16, which NumPy does not have
            return None
    if SAFETENSORS in format_name and head[8:] == b"{":
        from safetensors.torch import load_file

        return load_file(path)
    tree = _load_with_stand_ins(path, filled=False)
    return _load_with_stand_ins(path, filled=True) if tree is None else tree


def _load_with_stand_ins(path: Path, filled: bool) -> Any:
    """Load a file with empty classes in place of those that torch does not know.

    Args:
        path: The file.
        filled: Whether those that are not NumPy's are filled with entries.

    Returns:
        What the file holds; None if torch refuses it.
    """
    import torch

    stand_ins: list[Any] = []
    for name in _unknown_names(path):
        base = DictStandIn if filled and not name.startswith("numpy.") else StandIn
        stand_ins.append((type("StandIn", (base,), {}), name))
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, TypeError, ValueError, AttributeError):
        return None


def _unknown_names(path: Path) -> list[str]:
    """List the classes and functions in a file that torch does not know."""
    import torch

    if zipfile.is_zipfile(path):
        names: list[str] = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        return names
    found = set()
    with path.open("rb") as file:
        for _ in range(_LEGACY_PICKLES):
            for operation, argument, _at in pickletools.genops(file):
                if operation.name == "GLOBAL" and isinstance(argument, str):
                    found.add(argument.replace(" ", "."))
    return sorted(name for name in found if not name.startswith(("torch.", "collections.")))


class DictStandIn:
    """Takes the place of a class with entries, such as a configuration: torch fills no other."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Take any arguments; give a dict of the one class with attributes that torch fills."""
        return OrderedDict()


class StandIn:
    """Takes the place of any class or function in a checkpoint, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take any arguments."""

    def __setstate__(self, _: Any) -> None:
        """Take any state."""
