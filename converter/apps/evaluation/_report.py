"""The report of an evaluation: a folder whose files appear whole or not at all.

It holds report.json, images.csv with a row for every image, report.html, disagreements.png if two
sides disagree, and the state that an unfinished evaluation is resumed from.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import stored
from ...errors import DataError
from ...files import cannot_be_written, check_folder, write_all
from ...lines import csv_cell
from ...page import without_nan
from ...version import __version__
from ._confusion import MATRIX, most_confused
from ._disagreements import draw_sheet, find_shown
from ._phrases import class_name, verdict, worst_first
from ._published import published
from ._report_html import html
from ._result import Evaluation, Scores, Share
from ._tally import PER_PAIR, PER_SIDE, STATE, State

if TYPE_CHECKING:
    from ...images import Images

REPORT, ROWS, PAGE, SHEET = "report.json", "images.csv", "report.html", "disagreements.png"
MARK = "vitconvert evaluation"  # the "kind" of every report.json
# Attributes of an evaluation that images.csv holds and report.json does not.
_PER_IMAGE = ("indices", "names", "labels", "difference", "mean_difference")


def check_report_folder(folder: Path, resume: bool, force: bool) -> None:
    """Refuse a folder that a report cannot or must not be written to, before any work is done.

    Args:
        folder: To write to.
        resume: Whether to continue the evaluation that is there.
        force: Whether to replace the report that is there.

    Raises:
        CheckpointError: As `check_folder`.
        DataError: `resume` is given, but what is there is finished.
    """
    has_state = (folder / STATE).exists()
    resumable = resume if resume or has_state else None
    check_folder(folder, "an evaluation report", _is_report, force=force, resume=resumable)
    if resume and not has_state:
        raise DataError(
            f"{folder}: holds no {STATE} to resume from: the evaluation is finished, or several "
            f"processes shared it. Pass --force instead of --resume to start again."
        )


def _is_report(folder: Path) -> bool:
    try:
        found = stored.read_json(folder / REPORT)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("kind") == MARK


def write_reports(
    evaluation: Evaluation, folder: Path, images: Images, state: State | None = None
) -> None:
    """Write report.json, images.csv, report.html, and disagreements.png if there are any.

    Every file is complete before the first gets its name.

    Args:
        evaluation: What was found.
        folder: Of `check_report_folder`.
        images: That were evaluated.
        state: What an unfinished evaluation is resumed from; written, too. A finished one has none.

    Raises:
        CheckpointError: A file cannot be written; those that were there are unchanged.
    """
    rows, shown = write_rows(evaluation), find_shown(evaluation, images)
    digest = hashlib.sha256(rows).hexdigest()
    about = {"file": ROWS, "rows": evaluation.count, "bytes": len(rows), "sha256": digest}
    data = {**to_dict(evaluation, images), "images": about}
    # The folder is known by report.json, so it comes first.
    contents = {
        REPORT: json.dumps(data, indent=1, allow_nan=False).encode() + b"\n",
        STATE: state.to_bytes() if state else None,
        ROWS: rows,
        PAGE: html(evaluation, shown).encode(),
        SHEET: draw_sheet(evaluation, shown) if shown else None,
    }
    write_all({folder / name: content for name, content in contents.items() if content})
    for name, content in contents.items():
        if content is None:
            with cannot_be_written(folder / name):
                (folder / name).unlink(missing_ok=True)


def to_dict(evaluation: Evaluation, images: Images | None = None) -> dict[str, Any]:
    """Return everything but the figures of every image.

    Args:
        evaluation: What was found.
        images: That were evaluated, for the indices of those that cannot be read.

    Returns:
        Plain data for JSON; a number that is not finite is None.
    """
    known = [one.name for one in fields(evaluation) if one.name not in _PER_IMAGE]
    places = {} if images is None else {name: i for i, name in enumerate(images.names)}
    data = {
        "kind": MARK,
        "vitconvert": __version__,
        **{name: getattr(evaluation, name) for name in known},
        "evaluated": evaluation.count,
        "partial": evaluation.partial,
        "same": evaluation.same,
        "verdict": verdict(evaluation),
        "sides": [_side(evaluation, side) for side in evaluation.sides],
        "comparison": _comparison(evaluation),
        "published": _published(evaluation),
        "unreadable": [
            {"index": places.get(name), "name": name, "reason": reason}
            for name, reason in evaluation.unreadable
        ],
        "disagreements": [_disagreement(evaluation, row) for row in worst_first(evaluation)],
    }
    finite: dict[str, Any] = without_nan(data)
    return finite


def _side(evaluation: Evaluation, side: Scores) -> dict[str, Any]:
    top5 = evaluation.top5(side)
    few = evaluation.num_classes <= MATRIX
    plain = ("label", "images_per_second", "model_seconds", "timed", "peak_bytes", "facts")
    return {
        **{name: getattr(side, name) for name in plain},
        "top1": _share(evaluation.top1(side)),
        "top5": None if top5 is None else _share(top5),
        "loss": evaluation.loss(side),
        "not_finite": int((side.predicted < 0).sum()),
        "confusion": evaluation.confusion(side).tolist() if few else None,
        "most_confused": [
            {"true": true, "predicted": predicted, "count": count}
            for true, predicted, count in most_confused(evaluation, side)
        ],
    }


def _share(share: Share) -> dict[str, Any]:
    return {**asdict(share), "share": share.value, "interval": share.interval}


def _comparison(evaluation: Evaluation) -> dict[str, Any] | None:
    difference, agreement = evaluation.accuracy_difference, evaluation.agreement
    if difference is None or agreement is None:
        return None
    known = bool(evaluation.count)
    return {
        "top1_difference": difference.value,
        "top1_difference_interval": difference.interval,
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
            "not_comparable": one.remarks,
        }
        for one in published(evaluation)
    ]
    return {"judged": judged, "known": evaluation.published}


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


def write_rows(evaluation: Evaluation) -> bytes:
    """Return images.csv, UTF-8: a heading and a row per image.

    Numbers have as many digits as it takes to read the same float64; truth is 1 or 0. A name or
    class that would not be one line of text stands there as JSON, in quotes. One that a spreadsheet
    would take for a formula has an apostrophe before it, see `csv_cell`.
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
    as_is = name.isprintable() and not name.startswith('"')
    return csv_cell(name if as_is else json.dumps(name))
