"""Outline both models, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from ...errors import ParityError, listing
from ...running.interpreters import importable
from ...running.job import FAILURE
from ...sides import Side
from ...terminal import Progress
from ._outline import Outline, read_outline

STATE = "state.npz"  # the PyTorch model's weights

_SIDES: tuple[Side, Side] = ("torch", "paddle")


def outline_both(
    factories: Mapping[Side, str],
    size: tuple[int, int],
    pythons: Mapping[Side, str | None],
    folder: Path,
    progress: Progress | None,
) -> list[Outline]:
    """Outline both models, and leave the weights of the PyTorch model in the folder.

    Raises:
        ParityError: A model cannot be built or run.
    """
    if progress is not None:
        progress("looking at both models", 0, 1)
    with ExitStack() as stack:
        processes = {}
        for side in _SIDES:
            python = pythons[side]
            environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
            if python is not None:
                environment["PYTHONPATH"] = stack.enter_context(importable())
            command = [python or sys.executable, "-P", "-m", "vitconvert.apps.proposal._outline"]
            made = [str(folder / f"{side}.json"), str(folder / STATE)]
            stderr = stack.enter_context((folder / f"{side}.txt").open("wb"))
            process = subprocess.Popen(
                [*command, side, factories[side], *map(str, size), *made],
                stdin=subprocess.PIPE,  # held open: its end tells the worker that we are gone
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes[side] = process
        for side, process in processes.items():
            _wait(side, process, folder / f"{side}.txt")
    return [read_outline(folder / f"{side}.json") for side in _SIDES]


def _wait(side: Side, process: "subprocess.Popen[str]", stderr: Path) -> None:
    """Wait for the outline of one side.

    Raises:
        ParityError: There is none, and why.
    """
    assert process.stdout is not None
    said = process.stdout.read().splitlines()
    status = process.wait()
    if status == FAILURE:
        raise ParityError(json.loads(said[-1]))
    if status:
        printed = stderr.read_text(errors="replace").strip().splitlines()
        heading = f"the {side} process ended with status {status}. It printed:"
        raise ParityError(listing(heading, printed[-12:]))
