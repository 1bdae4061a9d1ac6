"""An evaluation as plain data, and back: report.json, with images.csv beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ._confusion import MATRIX, most_confused
from ._images_csv import FILE, kind, read_rows
from ._phrases import class_name, verdict, worst_first
from ._published import published
from ._result import Evaluation, Scores, Share
from ._tally import PER_PAIR, PER_SIDE, Tally

if TYPE_CHECKING:
    from ...images import Images

MARK = "vitconvert evaluation"
REPORT = "report.json"


def to_dict(evaluation: Evaluation, images: Images | None = None) -> dict[str, Any]:
    """Give everything but the rows of the images as plain data, for JSON.

    Args:
        evaluation: What was found.
        images: To tell the place of those that cannot be read; without it that is None.

    Returns:
        What is not finite is None in it.
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
        "run_timed": evaluation.run_timed,
        "run_seconds": evaluation.run_seconds,
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
        kind(side.label): {
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


def read_report(folder: Path) -> dict[str, Any]:
    """Read report.json.

    Raises:
        DataError: It is missing or damaged, or of something else.
    """
    path = folder / REPORT
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is damaged, no JSON: {error}.") from error
    if not isinstance(data, dict) or data.get("kind") != MARK:
        raise DataError(f"{path}: is not the report of an evaluation. Choose another folder.")
    return data


def read_partial(folder: Path) -> tuple[Evaluation, Tally]:
    """Read back what an interrupted evaluation has left, so that it can go on.

    Args:
        folder: That `write_reports` wrote to.

    Returns:
        The evaluation as it was; and its figures as the run adds to them.

    Raises:
        DataError: The folder holds no report, or one that is damaged or was changed.
    """
    data = read_report(folder)
    path = folder / FILE
    try:
        rows = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    try:
        sides = [kind(str(side["label"])) for side in data["sides"]]
        columns, names = read_rows(rows, data["images"], sides, str(path))
        evaluation = _evaluation(data, columns, names)
        return evaluation, _tally(data, evaluation)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{folder / REPORT}: is damaged: {type(error).__name__} {error}. Start again with "
            f"--force."
        ) from error


def _evaluation(
    data: dict[str, Any], columns: dict[str, np.ndarray], names: tuple[str, ...]
) -> Evaluation:
    pair = {name: columns.get(name, np.zeros(0)) for name in PER_PAIR}
    return Evaluation(
        variant=data["variant"],
        num_classes=data["num_classes"],
        data=data["data"],
        described=data["described"],
        classes=tuple(data["classes"]),
        preprocessing=data["preprocessing"],
        indices=columns["index"],
        names=names,
        labels=columns["label"],
        sides=tuple(_scores(side, columns) for side in data["sides"]),
        difference=pair["difference"],
        mean_difference=pair["mean_difference"],
        unreadable=tuple((one["name"], one["reason"]) for one in data["unreadable"]),
        wanted=data["wanted"],
        seconds=data["seconds"],
        end_to_end=data["end_to_end"],
        published=tuple(data["published"]["known"]),
        environment=data["environment"],
        options=data["options"],
        processes=data["processes"],
        run_timed=data["run_timed"],
        run_seconds=data["run_seconds"],
    )


def _scores(data: dict[str, Any], columns: dict[str, np.ndarray]) -> Scores:
    own = {name: columns[f"{kind(data['label'])}_{name}"] for name in PER_SIDE}
    return Scores(
        label=data["label"],
        **own,
        model_seconds=data["model_seconds"],
        timed=data["timed"],
        peak_bytes=data["peak_bytes"],
        facts=data["facts"],
    )


def _tally(data: dict[str, Any], evaluation: Evaluation) -> Tally:
    """Give the figures in the form in which a run adds to them."""
    columns: dict[str, list[np.ndarray]] = {}
    if evaluation.count:
        columns["index"] = [evaluation.indices]
        for side in evaluation.sides:
            columns |= {f"{kind(side.label)}.{name}": [getattr(side, name)] for name in PER_SIDE}
        if len(evaluation.sides) == 2:
            columns |= {name: [getattr(evaluation, name)] for name in PER_PAIR}
    sides = {kind(side.label): side for side in evaluation.sides if side.timed}
    unreadable = [(one["index"], one["reason"]) for one in data["unreadable"]]
    if not all(isinstance(index, int) for index, _ in unreadable):
        raise ValueError("an image that cannot be read has no index")
    return Tally(
        columns=columns,
        unreadable=unreadable,
        model_seconds={name: side.model_seconds for name, side in sides.items()},
        timed={name: side.timed for name, side in sides.items()},
        peak_bytes={name: dict(side.peak_bytes) for name, side in sides.items()},
        seconds=evaluation.seconds,
        run_seconds=evaluation.run_seconds or 0.0,
        run_timed=evaluation.run_timed or 0,
    )
