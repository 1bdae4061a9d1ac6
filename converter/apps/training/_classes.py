"""The order of classes that training images get: that of a head which has learned it already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, some

if TYPE_CHECKING:
    from ...images import Images, Known


@dataclass(frozen=True)
class Ordered:
    """Training images with the labels to train on.

    Attributes:
        images: Their classes are in the order of labels.
        remark: Whose order it is, if not their own; or whose classes they do not have.
        is_other: Whether the weights' head is for other classes.
    """

    images: Images
    remark: str = ""
    is_other: bool = False


def in_order(
    images: Images, num_classes: int, weights: str | None, resumed: Known | None
) -> Ordered:
    """Give training images the order of classes that a head has, if its classes are theirs.

    Args:
        images: As they were found.
        num_classes: Of the images.
        weights: Checkpoint that training starts from; its head is kept if it has as many classes.
        resumed: The classes of the run that is resumed.
    """
    from ...images import known_classes, match_classes

    known = resumed
    if known is None and weights is not None:
        known = known_classes(Path(weights))
    if known is None or len(known.names) != num_classes:
        return Ordered(images)
    try:
        matched = match_classes(images, num_classes, known)
    except DataError:  # other classes: a new head for them, or other images than the run had
        if resumed:
            return Ordered(images)
        remark = f"{known.source} names other classes ({some(known.names, 4)})"
        return Ordered(images, remark, is_other=True)
    if resumed:
        return Ordered(matched.images)
    if not matched.by_name or images.classes == known.names:
        return Ordered(images)
    return Ordered(matched.images, f"classes {matched.how}")
