"""An evaluation beside the figures that were published for the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ...tables.reading import variants
from ...tables.variant import PREPROCESSING
from ._phrases import channels, images, interval
from ._result import Evaluation, Share

IMAGENET = 50_000  # images of the validation set that published figures are of
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
    """Compare with the published figure of the evaluated file, or with all if its name is other."""
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
    remarks = tuple(_remarks(figures, evaluation))
    same_classes = _classes(evaluation) == evaluation.num_classes
    found, inside = "", None
    if evaluation.count and same_classes:
        shares = {side.label: evaluation.top1(side) for side in evaluation.sides}
        places = {label: _place(top1 / 100, share) for label, share in shares.items()}
        inside = set(places.values()) == {"in"}
        if len(set(places.values())) == 1:
            ends = {interval(share.interval) for share in shares.values()}
            found = f"{_named(next(iter(places.values())))} ({' and '.join(sorted(ends))})"
        else:
            told = (f"{_named(place)} of {label}" for label, place in places.items())
            found = ", ".join(told)
    source = str(figures.get("source", "source unknown"))
    return Published(top1, source, _file(figures), found, remarks, inside)


def _place(top1: float, share: Share) -> str:
    low, high = share.interval
    return "below" if top1 < low else "above" if top1 > high else "in"


def _named(place: str) -> str:
    return "in the 95% interval" if place == "in" else f"{place} the 95% interval"


def _classes(evaluation: Evaluation) -> int:
    variant = variants().get(evaluation.variant)
    return variant.num_classes if variant is not None else _CLASSES


def _remarks(figures: Mapping[str, Any], evaluation: Evaluation) -> list[str]:
    """Say why a published figure cannot be compared."""
    remarks, classes = [], _classes(evaluation)
    if evaluation.num_classes != classes:
        remarks.append(
            f"published for {classes:,} classes, this head has {evaluation.num_classes:,}"
        )
    if evaluation.count < IMAGENET:
        remarks.append(
            f"published for {IMAGENET:,} images, evaluated on {images(evaluation.count)}"
        )
    changed = [
        f"{name} {channels(found)}, not {channels(wanted)}"
        for name, wanted in _preprocessing(figures, evaluation).items()
        if not _equal(found := evaluation.preprocessing.get(name, wanted), wanted)
    ]
    if changed:
        remarks.append(f"other preprocessing: {', '.join(changed)}")
    return remarks


def _preprocessing(figures: Mapping[str, Any], evaluation: Evaluation) -> dict[str, Any]:
    """Give the preprocessing that a figure was published with."""
    wanted = {name: figures.get(name, value) for name, value in PREPROCESSING.items()}
    variant = variants().get(evaluation.variant)
    size = {} if variant is None else {"size": variant.input_size}
    return size | wanted


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)
