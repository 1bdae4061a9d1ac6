"""Labelled pictures: where they lie, how a model is given them, and a loader of batches."""

from ._images import Pictures, check_classes
from ._loader import Batch, load_batches
from ._names import check_names, read_classes
from ._open import read_picture
from ._preprocess import Preprocessing, preprocessing_of
from ._sources import open_pictures

__all__ = [
    "Batch",
    "Pictures",
    "Preprocessing",
    "check_classes",
    "check_names",
    "load_batches",
    "open_pictures",
    "preprocessing_of",
    "read_classes",
    "read_picture",
]
