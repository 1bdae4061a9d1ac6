"""The two frameworks: their names in code and in messages, and the dtypes that both accept."""

from typing import Literal

Side = Literal["torch", "paddle"]
SIDES: tuple[Side, Side] = ("torch", "paddle")
NAMES: dict[Side, str] = {"torch": "PyTorch", "paddle": "Paddle"}
CASTS = ("float32", "float16", "bfloat16")  # dtypes that weights can be cast to
