"""Evaluate converted checkpoints on labelled images, Paddle beside PyTorch."""

from ._result import Evaluation, Scores, Share
from ._run import ReportError, evaluate
from ._tally import judge
from ._terminal import show

__all__ = ["Evaluation", "ReportError", "Scores", "Share", "evaluate", "judge", "show"]
