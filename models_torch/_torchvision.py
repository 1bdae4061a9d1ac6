"""torchvision beside a PyTorch for the CPU, which its compiled operators do not load with."""

from importlib import import_module
from types import ModuleType

_OPERATORS = ("nms", "qnms")
_kept: list[object] = []  # a declaration goes with the object that made it


def import_torchvision() -> ModuleType:
    """Import torchvision, which timm imports; call this before importing that.

    Its wheels are built for CUDA. Without CUDA the import fails over two operators that the
    compiled part would have declared. They are declared here and never run.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    try:
        return import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        library = import_module("torch.library").Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        return import_module("torchvision")
