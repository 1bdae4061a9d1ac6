"""Lists of "path label" lines, as PaddleClas reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..checked import shown
from ..errors import DataError, listing
from ._images import Images
from ._trees import read_text

_MOST_PROBLEMS = 5
_MOST_DIGITS = 9  # of a label


def open_list(file: Path, source: str) -> Images:
    """Find the images that a list names, by paths relative to its folder; labels start at 0.

    Raises:
        DataError: The list is empty, or a line cannot be parsed.
    """
    labels: dict[str, int] = {}
    problems = []
    for number, line in enumerate(read_text(str(file), file).splitlines(), 1):
        name, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or not label.isdecimal() or len(label) > _MOST_DIGITS:
            problems.append(f"line {number} is {shown(line)}; expected a path and a label from 0.")
        elif labels.setdefault(name.strip(), int(label)) != int(label):
            problems.append(f"line {number} gives {name} another label than an earlier line.")
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more."] * (len(problems) > _MOST_PROBLEMS)
        raise DataError(listing(f"{file} cannot be used:", problems[:_MOST_PROBLEMS] + more))
    if not labels:
        raise DataError(f"{file}: is empty; expected a path and a label per line.")
    names = tuple(labels)
    numbers = np.array(list(labels.values()), np.int64)
    described = f"{len(names)} images listed in {file.name}"
    return Images(source, described, (), numbers, names, lambda i: file.parent / names[i])
