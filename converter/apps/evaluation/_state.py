"""What an unfinished evaluation is resumed from: state.npz, beside its report."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...sides import Side
from ._tally import Tally, columns_of

STATE = "state.npz"
_FORMAT = "vitconvert evaluation state 1"
_FACTS = "facts"  # the array that holds the bytes of the JSON
# What NumPy raises for an archive that it did not write itself.
_DAMAGED = (ValueError, KeyError, TypeError, EOFError, SyntaxError, MemoryError)
_DAMAGED_ZIP = (zipfile.BadZipFile, NotImplementedError, struct.error)


@dataclass(frozen=True)
class State:
    """An unfinished evaluation.

    Attributes:
        request: What it was asked for, as JSON; it can only be resumed with the same.
        environment: Versions and device of each side.
        tally: Its figures so far.
    """

    request: Mapping[str, Any]
    environment: Mapping[Side, Mapping[str, Any]]
    tally: Tally

    def to_bytes(self) -> bytes:
        """Give the content of the file: the figures of every image as arrays, the rest as JSON."""
        columns = self.tally.arrays()
        facts = {
            "format": _FORMAT,
            "request": self.request,
            "environment": self.environment,
            "columns": list(columns),
            "tally": {n: value for n, value in vars(self.tally).items() if n != "columns"},
        }
        text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{_FACTS: text}, **columns)
        return file.getvalue()


def read_state(path: Path) -> State:
    """Read the state of an unfinished evaluation. No pickle is read.

    Raises:
        DataError: The file cannot be read, is damaged, or is something else.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # compares checksums, before anything is made of the content
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        facts = json.loads(columns.pop(_FACTS).tobytes())
        if facts["format"] != _FORMAT:
            raise ValueError(f"its format is {facts['format']!r}, expected {_FORMAT!r}")
        if list(columns) != facts["columns"]:
            raise ValueError(f"it holds the columns {list(columns)}, expected {facts['columns']}")
        environment, known = facts["environment"], facts["tally"]
        unreadable = [(int(index), str(reason)) for index, reason in known.pop("unreadable")]
        tally = Tally({n: [c] for n, c in columns.items()}, unreadable, **known)
        _check_columns(columns, list(environment))
        return State(dict(facts["request"]), environment, tally)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (*_DAMAGED, *_DAMAGED_ZIP) as error:
        raise DataError(
            f"{path}: is damaged, or is not the state of an evaluation: {error}. Start again with "
            f"--force."
        ) from error


def _check_columns(columns: Mapping[str, np.ndarray], sides: list[Side]) -> None:
    """Compare names, types and lengths of the columns with those of a tally.

    Raises:
        ValueError: They differ.
    """
    expected = columns_of(sides) if columns else {}
    found = {name: column.dtype.str for name, column in columns.items()}
    if found != expected:
        odd = sorted(n for n in found | expected if found.get(n) != expected.get(n))
        raise ValueError(f"columns are missing, unknown or of another type: {', '.join(odd)}")
    if len({column.shape for column in columns.values()}) > 1:
        raise ValueError("its columns have different lengths")
