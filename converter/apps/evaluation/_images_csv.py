"""What is known of every image, as images.csv: written, and read back exactly as it was."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import DataError
from ...sides import Side
from ._phrases import class_name
from ._result import Evaluation
from ._tally import PER_PAIR, PER_SIDE

FILE = "images.csv"
_DTYPES = {"index": np.int64, "label": np.int64, "predicted": np.int64, "hit5": np.bool_}


def kind(label: str) -> Side:
    """Tell from its label whose framework a side is."""
    return "paddle" if label.startswith("Paddle") else "torch"


def heading(sides: Sequence[Side]) -> list[str]:
    """Name the columns of images.csv."""
    own = [f"{side}_{name}" for side in sides for name in ("predicted", "correct", *PER_SIDE[1:])]
    pair = PER_PAIR if len(sides) == 2 else ()
    return ["index", "name", "label", "class", *own, *pair]


def write_rows(evaluation: Evaluation) -> bytes:
    """Give images.csv, UTF-8: a heading and a row per image.

    Numbers have as many digits as it takes to read the same float64; truth is 1 or 0. A name or
    class that could not be told apart on one line of text stands there as JSON, in quotes.
    """
    columns: list[Sequence[Any]] = [
        evaluation.indices.tolist(),
        [_spelled(name) for name in evaluation.names],
        evaluation.labels.tolist(),
        [_spelled(class_name(evaluation, label)) for label in evaluation.labels.tolist()],
    ]
    for side in evaluation.sides:
        columns += [side.predicted.tolist(), _bits(side.predicted == evaluation.labels)]
        columns += [_bits(side.hit5)]
        columns += [getattr(side, name).tolist() for name in PER_SIDE[2:]]
    if len(evaluation.sides) == 2:
        columns += [getattr(evaluation, name).tolist() for name in PER_PAIR]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")  # it writes a float as repr does
    writer.writerow(heading([kind(side.label) for side in evaluation.sides]))
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _bits(truth: np.ndarray) -> list[int]:
    bits: list[int] = truth.astype(np.int64).tolist()
    return bits


def _spelled(name: str) -> str:
    return name if name.isprintable() and not name.startswith('"') else json.dumps(name)


def describe_rows(rows: bytes, count: int) -> dict[str, Any]:
    """Give what report.json says of images.csv, so that a change of it is noticed."""
    digest = hashlib.sha256(rows).hexdigest()
    return {"file": FILE, "rows": count, "bytes": len(rows), "sha256": digest}


def read_rows(
    rows: bytes, about: dict[str, Any], sides: Sequence[Side], where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read images.csv.

    Rows that were added after report.json was written are left out: an evaluation that is killed
    while it saves leaves the newer images.csv beside the older report.json.

    Args:
        rows: The file.
        about: What `describe_rows` gave.
        sides: Whose columns it has.
        where: Its name, for errors.

    Returns:
        The columns, named as in the heading; and the names of the images.

    Raises:
        DataError: It is damaged, shortened or changed.
    """
    known = rows[: about["bytes"]]
    if hashlib.sha256(known).hexdigest() != about["sha256"]:
        found = max(0, rows.count(b"\n") - 1)
        raise DataError(
            f"{where}: has {found:,} rows and is not as it was written, with {about['rows']:,}: it "
            f"is damaged or was changed. Start again with --force."
        )
    expected = heading(sides)
    text = io.StringIO(known.decode("utf-8", "replace"), newline="")
    try:
        lines = list(csv.reader(text))
    except csv.Error as error:
        raise DataError(f"{where}: cannot be read as CSV: {error}.") from error
    if not lines or lines[0] != expected:
        raise DataError(f"{where}: has the columns {lines[:1]}; expected {expected}.")
    if len(lines) - 1 != about["rows"]:
        raise DataError(
            f"{where}: has {len(lines) - 1:,} rows, report.json says {about['rows']:,}. Start "
            f"again with --force."
        )
    columns = dict(zip(expected, _columns(lines, len(expected), where), strict=True))
    try:
        names = tuple(map(_read_name, columns["name"]))
    except ValueError as error:
        raise DataError(f"{where}: holds a name that is none: {error}.") from error
    numbers = {
        name: _numbers(cells, name, where)
        for name, cells in columns.items()
        if name not in ("name", "class")
    }
    return numbers, names


def _columns(lines: list[list[str]], width: int, where: str) -> Iterator[tuple[str, ...]]:
    """Turn rows into columns, all of one length."""
    for number, line in enumerate(lines, 1):
        if len(line) != width:
            raise DataError(f"{where}: line {number} has {len(line)} cells; expected {width}.")
    if len(lines) == 1:
        return iter([()] * width)
    return iter(zip(*lines[1:], strict=True))


def _read_name(cell: str) -> str:
    return str(json.loads(cell)) if cell.startswith('"') else cell


def _numbers(cells: Sequence[str], name: str, where: str) -> np.ndarray:
    """Read a column of numbers exactly."""
    short = name.partition("_")[2] if name.startswith(("paddle_", "torch_")) else name
    dtype = _DTYPES.get(short, np.bool_ if short == "correct" else np.float64)
    read: Callable[[str], Any] = float if dtype is np.float64 else int
    try:
        return np.array([read(cell) for cell in cells], dtype)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: the column {name} holds what is no number: {error}.") from error
