"""The folder of a run: its files, run.json, and the state that a run is resumed from.

The state is one file, replaced in one step: no kill leaves the weights of one step with the moments
of another. It is a .safetensors; its header holds the position as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoints import held, open_checkpoint
from ...checkpoints.target import Output, written
from ...claims import claimed, made
from ...errors import CheckpointError, RunError, VitconvertError
from ...files import check_folder, check_sources_stay, nothing_to_resume

VERSION = "1"
RUN = "a training run"
# What run.json holds.
_NAMES = {
    "vitconvert",
    "paddle",
    "device",
    "processes",
    "options",
    "classes",
    "preprocessing",
    "images",
}


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

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)


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
        checkpoint = open_checkpoint(path)
        arrays = {name: np.array(tensor.read()) for name, tensor in checkpoint.tensors.items()}
    except CheckpointError as error:
        raise RunError(f"{path}: cannot resume from this file: {error}") from error
    if checkpoint.metadata.get("version") != VERSION:
        raise RunError(f"{path}: was written by another version of vitconvert. Start a new run.")
    try:
        position = Position(**json.loads(checkpoint.metadata["progress"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: does not hold the position of the run: {error!r:.200}.") from error
    weights, slots = (
        {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
        for part in ("model.", "slot.")
    )
    return weights, slots, position


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


def read_record(folder: Folder) -> dict[str, Any]:
    """Read run.json.

    Raises:
        CheckpointError: There is no run in that folder.
        RunError: The file is not what a run stores.
    """
    try:
        found = json.loads(folder.run.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise nothing_to_resume(folder.path, RUN) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.run}: cannot be read: {error}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise RunError(f"{folder.run}: is not the record of a training run.")
    if missing := sorted(_NAMES - found.keys()):
        raise RunError(
            f"{folder.run}: is not the record of a training run: {', '.join(missing)} missing. "
            f"Start a new run in another folder."
        )
    return found


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
