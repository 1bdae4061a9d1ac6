"""Read PyTorch weights with PyTorch itself: a reader independent of vitconvert's own."""

import warnings
from collections import OrderedDict
from collections.abc import Iterable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import (
    ARRAYS,
    NPY,
    NPZ,
    TORCH_LEGACY,
    TORCH_PICKLE,
    TORCH_ZIP,
    Checkpoint,
    floats,
    names_in,
)

_PICKLES = (ARRAYS, TORCH_PICKLE, NPY)  # that NumPy and Python read by executing them
_KNOWN = ("torch.", "collections.")  # names that torch decides on itself


def read_with_torch(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """Read PyTorch weights with PyTorch's own reader.

    torch.load(weights_only=True) runs nothing, but refuses classes it does not know, such as the
    argparse.Namespace of a training checkpoint. Empty classes stand in for those.

    Returns:
        The tensors by name, without wrapper and prefix, and who read them: "torch", "numpy" for an
        .npz, "vitconvert" where they refuse, or "torch, vitconvert" where tensors of the file are
        joined, turned or resized first.
    """
    state, reader = _read_independently(checkpoint)
    import torch

    ours = {n: t for n, t in checkpoint.tensors.items() if n not in checkpoint.sources}
    if all(isinstance(state.get(name), torch.Tensor) for name in checkpoint.sources):
        made = {n: torch.from_numpy(floats(t, "float64")) for n, t in ours.items()}
        return state | made, f"{reader}, vitconvert".lstrip(", ") if made else reader
    # Torch refuses some names whatever stands in, and NumPy's arrays. Our own
    # reader steps in, and reports say so.
    state = {n: torch.from_numpy(floats(t, "float64")) for n, t in checkpoint.tensors.items()}
    return state, "vitconvert"


def _read_independently(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """Read with the format's own library; what it refuses is missing."""
    if checkpoint.format in _PICKLES:
        return {}, ""
    shards = checkpoint.files[1:] or checkpoint.files
    trees = [_read(path, NPZ in checkpoint.format) for path in shards]
    if None in trees:
        return {}, ""
    tree = trees[0]
    if len(trees) > 1:
        tree = {name: value for shard in trees for name, value in shard.items()}
    try:
        state = {name: reduce(getitem, keys, tree) for name, keys in checkpoint.sources.items()}
    except (LookupError, TypeError):  # a stand-in takes the place of what holds them
        return {}, ""
    return state, "numpy" if NPZ in checkpoint.format else "torch"


def _read(path: Path, is_npz: bool) -> Any:
    """Read one file; None if its own reader refuses it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols other than 2, most of which it refuses
            return _npz(path) if is_npz else _torch(path)
    except Exception:
        # Whatever its reasons, which differ between releases: ours steps in, and reports name it.
        return None


def _npz(path: Path) -> Any:
    """Read a file with NumPy; it refuses bfloat16, which it does not have."""
    import torch

    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _torch(path: Path) -> Any:
    """Read a file with PyTorch, or with the reader of safetensors."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":
        from safetensors.torch import load_file

        return load_file(path)
    names = names_in(path, TORCH_ZIP if head.startswith(b"PK") else TORCH_LEGACY)
    try:
        return _load_with_stand_ins(path, names, filled=False)
    except Exception:
        return _load_with_stand_ins(path, names, filled=True)


def _load_with_stand_ins(path: Path, names: Iterable[str], filled: bool) -> Any:
    """Load a file with empty classes in place of those that torch does not know.

    Args:
        path: The file.
        names: Of all classes and functions in it.
        filled: Whether those that are not NumPy's are filled with entries.

    Raises:
        Exception: PyTorch refuses it.
    """
    import torch

    stand_ins: list[Any] = []
    for name in sorted(name for name in names if not name.startswith(_KNOWN)):
        base = DictStandIn if filled and not name.startswith("numpy.") else StandIn
        stand_ins.append((type("StandIn", (base,), {}), name))
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True)


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
