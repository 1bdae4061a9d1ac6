"""Evaluate converted checkpoints on labelled images, Paddle beside PyTorch."""

from ._markdown import MARK, markdown
from ._result import Evaluation, Scores, Share
from ._run import ReportError, evaluate
from ._tally import judge
from ._terminal import show

__all__ = [
    "MARK",
    "Evaluation",
    "ReportError",
    "Scores",
    "Share",
    "evaluate",
    "judge",
    "markdown",
    "show",
]
