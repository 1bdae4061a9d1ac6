"""Parity: run both models in two processes, compare every paired layer, report."""

from ._compare import LayerResult
from ._report import Report, show
from ._run import Device, Progress, check_parity

__all__ = ["Device", "LayerResult", "Progress", "Report", "check_parity", "show"]
