"""What run.json says of a run, and whether a folder may be taken for a new one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import CheckpointError, RunError
from ...files import check_sources_stay
from ._state import Folder

# What a run stores of itself, by which its folder is known.
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
    """Read what a run is.

    Raises:
        RunError: There is no run in that folder, or the file is not what a run stores.
    """
    try:
        found = json.loads(folder.run.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{folder.path}: holds no run to resume. Leave --resume out to begin one."
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.run}: cannot be read: {error}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise RunError(f"{folder.run}: is not what a run stores of itself.")
    if missing := sorted(_NAMES - found.keys()):
        raise RunError(
            f"{folder.run}: is not what a run stores of itself: {', '.join(missing)} missing. "
            f"Begin a new run in another folder."
        )
    return found


def check_writable(folder: Folder) -> None:
    """Refuse a folder that this user cannot make, or write into, before any work is done.

    Raises:
        RunError: The rights are missing.
    """
    path = folder.path
    rights = os.R_OK | os.W_OK | os.X_OK
    if os.path.lexists(path):
        if path.is_dir() and not os.access(path, rights):
            raise RunError(f"{path}: no permission to write into it.")
    elif path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise RunError(f"{path}: cannot be made: Permission denied.")


def make_folder(folder: Folder) -> None:
    """Make the folder of a run, if it is not there.

    Raises:
        RunError: The system refuses.
    """
    try:
        folder.state.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.path}: cannot be made: {error.strerror or error}.") from error


def check_new(folder: Folder, sources: Sequence[Path], force: bool) -> None:
    """Refuse a folder that holds a run that must not be replaced, or anything else.

    Args:
        folder: Of the new run.
        sources: What the run is going to read.
        force: Whether a run that is there may be replaced.

    Raises:
        RunError: It holds a run and `force` is not given, or one that is needed, or it is no folder
            of a run.
    """
    path = folder.path
    if not path.parent.is_dir():
        raise RunError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; expected the folder of a run.")
    if _is_empty(folder):
        return
    if not folder.run.exists():
        raise RunError(f"{path}: holds files, and no run. Choose another folder.")
    if not force:
        raise RunError(
            f"{path}: holds a run already. Pass --resume to go on with it, --force to replace it."
        )
    read_record(folder)  # a run.json of something else is nobody's to remove
    try:
        check_sources_stay(sources, folder.own())
    except CheckpointError as error:
        raise RunError(
            f"{error} Nothing was removed. Copy it out of {path} first, or choose another --out."
        ) from error


def _is_empty(folder: Folder) -> bool:
    """Tell whether nothing is there; a run that was killed at once leaves an empty `state`."""
    if not folder.path.exists():
        return True
    held, state = list(folder.path.iterdir()), folder.state.parent
    return not held or (held == [state] and state.is_dir() and not any(state.iterdir()))
