"""torchvision's transforms, which need none of its compiled operators.

Its wheels are built for CUDA. Beside a torch for the CPU the compiled part does not load, and the
import fails over two operators that it would have declared. They are declared here and never run.
"""

from types import ModuleType

import pytest

_OPERATORS = ("nms", "qnms")
_kept = []  # a declaration goes with the object that made it


def torchvision_transforms() -> ModuleType:
    """Import `torchvision.transforms`; skip the test where torchvision is not installed."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("PIL")
    try:
        from torchvision import transforms
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:  # operator torchvision::nms does not exist
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        from torchvision import transforms
    return transforms
