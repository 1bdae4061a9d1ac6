"""Read PyTorch weights with PyTorch itself, so that our reader does not vouch for itself."""

import pickle
from collections import OrderedDict
from typing import Any

from ..checkpoints import SAFETENSORS, Checkpoint, floats


def read_with_torch(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """Read PyTorch weights with PyTorch's own reader, so that ours does not vouch for itself.

    torch.load(weights_only=True) runs nothing, but refuses classes it does not know, such as the
    argparse.Namespace of a training checkpoint. Empty classes stand in for those.
    """
    path = str(checkpoint.path)
    if checkpoint.format == SAFETENSORS:
        from safetensors.torch import load_file

        tree: Any = load_file(path)
    else:
        tree = _load_with_stand_ins(path, filled=False) or _load_with_stand_ins(path, filled=True)
    if tree is None:
        # Torch refuses some names whatever is said. Our own reader steps in, and is named.
        state = {n: floats(t, "float64") for n, t in checkpoint.tensors.items()}
        return state, "vitconvert"
    for key in checkpoint.wrapper:
        tree = tree[key]
    names = {checkpoint.prefix + name: name for name in checkpoint.tensors}
    return {names[key]: value for key, value in tree.items() if key in names}, "torch"


def _load_with_stand_ins(path: str, filled: bool) -> Any:
    """Load a file with empty classes in place of those that torch does not know.

    Args:
        path: The file.
        filled: Whether those that are not NumPy's are filled with entries.

    Returns:
        What the file holds; None if torch refuses it.
    """
    import torch

    stand_ins: list[Any] = []
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
        base = DictStandIn if filled and not name.startswith("numpy.") else StandIn
        stand_ins.append((type("StandIn", (base,), {}), name))
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, TypeError, ValueError, AttributeError):
        return None


class DictStandIn:
    """Takes the place of a class with entries, such as a configuration: torch fills no other."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Take any arguments; give a dict of the one class with attributes that torch fills."""
        return OrderedDict()


class StandIn:
    """Takes the place of any class or function in a checkpoint, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "StandIn":
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take any arguments."""

    def __setstate__(self, _: Any) -> None:
        """Take any state."""
