"""An evaluation as data: report.json, and images.csv with a row for every image."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._confusion import MATRIX, most_confused
from ._phrases import class_name, verdict, worst_first
from ._published import published
from ._result import Evaluation, Scores, Share
from ._tally import PER_PAIR, PER_SIDE

if TYPE_CHECKING:
    from ...images import Images

MARK = "vitconvert evaluation"  # the "kind" of every report.json


def to_dict(evaluation: Evaluation, images: Images | None = None) -> dict[str, Any]:
    """Give everything but the figures of every image.

    Args:
        evaluation: What was found.
        images: That were evaluated, for the indices of those that cannot be read.

    Returns:
        Plain data for JSON; a number that is not finite is None.
    """
    from ...version import __version__

    places = {} if images is None else {name: i for i, name in enumerate(images.names)}
    data = {
        "kind": MARK,
        "vitconvert": __version__,
        "variant": evaluation.variant,
        "num_classes": evaluation.num_classes,
        "data": evaluation.data,
        "described": evaluation.described,
        "classes": list(evaluation.classes),
        "evaluated": evaluation.count,
        "wanted": evaluation.wanted,
        "partial": evaluation.partial,
        "same": evaluation.same,
        "verdict": verdict(evaluation),
        "sides": [_side(evaluation, side) for side in evaluation.sides],
        "comparison": _comparison(evaluation),
        "published": _published(evaluation),
        "seconds": evaluation.seconds,
        "end_to_end": evaluation.end_to_end,
        "processes": evaluation.processes,
        "preprocessing": dict(evaluation.preprocessing),
        "options": dict(evaluation.options),
        "environment": dict(evaluation.environment),
        "unreadable": [
            {"index": places.get(name), "name": name, "reason": reason}
            for name, reason in evaluation.unreadable
        ],
        "disagreements": [_disagreement(evaluation, row) for row in worst_first(evaluation)],
    }
    finite: dict[str, Any] = _finite(data)
    return finite


def _side(evaluation: Evaluation, side: Scores) -> dict[str, Any]:
    top5 = evaluation.top5(side)
    few = evaluation.num_classes <= MATRIX
    return {
        "label": side.label,
        "top1": _share(evaluation.top1(side)),
        "top5": None if top5 is None else _share(top5),
        "loss": evaluation.loss(side),
        "images_per_second": side.images_per_second,
        "model_seconds": side.model_seconds,
        "timed": side.timed,
        "peak_bytes": dict(side.peak_bytes),
        "not_finite": int((side.predicted < 0).sum()),
        "confusion": evaluation.confusion(side).tolist() if few else None,
        "most_confused": [
            {"true": true, "predicted": predicted, "count": count}
            for true, predicted, count in most_confused(evaluation, side)
        ],
        "facts": dict(side.facts),
    }


def _share(share: Share) -> dict[str, Any]:
    ends = list(share.interval)
    return {"count": share.count, "of": share.of, "share": share.value, "interval": ends}


def _comparison(evaluation: Evaluation) -> dict[str, Any] | None:
    difference, agreement = evaluation.accuracy_difference, evaluation.agreement
    if difference is None or agreement is None:
        return None
    known = bool(evaluation.count)
    return {
        "top1_difference": difference.value,
        "top1_difference_interval": list(difference.interval),
        "only_first_right": difference.only_first,
        "only_second_right": difference.only_second,
        "same_prediction": _share(agreement),
        "more_than_rounding": len(evaluation.unexplained),
        "largest_logit_difference": float(np.max(evaluation.difference)) if known else None,
        "mean_logit_difference": float(evaluation.mean_difference.mean()) if known else None,
    }


def _published(evaluation: Evaluation) -> dict[str, Any]:
    judged = [
        {
            "top1_percent": one.top1,
            "source": one.source,
            "weights": one.weights,
            "in_interval": one.inside,
            "not_comparable": list(one.remarks),
        }
        for one in published(evaluation)
    ]
    return {"judged": judged, "known": [dict(figures) for figures in evaluation.published]}


def _disagreement(evaluation: Evaluation, row: int) -> dict[str, Any]:
    label = int(evaluation.labels[row])
    sides: dict[str, dict[str, Any]] = {
        side.framework: {
            "predicted": int(side.predicted[row]),
            "class": class_name(evaluation, int(side.predicted[row])),
            "margin": float(side.margin[row]),
        }
        for side in evaluation.sides
    }
    return {
        "index": int(evaluation.indices[row]),
        "name": evaluation.names[row],
        "label": label,
        "class": class_name(evaluation, label),
        **sides,
        "difference": float(evaluation.difference[row]),
        "rounding": evaluation.is_rounding(row),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def write_rows(evaluation: Evaluation) -> bytes:
    """Give images.csv, UTF-8: a heading and a row per image.

    Numbers have as many digits as it takes to read the same float64; truth is 1 or 0. A name or
    class that would not be one line of text stands there as JSON, in quotes.
    """
    columns: dict[str, list[Any]] = {
        "index": evaluation.indices.tolist(),
        "name": [_spelled(name) for name in evaluation.names],
        "label": evaluation.labels.tolist(),
        "class": [_spelled(class_name(evaluation, label)) for label in evaluation.labels.tolist()],
    }
    for side in evaluation.sides:
        figures = {name: getattr(side, name) for name in PER_SIDE}
        correct = side.predicted == evaluation.labels
        own = {"predicted": side.predicted, "correct": correct, **figures}
        columns |= {f"{side.framework}_{name}": _cells(array) for name, array in own.items()}
    if len(evaluation.sides) == 2:
        columns |= {name: _cells(getattr(evaluation, name)) for name in PER_PAIR}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")  # it writes a float as repr does
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _cells(column: np.ndarray) -> list[Any]:
    cells: list[Any] = (column.astype(np.int64) if column.dtype == bool else column).tolist()
    return cells


def _spelled(name: str) -> str:
    return name if name.isprintable() and not name.startswith('"') else json.dumps(name)
