"""Labelled images: finding, preprocessing and loading them in batches."""

from ._classes import order_classes, synsets
from ._images import Images, check_classes
from ._known import Known, known_classes
from ._loader import Batch, load_batches
from ._matching import Matched, match_classes
from ._names import read_classes
from ._open import open_image, read_image
from ._preprocess import Preprocessing, preprocessing_of
from ._sources import open_images

__all__ = [
    "Batch",
    "Images",
    "Known",
    "Matched",
    "Preprocessing",
    "check_classes",
    "known_classes",
    "load_batches",
    "match_classes",
    "open_image",
    "open_images",
    "order_classes",
    "preprocessing_of",
    "read_classes",
    "read_image",
    "synsets",
]
