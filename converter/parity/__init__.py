"""Parity: run both models in two processes, compare every paired layer, report."""

from ..terminal import Progress
from ._compare import LayerResult
from ._report import Report, write_text
from ._request import Device, Pair
from ._run import check_parity, compare_traces, dump
from ._terminal import markdown, show

__all__ = [
    "Device",
    "LayerResult",
    "Pair",
    "Progress",
    "Report",
    "check_parity",
    "compare_traces",
    "dump",
    "markdown",
    "show",
    "write_text",
]
