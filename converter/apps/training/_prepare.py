"""The training and validation images of a run, and whether they fit each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ...plain import real
from ._augment import Augmentation
from ._batches import Batches, spread
from ._classes import in_order
from ._evaluate import Validation
from ._model import check_variant
from ._readable import check_readable

if TYPE_CHECKING:
    from ...images import Images, Known
    from ...running.team import Team
    from ._settings import Settings

_COMPARED = 16  # images, of two sets that seem to be one
_TRAINING = "the training images"
_ADVICE = "Both sets need the same classes; the validation images may lack some."


@dataclass(frozen=True)
class Prepared:
    """The images of a run.

    Attributes:
        images: Training images.
        chosen: int64 [N], indices of those to train on.
        validation: Validation images.
        classes: Names, or numbers as texts, in the order of labels.
        is_same: Whether training and validation images are the same.
        ordered: Whose order the classes of the training images follow, if not their own.
        matched: How those of the validation images became theirs, if they differ.
        is_new_head: Whether the weights' head is for other classes, though for as many.
        unreadable: Index and reason of training images that cannot be read, as far as is known.
    """

    images: Images
    chosen: np.ndarray
    validation: Validation
    classes: tuple[str, ...]
    is_same: bool
    ordered: str = ""
    matched: str = ""
    is_new_head: bool = False
    unreadable: Mapping[int, str] = field(default_factory=dict)

    def batches(self, settings: Settings, team: Team) -> Batches:
        """Give the batches for one process of a team."""
        if len(self.chosen) < team.size:
            raise DataError(
                f"{self.images.source}: {len(self.chosen)} training images; expected at "
                f"least one for each of {team.size} processes."
            )
        augmentation = Augmentation(self.validation.preprocessing, settings)
        parts = self.images, self.chosen, len(self.classes), augmentation, settings, team
        return Batches(*parts, unreadable=dict(self.unreadable))

    def fingerprint(self) -> str:
        """Identify the images by classes, labels and names; their location may change."""
        digest = sha256(json.dumps(self.classes).encode())
        for part in (self.images, self.validation.images):
            digest.update(part.labels.tobytes())
            digest.update("\n".join(part.names).encode(errors="surrogateescape"))
        return digest.hexdigest()


def prepare(settings: Settings, resumed: Known | None = None) -> Prepared:
    """Open both sets of images, compare their classes, and read some images of each.

    Args:
        settings: Of the run.
        resumed: The classes of the run that is resumed, whose order stays.

    Raises:
        DataError: One is empty or cannot be read, they do not fit each other or the number of
            classes, or they are the same and `val_data` does not say so.
    """
    from ...images import Known, match_classes, open_images, preprocessing_of

    _table, variant = check_variant(settings.variant)
    images = open_images(settings.data, "train", exif=settings.exif)
    validation = open_images(settings.val_data or settings.data, "val", exif=settings.exif)
    for part in (images, validation):
        if not len(part):
            raise DataError(f"{part.source} ({part.described}): holds no images.")
    is_same = _are_same(images, validation)
    if is_same and settings.val_data is None:
        raise DataError(
            f"{images.source} ({images.described}): is not split, so the model would be evaluated "
            f"on its own training images. Expected train/ and val/ or test/ with class folders, or "
            f"train.zip and test.zip; or choose validation images with --val-data."
        )
    num_classes = _count(settings, images)
    ordered = in_order(images, num_classes, settings.weights, resumed)
    images = ordered.images
    classes = images.classes or tuple(str(label) for label in range(num_classes))
    matched = match_classes(validation, num_classes, Known(classes, _TRAINING), _ADVICE)
    preprocessing = preprocessing_of(variant, size=settings.img_size)
    chosen = spread(len(images), settings.limit)
    data = Validation(matched.images, spread(len(validation), settings.limit), preprocessing)
    unreadable = check_readable("training images", images, chosen, preprocessing)
    check_readable("validation images", data.images, data.chosen, preprocessing)
    same_names = matched.images.classes == validation.classes and matched.by_name
    return Prepared(
        images,
        chosen,
        data,
        classes,
        is_same,
        ordered.remark,
        "" if same_names else matched.how,
        ordered.is_other,
        unreadable,
    )


def _count(settings: Settings, images: Images) -> int:
    """Give the number of classes, that of the training images.

    Raises:
        DataError: Another is asked for, or a label is too large.
    """
    from ...images import check_classes

    found, asked = len(images.classes), settings.num_classes
    if found and asked not in (None, found):
        raise DataError(
            f"--num-classes is {asked}, but the images have {found} classes. Leave it out: the "
            f"head gets the classes of the images."
        )
    num_classes = (found or int(images.labels.max()) + 1) if asked is None else asked
    check_classes(images, num_classes)
    return num_classes


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
