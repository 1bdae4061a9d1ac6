"""The two frameworks: their names in code and in messages, and the dtypes that both accept."""

from collections.abc import Mapping
from typing import Any, Literal

Side = Literal["torch", "paddle"]
SIDES: tuple[Side, Side] = ("torch", "paddle")
NAMES: dict[Side, str] = {"torch": "PyTorch", "paddle": "Paddle"}
CASTS = ("float32", "float16", "bfloat16")  # dtypes that weights can be cast to


def describe_side(label: str, framework: str, facts: Mapping[str, Any]) -> str:
    """Say what a side ran on: "PyTorch 2.13.0 on cpu"; what is not known is left out."""
    version = str(facts.get(framework, ""))
    where = facts.get("card", facts.get("device"))
    return " ".join(filter(None, (label, version, f"on {where}" if where else "")))
