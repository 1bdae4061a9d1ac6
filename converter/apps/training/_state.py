"""The folder of a run: its files, run.json, and the state that a run is resumed from.

The state is one file, replaced in one step: no kill leaves the weights of one step with the moments
of another. It is a .safetensors; its header holds the position as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ... import stored
from ...checked import checked, expected, shown
from ...checkpoints import Selection, held, open_selected
from ...checkpoints.target import Output, written
from ...claims import claimed, made
from ...errors import CheckpointError, RunError, VitconvertError, listing
from ...files import check_folder, check_sources_stay, nothing_to_resume

VERSION = "1"
RUN = "a training run"
# Columns of the learning curves, in order; a row of the history also counts the evaluated images.
# Top-5 is None with five classes or fewer, where it would be 100 % for any model.
COLUMNS = (
    "epoch",
    "train_loss",
    "val_loss",
    "val_top1",
    "val_top5",
    "learning_rate",
    "images_per_second",
    "seconds",
)
_MOST_RECORD = 64 << 20  # bytes of run.json, which holds the names of all classes


@dataclass(frozen=True)
class Record:
    """What run.json holds, as far as it is read again."""

    vitconvert: str
    paddle: str
    device: str
    processes: int
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    images: str


def _are_rows(history: Sequence[Mapping[str, float | None]]) -> bool:
    """Tell whether every epoch has all its figures; top-5 alone may be None."""
    return all(
        row.keys() >= set(COLUMNS)
        and all(value is not None for name, value in row.items() if name != "val_top5")
        for row in history
    )


_COUNT = expected("a whole number from 0", lambda number: number >= 0)
_SECONDS = expected("a number from 0", lambda number: number >= 0)
_ROWS = expected(f"a list of epochs, each with {', '.join(COLUMNS)}", _are_rows)


class _File:
    """A file in the folder of a run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: Folder, _type: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class Folder:
    """The files of a run."""

    path: Path

    run = _File("run.json")  # options, classes and preprocessing
    state = _File("state/resume.safetensors")  # to resume from
    best = _File("best.pdparams")  # weights of the epoch with the highest top-1
    last = _File("last.pdparams")  # weights of the last epoch
    log = _File("log.jsonl")  # a line of JSON for every epoch
    table = _File("curves.csv")  # the learning curves as numbers
    curves = _File("curves.png")  # the learning curves as an image
    sheet = _File("predictions.png")  # images with predicted and true class

    def own(self) -> list[Path]:
        """List every file that a run writes here."""
        return [self.path / f.name for f in vars(Folder).values() if isinstance(f, _File)]


@dataclass
class Position:
    """How far a run has got.

    Attributes:
        epoch: The current one, from 0.
        step: Steps of it that are done.
        loss: Sum of their losses.
        seconds: Time in the epoch so far, interruptions left out.
        best: Highest top-1 so far, in percent; -1 before the first evaluation.
        history: A row for every epoch that is done.
        scaler: State of the loss scaling of mixed precision.
    """

    epoch: int = field(default=0, metadata=_COUNT)
    step: int = field(default=0, metadata=_COUNT)
    loss: float = 0.0
    seconds: float = field(default=0.0, metadata=_SECONDS)
    best: float = -1.0
    history: list[dict[str, float | None]] = field(default_factory=list, metadata=_ROWS)
    scaler: dict[str, bool | float | list[float]] = field(default_factory=dict)

    def is_whole(self) -> bool:
        """Whether its parts fit together."""
        epochs = [row["epoch"] for row in self.history]
        is_timed = not self.step or self.seconds > 0
        return is_timed and epochs == list(range(1, self.epoch + 1))


def write_checkpoint(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write weights as every Paddle reads them; the old or the new file is there at any moment."""
    _write(Output(path, {name: held(array) for name, array in arrays.items()}, {}))


def write_state(
    path: Path,
    weights: Mapping[str, np.ndarray],
    optimizer: Mapping[str, np.ndarray],
    position: Position,
) -> None:
    """Write the state to resume from; the old or the new file is there at any moment."""
    tensors = {f"model.{name}": held(array) for name, array in weights.items()}
    tensors |= {f"slot.{name}": held(array) for name, array in optimizer.items()}
    texts = {"version": VERSION, "progress": json.dumps(asdict(position))}
    _write(Output(path, tensors, texts))


def read_state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Position]:
    """Read weights, optimizer state and position.

    Raises:
        RunError: The file cannot be read, or is not what this version writes.
    """
    try:
        checkpoint = open_selected(path, Selection())
        arrays = {name: np.array(tensor.read()) for name, tensor in checkpoint.tensors.items()}
    except CheckpointError as error:
        raise RunError(f"{path}: cannot resume from this file: ", error) from error
    if checkpoint.metadata.get("version") != VERSION:
        raise RunError(f"{path}: was written by another version of vitconvert. Start a new run.")
    position = _read_position(path, checkpoint.metadata.get("progress", ""))
    weights, slots = (
        {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
        for part in ("model.", "slot.")
    )
    return weights, slots, position


def _read_position(path: Path, progress: str) -> Position:
    heading, problems = f"{path}: does not hold the position of the run:", list[str]()
    try:
        data = stored.parse_json(progress)
    except ValueError as error:
        raise RunError(f"{heading} {error}. Start a new run.") from error
    if not isinstance(data, dict):
        problems.append(f"it is {shown(data)}, expected a table.")
    elif found := checked(Position, data, "", problems):
        if found.is_whole():
            return found
        problems.append("the history is not one of as many epochs as are done.")
    raise RunError(listing(heading, problems))


@contextmanager
def kept(folder: Folder) -> Iterator[None]:
    """Make the folder, keep every other run out of it, and leave it only if it holds something.

    The record of a new run that failed before it had a state to resume from is nothing.

    Raises:
        CheckpointError: Another process trains there, or the folder cannot be made.
    """
    with claimed(folder.path), made(folder.state.parent):
        is_new = not folder.run.exists()
        try:
            yield
        except VitconvertError:
            if is_new and [file for file in folder.own() if file.exists()] == [folder.run]:
                folder.run.unlink()
            raise


def read_record(folder: Folder) -> Record:
    """Read run.json.

    Raises:
        CheckpointError: There is no run in that folder.
        RunError: The file is not what a run stores.
    """
    try:
        found = stored.read_json(folder.run, _MOST_RECORD)
    except FileNotFoundError:
        raise nothing_to_resume(folder.path, RUN) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.run}: cannot be read: {error}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise RunError(f"{folder.run}: is not the record of a training run.")
    problems, known = list[str](), {one.name for one in fields(Record)}
    used = {name: value for name, value in found.items() if name in known}
    record = checked(Record, used, "", problems)
    if record is None:
        advice = "Start a new run in another folder."
        heading = f"{folder.run}: is not the record of a training run:"
        raise RunError(listing(heading, [*problems, advice]))
    return record


def check_run_folder(folder: Folder, sources: Sequence[Path], resume: bool, force: bool) -> None:
    """Refuse a folder that a run cannot have, before any work is done.

    Args:
        folder: Of the run.
        sources: Files that the run is going to read.
        resume: Whether to continue the run that is there.
        force: Whether to replace the run that is there.

    Raises:
        CheckpointError: As `check_folder`; or `force` would remove a source.
        RunError: `force` is given, but run.json is not that of a run.
    """
    check_folder(folder.path, RUN, lambda _: folder.run.exists(), force=force, resume=resume)
    if resume or not folder.run.exists():
        return
    read_record(folder)  # a run.json of something else is nobody's to remove
    try:
        check_sources_stay(sources, folder.own())
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} Nothing was removed. Copy it out of {folder.path} first, or choose another "
            f"--out."
        ) from error


def _write(output: Output) -> None:
    def advance(_text: str, amounts: Iterator[int]) -> None:
        for _ in amounts:
            pass

    with written(output, force=True, check=True, advance=advance) as draft:
        draft.publish(output.path, force=True)
