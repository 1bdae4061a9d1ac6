"""Evaluate converted checkpoints on labelled pictures, Paddle beside PyTorch."""

from ._result import Evaluation, Scores, Share
from ._run import evaluate

__all__ = ["Evaluation", "Scores", "Share", "evaluate"]
