"""Models in Paddle's inference form: written and checked, and run from it."""

from ._export import Exported, export
from ._manifest import read_facts
from ._predictor import Predictor

__all__ = ["Exported", "Predictor", "export", "read_facts"]
