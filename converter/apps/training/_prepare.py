"""The pictures of a run: what is learnt from, what is evaluated, and whether the two fit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ._augment import augmentation_of
from ._batches import Batches, spread
from ._model import check_variant
from ._trainer import Validation

if TYPE_CHECKING:
    from ...images import Pictures
    from ._devices import Team
    from ._settings import Settings

_COMPARED = 16  # pictures, of two sets that seem to be one


@dataclass(frozen=True)
class Prepared:
    """The pictures of a run.

    Attributes:
        pictures: To learn from.
        chosen: int64 [N], those of them that are.
        validation: What is evaluated.
        classes: Names, or numbers as texts, in the order of labels.
        is_same: Whether what is evaluated is what is learnt from.
    """

    pictures: Pictures
    chosen: np.ndarray
    validation: Validation
    classes: tuple[str, ...]
    is_same: bool

    def batches(self, settings: Settings, team: Team) -> Batches:
        """Give the batches for one process of a team."""
        if len(self.chosen) < team.size:
            raise DataError(
                f"{self.pictures.source}: {len(self.chosen)} pictures to learn from; expected at "
                f"least one for each of {team.size} processes."
            )
        augmentation = augmentation_of(settings, self.validation.preprocessing)
        return Batches(self.pictures, self.chosen, len(self.classes), augmentation, settings, team)

    def fingerprint(self) -> str:
        """Identify the pictures by classes, labels and names; where they lie may change."""
        digest = sha256(json.dumps(self.classes).encode())
        for part in (self.pictures, self.validation.pictures):
            digest.update(part.labels.tobytes())
            digest.update("\n".join(part.names).encode(errors="surrogateescape"))
        return digest.hexdigest()


def prepare(settings: Settings) -> Prepared:
    """Open both sets of pictures and compare their classes.

    Raises:
        DataError: One is empty, they do not fit each other or the number of classes, or they are
            the same, which was not asked for.
    """
    from ...images import check_classes, open_pictures, preprocessing_of

    _table, variant = check_variant(settings.variant)
    pictures = open_pictures(settings.data, "train")
    validation = open_pictures(settings.val_data or settings.data, "val")
    _check_fit(pictures, validation)
    is_same = _are_same(pictures, validation)
    if is_same and settings.val_data is None:
        raise DataError(
            f"{pictures.source} ({pictures.described}): is not split, so that what is learnt from "
            f"would be evaluated. Expected train/ and val/ or test/ of class folders, or train.zip "
            f"and test.zip; or give the pictures to evaluate with --val-data."
        )
    _check_asked(settings.num_classes, pictures)
    found = len(pictures.classes) or int(pictures.labels.max()) + 1
    num_classes = found if settings.num_classes is None else settings.num_classes
    for part in (pictures, validation):
        check_classes(part, num_classes)
    classes = pictures.classes or tuple(str(label) for label in range(num_classes))
    preprocessing = preprocessing_of(variant, size=settings.img_size)
    chosen = spread(len(validation), settings.limit)
    return Prepared(
        pictures,
        spread(len(pictures), settings.limit),
        Validation(validation, chosen, preprocessing),
        classes,
        is_same,
    )


def _check_fit(pictures: Pictures, validation: Pictures) -> None:
    """Refuse an empty set, or two whose labels mean other classes."""
    for part in (pictures, validation):
        if not len(part):
            raise DataError(f"{part.source} ({part.described}): holds no pictures.")
    if pictures.classes and validation.classes and pictures.classes != validation.classes:
        odd = sorted({*pictures.classes} ^ {*validation.classes})
        raise DataError(
            f"{pictures.source} ({pictures.described}) and {validation.source} "
            f"({validation.described}) have other classes: {', '.join(odd[:8])}. Labels are places "
            f"in the sorted list, so that both need the same."
        )


def _check_asked(asked: int | None, pictures: Pictures) -> None:
    """Refuse another number of classes than the pictures have names of."""
    found = len(pictures.classes)
    if found and asked not in (None, found):
        raise DataError(
            f"--num-classes is {asked}, the pictures have {found} classes. Leave it out: the head "
            f"is made for the pictures."
        )


def _are_same(first: Pictures, second: Pictures) -> bool:
    """Tell whether two sets are one: same names, labels and, as far as a few tell, pictures."""

    def content(pictures: Pictures, index: int) -> object:
        try:
            found = pictures.read(index)
        except DataError as error:  # damaged in both, or not the same
            return str(error)
        if isinstance(found, np.ndarray):
            return found.tobytes()
        return found.resolve() if isinstance(found, Path) else found

    if first.names != second.names or not np.array_equal(first.labels, second.labels):
        return False
    return all(content(first, i) == content(second, i) for i in spread(len(first), _COMPARED))
