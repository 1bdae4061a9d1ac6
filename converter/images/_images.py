"""A labelled set of images, each opened on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, some
from ._classes import imply_classes
from ._open import open_image

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Images:
    """A labelled set of images.

    Attributes:
        source: The path as the user gave it.
        described: A description of the source, such as "zip of 10 class folders, split test".
        classes: Names in the order of labels; empty if the source has numbers only.
        labels: int64 [N], from 0.
        names: One per image, unique, as a user would look it up: "cat/0001.jpg".
        read: Gives the file of an image, its bytes, or its pixels uint8 [H, W, 3], by its index;
            may be called from several threads.
        are_listed_numbers: Whether `classes` are numbers in a list, counted from 1.
        exif: Whether the orientation that a camera noted is applied.
        root: The folder all of whose files were looked at; None for lists and archives.
        oriented: Indices of images read so far whose orientation was not applied.
    """

    source: str
    described: str
    classes: tuple[str, ...]
    labels: np.ndarray
    names: tuple[str, ...]
    read: Callable[[int], Path | bytes | np.ndarray]
    are_listed_numbers: bool = False
    exif: bool = False
    root: Path | None = None
    oriented: set[int] = field(default_factory=set, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def open(self, index: int) -> Image:
        """Read one image as RGB; may be called from several threads.

        Raises:
            DataError: The image cannot be read; the message names its file.
        """
        found = self.read(index)
        if isinstance(found, np.ndarray):
            from PIL import Image

            return Image.fromarray(found)
        image, is_turned = open_image(found, self.names[index], exif=self.exif)
        if is_turned:
            self.oriented.add(index)
        return image

    @property
    def orientation(self) -> str:
        """Count the images read so far whose orientation was not applied, after a comma; or ""."""
        count = len(self.oriented)
        if not count:
            return ""
        which = "1 image has" if count == 1 else f"{count:,} images have"
        return f", {which} an EXIF orientation that is not applied (--exif applies it)"

    def implied_classes(self, num_classes: int) -> tuple[str, ...]:
        """Give the names of all classes of a head, as far as those of the images tell; or ().

        The 1000 synsets if the images have some of them; 0 and following if the classes are some of
        these numbers. Numbers in a list mean what they say if the head has more classes than that.
        """
        if self.are_listed_numbers and len(self.classes) < num_classes:
            return tuple(str(label) for label in range(num_classes))
        return imply_classes(self.classes, num_classes)


def check_classes(images: Images, num_classes: int) -> None:
    """Compare the labels of images with the classes of a model's head.

    Raises:
        DataError: The number of classes differs, or a label is too large.
    """
    where = f"{images.source} ({images.described})"
    count = len(images.classes)
    if count and count != num_classes:
        raise DataError(
            f"{where}: has {count} class{'es' * (count > 1)} ({some(images.classes, 4)}); "
            f"the model has a head for {num_classes}. Labels are positions in the sorted list of "
            f"classes, so all {num_classes} are needed."
        )
    largest = int(images.labels.max(initial=0))
    if largest >= num_classes:
        index = int(images.labels.argmax())
        raise DataError(
            f"{where}: {images.names[index]} has label {largest}; the model has labels 0 to "
            f"{num_classes - 1}."
        )
