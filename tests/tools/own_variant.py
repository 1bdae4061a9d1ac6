"""Factories of one of our own models; the environment says of which."""

import os
from typing import Any

from vitconvert import create_model

VARIABLE = "VITCONVERT_TEST_VARIANT"


def torch_model() -> Any:
    """Build it for PyTorch."""
    return create_model(os.environ[VARIABLE], "torch")


def paddle_model() -> Any:
    """Build it for Paddle."""
    return create_model(os.environ[VARIABLE], "paddle")
