"""Either framework: a model with its weights as a function of arrays."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .paddle_side import PaddleSide
from .setup import Setup
from .torch_side import TorchSide

AnySide = TorchSide | PaddleSide


def make_side(setup: Setup) -> AnySide:
    """Import the framework of a setup and set up the device.

    Raises:
        CheckpointError: The weights cannot be read.
        RunError: There is no such device, or it cannot be computed on.
    """
    return TorchSide(setup) if setup.framework == "torch" else PaddleSide(setup)


def as_function(side: AnySide, model: Any, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Give a model of one floating type as a function: images [B, 3, H, W] -> its one output."""

    def run(images: np.ndarray) -> np.ndarray:
        with side.floating(dtype), side.no_grad():
            return side.array(model(side.put(images.astype(dtype, copy=False))))

    return run


def is_class(layer: Any, expected: str) -> bool:
    """Tell whether a layer is of exactly the class of that name."""
    module, _, name = expected.rpartition(".")
    return type(layer) is getattr(sys.modules.get(module), name, None)
