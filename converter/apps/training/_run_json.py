"""What run.json says about a run, and whether a run may have a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, RunError
from ...files import cannot_be_written, check_folder, check_sources_stay, nothing_to_resume
from ._state import Folder

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


def make_folder(folder: Folder) -> None:
    """Make the folder of a run, if it is not there.

    Raises:
        CheckpointError: The system refuses.
    """
    with cannot_be_written(folder.path):
        folder.state.parent.mkdir(parents=True, exist_ok=True)


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
