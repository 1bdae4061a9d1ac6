"""Text of a list or a CSV file -> rows of a path and a label, as many programs write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..checked import shown
from ..errors import DataError, listing, some
from ._trees import read_text

_MOST_PROBLEMS = 5
_MOST_DIGITS = 9  # of a label
_SAMPLE = 200  # lines that the separator is chosen by
# A comma before a blank: "a.jpg, 0" has both.
_SEPARATORS = ("\t", ",", ";", " ")
_PATHS = (
    *("filename", "file_name", "file", "filepath", "file_path", "fname", "path", "name", "id"),
    *("image", "images", "image_id", "imageid", "image_name", "image_path", "img", "img_path"),
    *("文件名", "图片", "图像", "路径"),
)
_LABELS = (
    *("label", "labels", "label_id", "label_name", "class", "class_id", "class_name", "classname"),
    *("category", "category_id", "category_name", "target", "y", "breed", "species"),
    *("标签", "类别"),
)
_SEVERAL = re.compile(r"\.\w{2,5}[\t ]\d+(,\d+)+")  # labels of one image
# A label after the path, with blanks in it or a comment behind: "a.jpg big cat", "a.jpg 0 # cat".
_AFTER = re.compile(
    r"(.+?\.(?:jpe?g|png|bmp|webp|gif|tiff?|ppm|pgm)[\"']?)\s+(?:([0-9]+)\s*#.*|([^0-9#\s].*))",
    re.IGNORECASE,
)
_IMAGE = re.compile(r".*\.(?:jpe?g|png|bmp|webp|gif|tiff?|ppm|pgm)[\"']?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(\.0+)?")  # pandas writes 3 as 3.0 in a column with gaps
_SIGNED = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")


class Rows(NamedTuple):
    """What a list holds.

    Attributes:
        labels: The label of each path, as texts.
        are_numbers: Whether all labels are whole numbers, from 0.
        remark: What was noticed, as the end of a description: an encoding, comments left out.
    """

    labels: dict[str, str]
    are_numbers: bool
    remark: str

    def numbers(self) -> list[int]:
        """Give the labels as numbers."""
        return [int(label) for label in self.labels.values()]


def read_rows(where: str, content: Path | bytes, label_column: int | None = None) -> Rows:
    """Read a list of paths and labels.

    Columns are separated by tabs, commas, semicolons or blanks, whichever gives every line a label;
    a path may have blanks in it. A first line with names of columns chooses them. Empty lines and
    lines that begin with # are left out, quotes are removed.

    Args:
        where: The name of the list in errors.
        content: The list.
        label_column: Of a list without names of columns; the last one by default.

    Raises:
        DataError: The list is empty, or a line cannot be parsed.
    """
    text, remark = read_text(where, content)
    lines = [(i, line.strip()) for i, line in enumerate(re.split(r"\r\n|\n|\r", text), 1)]
    lines = [(i, line) for i, line in lines if line]
    sample = [line for _, line in lines[:_SAMPLE]]
    if sample and all(map(_SEVERAL.search, sample)):
        raise DataError(f"{where}: has several labels per image; expected one class of each.")
    separator = _choose([line for line in sample if line[0] != "#"])
    path_at, label_at, skipped = 0, label_column, 0
    if columns := _columns(where, _split(lines[0][1], separator)) if lines else None:
        (path_at, label_at), lines, sample = columns, lines[1:], sample[1:]
    elif label_at is None and _has_more_columns(sample, separator):
        label_at = 1
    elif label_at is None and _has_label_first(sample, separator):
        path_at, label_at = 1, 0
    labels: dict[str, str] = {}
    problems = []
    given = [_row(line, separator, path_at, label_at)[1] for line in sample]
    # Then lines with other labels are mistakes.
    numbers = 2 * sum(bool(_SIGNED.fullmatch(label)) for label in given) >= len(given)
    for number, line in lines:
        path, label = _row(line, separator, path_at, label_at)
        fits = bool(path) and _is_label(label, numbers)
        if not fits and line.startswith("#"):
            skipped += 1
        elif not fits:
            problems.append(f"line {number} is {shown(line)}; expected a path and a label from 0.")
        elif labels.setdefault(path, label) != label:
            problems.append(f"line {number} gives {path} another label than an earlier line.")
    if problems and not labels and all(_IMAGE.fullmatch(line) for _, line in lines):
        raise DataError(
            f"{where}: has paths without labels, such as {shown(lines[0][1])}. Expected a label "
            f"behind each. If the folders are the classes, remove the list."
        )
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more."] * (len(problems) > _MOST_PROBLEMS)
        raise DataError(listing(f"{where} cannot be used:", problems[:_MOST_PROBLEMS] + more))
    if not labels:
        raise DataError(f"{where}: is empty; expected a path and a label per line.")
    if skipped:
        remark += f", {skipped} comment{'s' * (skipped > 1)} left out"
    return Rows(labels, numbers, remark)


def _choose(lines: Sequence[str]) -> str:
    """Choose the separator: one that gives every line a number, else one that is in every line."""
    body = lines[1:] if len(lines) > 1 else lines  # the first may name the columns
    for fits in (lambda label: bool(_NUMBER.fullmatch(label)), bool):
        for separator in _SEPARATORS:
            rows = [_row(line, separator, 0, None) for line in body]
            if rows and all(path and fits(label) for path, label in rows):
                return separator
    return " "


def _has_more_columns(lines: Sequence[str], separator: str) -> bool:
    """Tell lines such as "1.jpg,0,cat"; a path with such commas is not likely."""
    rows = [_split(line, separator) for line in lines if line[0] != "#"]
    return bool(rows) and all(len(row) > 2 and _NUMBER.fullmatch(row[1]) for row in rows)


def _has_label_first(lines: Sequence[str], separator: str) -> bool:
    """Tell lines such as "0 1.jpg"."""
    rows = [_split(line, separator) for line in lines if line[0] != "#"]
    return bool(rows) and all(
        len(row) == 2 and _NUMBER.fullmatch(row[0]) and _IMAGE.fullmatch(row[1]) for row in rows
    )


def _is_label(label: str, is_number: bool) -> bool:
    if is_number:
        return bool(_NUMBER.fullmatch(label)) and len(label) <= _MOST_DIGITS
    return bool(label)


def _split(line: str, separator: str) -> list[str]:
    if '"' in line and separator != " ":
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
        except csv.Error:  # a cell without end
            return [line]
    cells = line.rsplit(None, 1) if separator == " " else line.split(separator)
    if separator == " " and not _IMAGE.fullmatch(cells[0]) and (match := _AFTER.fullmatch(line)):
        cells = [match[1], match[2] or match[3]]
    return [cell.strip().strip("\"'") for cell in cells]


def _row(line: str, separator: str, path_at: int, label_at: int | None) -> tuple[str, str]:
    """Give the path and the label of a line; empty ones if it has too few columns."""
    cells = _split(line, separator)
    if label_at is None:  # the path has the separator in it
        path, label = separator.join(cells[:-1]), cells[-1]
    elif max(path_at, label_at) < len(cells):
        path, label = cells[path_at], cells[label_at]
    else:
        return "", ""
    return path, label.partition(".")[0] if _NUMBER.fullmatch(label) else label


def _columns(where: str, names: Sequence[str]) -> tuple[int, int] | None:
    """Find the columns of path and label, if a line holds names of columns."""
    lower = [name.lower() for name in names]
    paths = [i for i, name in enumerate(lower) if name in _PATHS]
    labels = [i for i, name in enumerate(lower) if name in _LABELS]
    if not paths or len(names) < 2 or any(map(_SIGNED.fullmatch, names)):
        return None
    path = next(_by_rank(lower, _PATHS))
    if labels:
        return path, next(_by_rank(lower, _LABELS))
    if len(names) == 2:
        return path, 1 - path
    raise DataError(
        f"{where}: has the columns {some(names)}; expected one called label or class beside "
        f"{names[path]}."
    )


def _by_rank(found: Sequence[str], known: Sequence[str]) -> Iterator[int]:
    return (found.index(name) for name in known if name in found)
