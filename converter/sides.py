"""The two frameworks: how code and people call them, and the dtypes that both take."""

from typing import Literal

Side = Literal["torch", "paddle"]
SIDES: tuple[Side, Side] = ("torch", "paddle")
NAMES: dict[Side, str] = {"torch": "PyTorch", "paddle": "Paddle"}
CASTS = ("float32", "float16", "bfloat16")  # what weights can be cast to
