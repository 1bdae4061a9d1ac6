"""Figures of every image and times, batch by batch, and the file they are resumed from.

Those of several processes are added up. The file is state.npz, beside the report.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import stored
from ...checked import checked, shown
from ...errors import DataError
from ...sides import Side
from ._engine import Answer

# Figures of an image, with their dtypes: of each side, and of two sides together.
PER_SIDE = {"predicted": "i8", "hit5": "?", "loss": "f8", "margin": "f8", "largest": "f8"}
PER_PAIR = {"difference": "f8", "mean_difference": "f8"}

STATE = "state.npz"
_MOST_BYTES = 4 << 30
_FORMAT = "vitconvert evaluation state 1"
_FACTS = "facts"  # the array that holds the bytes of the JSON
# What NumPy raises for an archive that it did not write itself.
_DAMAGED = (ValueError, KeyError, TypeError, EOFError, SyntaxError, MemoryError)
_DAMAGED_ZIP = (zipfile.BadZipFile, NotImplementedError, struct.error)


def columns_of(sides: Sequence[Side]) -> dict[str, str]:
    """Name the columns of a tally that is not empty, with their dtypes."""
    own = {f"{side}.{name}": dtype for side in sides for name, dtype in PER_SIDE.items()}
    codes = {"index": "i8"} | own | (PER_PAIR if len(sides) == 2 else {})
    return {name: np.dtype(code).str for name, code in codes.items()}


@dataclass
class Tally:
    """Figures so far.

    Attributes:
        columns: Name -> one array per batch, an entry per image: "index"; of each side "paddle."
            and a name of PER_SIDE; of two sides those of PER_PAIR.
        unreadable: Index of an image and why it could not be read.
        model_seconds: Side -> time of its model alone, of so many `timed` images.
        timed: Side -> images.
        peak_bytes: Side -> where -> the most bytes held.
        seconds: Wall time so far.
        run_seconds: Wall time of the run without its warm-up, of so many `run_timed` images.
        run_timed: Images.
    """

    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    model_seconds: dict[Side, float] = field(default_factory=dict)
    timed: dict[Side, int] = field(default_factory=dict)
    peak_bytes: dict[Side, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    run_seconds: float = 0.0
    run_timed: int = 0

    def add(self, indices: np.ndarray, labels: np.ndarray, answers: Mapping[Side, Answer]) -> None:
        """Add a batch.

        Args:
            indices: int64 [B], of the images.
            labels: int64 [B].
            answers: Side -> logits [B, num_classes] and how they came about.
        """
        found = {
            f"{side}.{name}": column
            for side, answer in answers.items()
            for name, column in judge(answer.logits, labels).items()
        }
        if len(answers) == 2:
            one, other = (answer.logits.astype(np.float64) for answer in answers.values())
            apart = np.abs(one - other)
            found |= {"difference": apart.max(1), "mean_difference": apart.mean(1)}
        for name, column in found.items():
            self.columns.setdefault(name, []).append(column)
        # Last of all: a batch that was interrupted in the middle of this has no indices yet.
        self.columns.setdefault("index", []).append(indices)
        for side, answer in answers.items():
            self.model_seconds[side] = self.model_seconds.get(side, 0.0) + answer.seconds
            self.timed[side] = self.timed.get(side, 0) + len(labels)
            self._hold(side, answer.peak_bytes)

    def merge(self, other: Tally) -> None:
        """Add the figures of another process."""
        for name, column in other.columns.items():
            self.columns.setdefault(name, []).extend(column)
        self.unreadable += other.unreadable
        for side in other.timed:
            # The time of all processes together, though they ran side by side.
            self.model_seconds[side] = self.model_seconds.get(side, 0.0) + other.model_seconds[side]
            self.timed[side] = self.timed.get(side, 0) + other.timed[side]
            self._hold(side, other.peak_bytes[side])
        self.seconds = max(self.seconds, other.seconds)
        self.run_seconds = max(self.run_seconds, other.run_seconds)
        self.run_timed += other.run_timed

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every column as one array, in the order of the images' indices."""
        batches = len(self.columns.get("index", ()))
        if not batches:
            return {}
        joined = {n: np.concatenate(parts[:batches]) for n, parts in self.columns.items()}
        order = np.argsort(joined["index"], kind="stable")
        return {name: column[order] for name, column in joined.items()}

    def _hold(self, side: Side, peaks: Mapping[str, int]) -> None:
        held = self.peak_bytes.setdefault(side, {})
        for where, amount in peaks.items():
            held[where] = max(held.get(where, 0), amount)


def judge(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of PER_SIDE, as `Scores` describes them.

    Of equal logits the first counts as the largest, on both sides alike.

    Args:
        logits: float [B, num_classes].
        labels: int64 [B].
    """
    logits = logits.astype(np.float64)
    finite = np.isfinite(logits).all(1)
    safe = np.where(finite[:, None], logits, 0.0)
    rows = np.arange(len(labels))
    order = np.argsort(-safe, 1, kind="stable")[:, :5]
    best = safe[rows, order[:, 0]]
    second = safe[rows, order[:, 1]] if safe.shape[1] > 1 else best
    # log(sum(exp(x))) without overflow
    total = best + np.log(np.exp(safe - best[:, None]).sum(1))
    return {
        "predicted": np.where(finite, order[:, 0], -1),
        "hit5": (order == labels[:, None]).any(1) & finite,
        "loss": np.where(finite, total - safe[rows, labels], np.nan),
        "margin": best - second,
        "largest": np.abs(safe).max(1),
    }


@dataclass(frozen=True)
class State:
    """An unfinished evaluation.

    Attributes:
        request: What decides its figures, as JSON; it can only be resumed with the same.
        environment: Versions and device of each side.
        tally: Its figures so far.
    """

    request: Mapping[str, Any]
    environment: Mapping[Side, Mapping[str, Any]]
    tally: Tally

    def to_bytes(self) -> bytes:
        """Return the content of the file: figures of every image as arrays, the rest as JSON."""
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


@dataclass(frozen=True)
class _Facts:
    """What the JSON in the file says."""

    format: str
    request: dict[str, Any]
    environment: dict[Side, dict[str, Any]]
    columns: tuple[str, ...]
    tally: Tally


def read_state(path: Path) -> State:
    """Read the state of an unfinished evaluation. No pickle is read.

    Raises:
        DataError: The file cannot be read, is damaged, or is something else.
    """
    try:
        columns = _read_columns(stored.read_bytes(path, _MOST_BYTES))
        data, problems = stored.parse_json(columns.pop(_FACTS).tobytes()), list[str]()
        mark = data.get("format") if isinstance(data, dict) else data
        if mark != _FORMAT:
            raise ValueError(f"its format is {shown(mark)}, expected {_FORMAT!r}")
        facts = checked(_Facts, data, "", problems)
        if facts is None:
            raise ValueError(problems[0].rstrip("."))
        if tuple(columns) != facts.columns:
            raise ValueError(f"it holds the columns {list(columns)}, expected {facts.columns}")
        _check_columns(columns, list(facts.environment))
        tally = replace(facts.tally, columns={n: [c] for n, c in columns.items()})
        return State(facts.request, facts.environment, tally)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (*_DAMAGED, *_DAMAGED_ZIP) as error:
        raise DataError(
            f"{path}: is damaged, or is not the state of an evaluation: {error}. Start again with "
            f"--force."
        ) from error


def _read_columns(content: bytes) -> dict[str, np.ndarray]:
    """Read all arrays of a state; none is compressed, so all fit into as much as the file has."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entries = file.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its entries overlap")
        damaged = file.testzip()  # compares checksums, before anything is made of the content
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


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
