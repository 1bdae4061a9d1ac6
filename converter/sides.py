"""The two frameworks: how code and people call them."""

from typing import Literal

Side = Literal["torch", "paddle"]
SIDES: tuple[Side, Side] = ("torch", "paddle")
NAMES: dict[Side, str] = {"torch": "PyTorch", "paddle": "Paddle"}
