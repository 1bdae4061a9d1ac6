"""An evaluation beside the figures that were published for the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ...tables.reading import variants
from ...tables.variant import PREPROCESSING
from ._phrases import channels, images, interval
from ._result import Evaluation, Share

IMAGENET = 50_000  # images of the validation set that published figures are of
_INSIDE = "in the 95% interval"
_CLASSES = 1000  # of a variant that no table has any more


@dataclass(frozen=True)
class Published:
    """One published figure, beside the measured ones.

    Attributes:
        top1: In percent.
        source: Where it was published.
        weights: File name of its checkpoint; "" if not known.
        found: Whether it lies in the measured interval, in words; "" without an interval.
        remarks: Why the figures cannot be compared, in words; empty if they can.
        inside: Whether it lies in the interval of every side; None without an interval.
    """

    top1: float
    source: str
    weights: str
    found: str
    remarks: tuple[str, ...]
    inside: bool | None

    @property
    def sentence(self) -> str:
        """All of this in one sentence."""
        of = f" for {self.weights}" if self.weights else ""
        remarks = f"not comparable: {'; '.join(self.remarks)}" if self.remarks else ""
        parts = (f"{self.top1:g}%{of} ({self.source})", self.found, remarks)
        return "; ".join(filter(None, parts))


def published(evaluation: Evaluation) -> list[Published]:
    """Compare with the published figure of the evaluated file; with all if none has its name."""
    known = [figures for figures in evaluation.published if "top1" in figures]
    own = [figures for figures in known if _is_of(figures, evaluation)]
    return [_judged(figures, evaluation) for figures in own or known]


def _file(figures: Mapping[str, Any]) -> str:
    return PurePosixPath(str(figures.get("weights", ""))).name


def _is_of(figures: Mapping[str, Any], evaluation: Evaluation) -> bool:
    """Tell whether a side's file has the name of the released one, whatever its format."""
    stem = PurePosixPath(_file(figures)).stem
    files = (PurePosixPath(str(side.facts.get("file", ""))).name for side in evaluation.sides)
    return bool(stem) and any(name.startswith(f"{stem}.") for name in files)


def _judged(figures: Mapping[str, Any], evaluation: Evaluation) -> Published:
    top1 = float(figures["top1"])
    found, inside = "", None
    if evaluation.count and _classes(evaluation) == evaluation.num_classes:
        shares = {side.label: evaluation.top1(side) for side in evaluation.sides}
        places = {label: _place(top1 / 100, share) for label, share in shares.items()}
        inside = set(places.values()) == {_INSIDE}
        found = ", ".join(f"{place} of {label}" for label, place in places.items())
        if len(set(places.values())) == 1:
            ends = {interval(share.interval) for share in shares.values()}
            found = f"{places.popitem()[1]} ({' and '.join(sorted(ends))})"
    source = str(figures.get("source", "source unknown"))
    remarks = tuple(_remarks(figures, evaluation))
    return Published(top1, source, _file(figures), found, remarks, inside)


def _place(top1: float, share: Share) -> str:
    low, high = share.interval
    outside = "below " if top1 < low else "above " if top1 > high else ""
    return f"{outside}the 95% interval" if outside else _INSIDE


def _classes(evaluation: Evaluation) -> int:
    variant = variants().get(evaluation.variant)
    return variant.num_classes if variant is not None else _CLASSES


def _remarks(figures: Mapping[str, Any], evaluation: Evaluation) -> Iterator[str]:
    """Explain why a published figure cannot be compared."""
    classes, variant = _classes(evaluation), variants().get(evaluation.variant)
    if evaluation.num_classes != classes:
        yield f"published for {classes:,} classes, this head has {evaluation.num_classes:,}"
    if evaluation.count < IMAGENET:
        yield f"published for {IMAGENET:,} images, evaluated on {images(evaluation.count)}"
    preprocessing = {name: figures.get(name, value) for name, value in PREPROCESSING.items()}
    if variant is not None:
        preprocessing = {"size": variant.input_size, **preprocessing}
    changed = [
        f"{name} {channels(found)}, not {channels(expected)}"
        for name, expected in preprocessing.items()
        if not _equal(found := evaluation.preprocessing.get(name, expected), expected)
    ]
    if changed:
        yield f"other preprocessing: {', '.join(changed)}"


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-6, atol=0)
