"""torchvision beside a CPU build of PyTorch, with which its compiled operators do not load."""

from importlib import import_module
from types import ModuleType

_OPERATORS = ("nms", "qnms")
_kept: list[object] = []  # a declaration lives as long as the object that made it


def import_torchvision() -> ModuleType:
    """Import torchvision, which timm imports; call this before importing that.

    Its wheels are built for CUDA. Without CUDA the import fails over two operators that the
    compiled part would have declared. This function declares them; nothing ever runs them.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    try:
        return import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        library = import_module("torch.library").Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        return import_module("torchvision")
