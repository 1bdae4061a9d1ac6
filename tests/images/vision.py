"""torchvision's transforms, which need none of its compiled operators."""

from importlib import import_module
from types import ModuleType

import pytest


def torchvision_transforms() -> ModuleType:
    """Import `torchvision.transforms`; skip the test where torchvision is not installed."""
    pytest.importorskip("torch")
    pytest.importorskip("PIL")
    from vitconvert.models_torch._torchvision import import_torchvision

    try:
        import_torchvision()
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed")
    return import_module("torchvision.transforms")
