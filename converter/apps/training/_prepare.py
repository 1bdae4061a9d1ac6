"""The training and validation images of a run, and whether they fit each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ...plain import real
from ._augment import Augmentation
from ._batches import Batches, spread
from ._evaluate import Validation
from ._model import check_variant

if TYPE_CHECKING:
    from ...images import Images
    from ...running.team import Team
    from ._settings import Settings

_COMPARED = 16  # images, of two sets that seem to be one


@dataclass(frozen=True)
class Prepared:
    """The images of a run.

    Attributes:
        images: Training images.
        chosen: int64 [N], indices of those to train on.
        validation: Validation images.
        classes: Names, or numbers as texts, in the order of labels.
        is_same: Whether training and validation images are the same.
    """

    images: Images
    chosen: np.ndarray
    validation: Validation
    classes: tuple[str, ...]
    is_same: bool

    def batches(self, settings: Settings, team: Team) -> Batches:
        """Give the batches for one process of a team."""
        if len(self.chosen) < team.size:
            raise DataError(
                f"{self.images.source}: {len(self.chosen)} training images; expected at "
                f"least one for each of {team.size} processes."
            )
        augmentation = Augmentation(self.validation.preprocessing, settings)
        return Batches(self.images, self.chosen, len(self.classes), augmentation, settings, team)

    def fingerprint(self) -> str:
        """Identify the images by classes, labels and names; their location may change."""
        digest = sha256(json.dumps(self.classes).encode())
        for part in (self.images, self.validation.images):
            digest.update(part.labels.tobytes())
            digest.update("\n".join(part.names).encode(errors="surrogateescape"))
        return digest.hexdigest()


def prepare(settings: Settings) -> Prepared:
    """Open both sets of images and compare their classes.

    Raises:
        DataError: One is empty, they do not fit each other or the number of classes, or they are
            the same and `val_data` does not say so.
    """
    from ...images import check_classes, open_images, preprocessing_of

    _table, variant = check_variant(settings.variant)
    images = open_images(settings.data, "train")
    validation = open_images(settings.val_data or settings.data, "val")
    _check_fit(images, validation)
    is_same = _are_same(images, validation)
    if is_same and settings.val_data is None:
        raise DataError(
            f"{images.source} ({images.described}): is not split, so the model would be evaluated "
            f"on its own training images. Expected train/ and val/ or test/ with class folders, or "
            f"train.zip and test.zip; or choose validation images with --val-data."
        )
    found, asked = len(images.classes), settings.num_classes
    if found and asked not in (None, found):
        raise DataError(
            f"--num-classes is {asked}, but the images have {found} classes. Leave it out: the "
            f"head gets the classes of the images."
        )
    num_classes = (found or int(images.labels.max()) + 1) if asked is None else asked
    for part in (images, validation):
        check_classes(part, num_classes)
    classes = images.classes or tuple(str(label) for label in range(num_classes))
    preprocessing = preprocessing_of(variant, size=settings.img_size)
    chosen = spread(len(validation), settings.limit)
    return Prepared(
        images,
        spread(len(images), settings.limit),
        Validation(validation, chosen, preprocessing),
        classes,
        is_same,
    )


def _check_fit(images: Images, validation: Images) -> None:
    """Refuse an empty set, or two whose labels mean other classes."""
    for part in (images, validation):
        if not len(part):
            raise DataError(f"{part.source} ({part.described}): holds no images.")
    if images.classes and validation.classes and images.classes != validation.classes:
        odd = sorted({*images.classes} ^ {*validation.classes})
        raise DataError(
            f"{images.source} ({images.described}) and {validation.source} "
            f"({validation.described}) have different classes: {', '.join(odd[:8])}. Labels are "
            f"positions in the sorted list, so both sets need the same classes."
        )


def _are_same(first: Images, second: Images) -> bool:
    """Tell whether two sets are the same: names, labels and a sample of the images."""

    def content(images: Images, index: int) -> object:
        try:
            found = images.read(index)
        except DataError as error:  # damaged in both, or not the same
            return str(error)
        if isinstance(found, np.ndarray):
            return found.tobytes()
        return real(found) if isinstance(found, Path) else found

    if first.names != second.names or not np.array_equal(first.labels, second.labels):
        return False
    return all(content(first, i) == content(second, i) for i in spread(len(first), _COMPARED))
