"""The folder that an evaluation is written to: each file appears whole or not at all."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError
from ...files import cannot_be_written, publish, written_beside
from ._images_csv import FILE, describe_rows, write_rows
from ._phrases import worst_first
from ._report_json import REPORT, read_partial, read_report, to_dict
from ._result import Evaluation
from ._shown import Shown, caption

if TYPE_CHECKING:
    from ...images import Images

__all__ = ["check_report_folder", "read_partial", "to_dict", "write_reports"]

SHEET = "disagreements.png"
PAGE = "report.html"
MOST_IMAGES = 40  # of those that two sides classify differently
_OURS = re.compile(rf"\.({'|'.join(map(re.escape, (REPORT, FILE, SHEET, PAGE)))})\.\w+\.part")


def check_report_folder(folder: Path, resume: bool, force: bool) -> None:
    """Refuse a folder that a report cannot or must not be written to, before any work is done.

    A folder that is missing is made.

    Args:
        folder: To write to.
        resume: Whether to go on with the report that is there.
        force: Whether a report that is there may be replaced.

    Raises:
        DataError: The folder around it is missing, it is closed to us, it holds something else, or
            a report that neither `resume` nor `force` was given for; or there is none to resume.
    """
    if not folder.parent.is_dir():
        raise DataError(f"{folder}: the folder {folder.parent} does not exist. Make it first.")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise DataError(f"{folder}: is no folder; expected one to write the report to.")
    held = _contents(folder) if folder.exists() else []
    if held:
        _check_ours(folder, held)
        if not (resume or force):
            raise DataError(
                f"{folder}: holds the report of an evaluation. Pass --resume to go on with it if "
                f"it was interrupted, or --force to replace it."
            )
    elif resume:
        raise DataError(f"{folder}: holds no report that --resume could go on with. Leave it out.")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror or error}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{folder}: no permission to write into it.")


def _contents(folder: Path) -> list[str]:
    """Name what a folder holds, but for what a killed process left of ours."""
    try:
        return [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}.") from error


def _check_ours(folder: Path, held: Sequence[str]) -> None:
    if REPORT not in held:
        raise DataError(
            f"{folder}: holds {len(held)} files and is no report of an evaluation, so nothing is "
            f"written there. Choose another folder."
        )
    read_report(folder)


def write_reports(evaluation: Evaluation, folder: Path, images: Images) -> None:
    """Write report.json, images.csv, report.html, and disagreements.png if there are any.

    Every file is complete before the first gets its name.

    Args:
        evaluation: What was found.
        folder: Of `check_report_folder`.
        images: That were evaluated.

    Raises:
        CheckpointError: A file cannot be written; those that were there are unchanged.
    """
    from ._report_html import html

    rows = write_rows(evaluation)
    data = {**to_dict(evaluation, images), "images": describe_rows(rows, evaluation.count)}
    shown = _shown(evaluation, images)
    contents = {FILE: rows, REPORT: json.dumps(data, indent=1, allow_nan=False).encode() + b"\n"}
    contents[PAGE] = html(evaluation, shown).encode()
    if shown:
        contents[SHEET] = _sheet(evaluation, shown)
    _write(folder, contents)
    if not shown:
        with cannot_be_written(folder / SHEET):
            (folder / SHEET).unlink(missing_ok=True)


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files; images.csv gets its name first, see `read_rows`."""
    with ExitStack() as stack:
        parts = {}
        for name, content in contents.items():
            file, part = stack.enter_context(written_beside(folder / name))
            with cannot_be_written(folder / name):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            parts[name] = part
        for name, part in parts.items():
            publish(part, folder / name, force=True)


def _shown(evaluation: Evaluation, images: Images) -> list[Shown]:
    """Open the worst images that two sides classify differently."""
    shown = []
    for row in worst_first(evaluation)[:MOST_IMAGES]:
        image = None
        try:
            image = images.open(int(evaluation.indices[row]))
        except DataError:  # it could be read when it was evaluated; the rest is still worth having
            image = None
        shown.append(Shown(row, image))
    return shown


def _sheet(evaluation: Evaluation, shown: Sequence[Shown]) -> bytes:
    """Draw the contact sheet, as PNG."""
    from PIL import Image

    from ...images.sheet import Tile, make_sheet

    tiles = []
    for one in shown:
        image = one.image or Image.new("RGB", (64, 64), (160, 160, 160))
        good = None if evaluation.is_rounding(one.row) else False
        tiles.append(Tile(image, caption(evaluation, one), good))
    count, content = len(evaluation.disagreements), io.BytesIO()
    most = f", the worst {len(shown)}" if count > len(shown) else ""
    title = f"{evaluation.variant}: {count:,} of {evaluation.count:,} images get two classes"
    make_sheet(tiles, title + most).save(content, "PNG")
    return content.getvalue()
