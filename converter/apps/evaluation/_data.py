"""The images of an evaluation: which of them, in which order, with the labels of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError, some
from ...images import Known, known_classes, match_classes, open_images

if TYPE_CHECKING:
    from ...running.team import Team
    from ._options import EvaluationOptions

_ORDER = 0  # seed of the order in which images are evaluated


class Data:
    """The images of one process.

    Attributes:
        source: The path as the user gave it.
        images: With the labels of the model, as far as its classes are known by now.
        matching: How they became these labels, in words.
        chosen: int64 [N], indices of the images that all processes together evaluate.
        share: int64 [n], this process's share of them in random order: at any moment, those that
            are done are a sample of all.
        fingerprint: Of names and labels as they were found.
    """

    def __init__(
        self, source: str, known: Known | None, how: EvaluationOptions, team: Team
    ) -> None:
        """Find the images; `label` is next.

        Args:
            source: A path.
            known: Names of the model's classes.
            how: Has limit and exif.
            team: The processes that share them.
        """
        self.source, self.known = source, known
        self.images = self._found = open_images(source, "val", exif=how.exif)
        self.matching = ""
        count = len(self._found)
        self.chosen = np.linspace(0, count, min(how.limit or count, count), False).astype(np.int64)
        share = self.chosen[team.rank :: team.size]
        self.share = np.random.default_rng(_ORDER).permutation(share)
        facts = (self._found.names, self._found.labels.tolist(), self._found.classes)
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def label(self, num_classes: int) -> None:
        """Give the images the labels that their classes have in the model.

        Args:
            num_classes: Size of the head; 0 if that is not known before the model runs.

        Raises:
            DataError: They do not fit.
        """
        num_classes = num_classes or (len(self.known.names) if self.known else 0)
        if num_classes:
            matched = match_classes(self._found, num_classes, self.known)
            self.images, self.matching = matched.images, matched.how


def names_of(
    files: Sequence[Path],
    num_classes: int | None,
    given: Sequence[str],
    stored: Mapping[Path, Known],
) -> Known | None:
    """Find the names of the classes that all models have.

    Args:
        files: Their weights.
        num_classes: Size of the heads; None if that is not known before the models run.
        given: Names that the user gave.
        stored: Names that exports among the weights have themselves.

    Raises:
        DataError: There are too many or too few, or two models have others.
    """
    known = [known_classes(path, num_classes, given, stored.get(path)) for path in files]
    found = [one for one in known if one is not None]
    for other in found[1:]:
        if other.names != found[0].names:
            raise DataError(
                f"{found[0].source} has the classes {some(found[0].names, 4)}, {other.source} has "
                f"{some(other.names, 4)}: both models must have the same in the same order."
            )
    return found[0] if found else None
