"""Labelled images: finding, preprocessing and loading them in batches."""

from ._classes import order_classes, synsets
from ._images import Images, check_classes
from ._loader import Batch, load_batches
from ._names import check_names, read_classes
from ._open import open_image, read_image
from ._preprocess import Preprocessing, preprocessing_of
from ._sources import open_images

__all__ = [
    "Batch",
    "Images",
    "Preprocessing",
    "check_classes",
    "check_names",
    "load_batches",
    "open_image",
    "open_images",
    "order_classes",
    "preprocessing_of",
    "read_classes",
    "read_image",
    "synsets",
]
