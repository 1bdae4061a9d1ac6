"""Where a model looked: which parts of an image its answer depends on, without gradients."""

from ._draw import flat_text
from ._explain import Explained, Explanation, Options, explain
from ._model import MEASURES
from ._write import write_explained

__all__ = [
    "MEASURES",
    "Explained",
    "Explanation",
    "Options",
    "explain",
    "flat_text",
    "write_explained",
]
