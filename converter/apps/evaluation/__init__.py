"""Evaluate converted checkpoints on labelled pictures, Paddle beside PyTorch."""

from ._result import Evaluation, Scores, Share
from ._run import ReportError, evaluate

__all__ = ["Evaluation", "ReportError", "Scores", "Share", "evaluate"]
