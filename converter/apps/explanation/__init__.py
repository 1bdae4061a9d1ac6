"""Where a model looked: which parts of an image its answer depends on, without gradients."""

from ._draw import draw, flat_text
from ._explain import Explained, Explanation, Options, explain
from ._lime import lime
from ._measures import MEASURES, Measure, scores
from ._model import Classifier, load_classifier
from ._occlusion import occlusion, places
from ._write import write_explained

__all__ = [
    "MEASURES",
    "Classifier",
    "Explained",
    "Explanation",
    "Measure",
    "Options",
    "draw",
    "explain",
    "flat_text",
    "lime",
    "load_classifier",
    "occlusion",
    "places",
    "scores",
    "write_explained",
]
