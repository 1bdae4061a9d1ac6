"""One spelling for both frameworks: tests that hold for either run for each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import paddle_in_float64
from vitconvert import create_model
from vitconvert.sides import Side

SIDES = [
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("paddle", marks=pytest.mark.paddle),
]
on_each_side = pytest.mark.parametrize("framework", SIDES)


def seeded(framework: Side) -> Any:
    """Import a framework, and set its seed."""
    if framework == "torch":
        import torch

        torch.manual_seed(0)
        return torch
    import paddle

    paddle.seed(0)
    return paddle


def tensor(framework: Side, values: np.ndarray, trained: bool = False) -> Any:
    """Make a tensor; it gets a gradient if it is trained."""
    if framework == "torch":
        return seeded("torch").tensor(values, requires_grad=trained)
    return seeded("paddle").to_tensor(values, stop_gradient=not trained)


def array(value: Any) -> np.ndarray:
    """Give the values of a tensor."""
    found: np.ndarray = value.detach().numpy()
    return found


def in_float64(framework: Side, variant: str, checkpoint: Path) -> Any:
    """Build a model in float64, and fill it."""
    if framework == "torch":
        return create_model(variant, "torch", checkpoint=checkpoint).double()
    with paddle_in_float64():
        return create_model(variant, checkpoint=checkpoint)
