"""The folder that an evaluation is written to: each file appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError
from ...files import cannot_be_written, check_folder, write_all
from ._disagreements import draw_sheet, find_shown
from ._report_data import MARK, to_dict, write_rows
from ._report_html import html
from ._result import Evaluation
from ._state import STATE, State

if TYPE_CHECKING:
    from ...images import Images

REPORT, ROWS, PAGE, SHEET = "report.json", "images.csv", "report.html", "disagreements.png"


def check_report_folder(folder: Path, resume: bool, force: bool) -> None:
    """Refuse a folder that a report cannot or must not be written to, before any work is done.

    A missing folder is made.

    Args:
        folder: To write to.
        resume: Whether to continue the evaluation that is there.
        force: Whether to replace the report that is there.

    Raises:
        CheckpointError: As `check_folder`.
        DataError: `resume` is given, but what is there is finished.
    """
    check_folder(folder, "an evaluation report", _is_report, force=force, resume=resume)
    if resume and not (folder / STATE).exists():
        raise DataError(
            f"{folder}: holds no {STATE} to resume from: the evaluation is finished, or several "
            f"processes shared it. Pass --force instead of --resume to start again."
        )
    with cannot_be_written(folder):
        folder.mkdir(exist_ok=True)


def _is_report(folder: Path) -> bool:
    try:
        found = json.loads((folder / REPORT).read_bytes())
    except (OSError, ValueError, RecursionError):
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
