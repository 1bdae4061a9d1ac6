"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ._errors import CheckpointError


def check_target(target: Path, force: bool) -> None:
    """Refuse a target that cannot or must not be written, before any work is done.

    Raises:
        CheckpointError: The folder is missing or closed to us, the target is a folder, or a file
            is there and `force` is not given.
    """
    if not target.parent.is_dir():
        raise CheckpointError(
            f"{target}: the folder {target.parent} does not exist. Make it first."
        )
    if target.is_dir():
        raise CheckpointError(f"{target}: is a folder; expected the name of a file.")
    if target.exists() and not force:
        raise CheckpointError(f"{target}: exists already. Pass --force to replace it.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise CheckpointError(f"{target}: no permission to write into {target.parent}.")


@contextmanager
def written_beside(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a temporary file beside a target; it is removed unless the caller renames it.

    Raises:
        CheckpointError: Writing failed (disk full, no permission); nothing is left behind.
    """
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
        part = Path(name)
        with os.fdopen(handle, "wb") as file:
            # mkstemp gives 0600; a checkpoint gets what any new file would get.
            os.fchmod(handle, 0o666 & ~_umask())
            yield file, part
    except OSError as error:
        raise CheckpointError(
            f"{target}: cannot be written: {error.strerror or error}. Nothing was left behind."
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def flush_to_disk(file: BinaryIO) -> None:
    """Make what was written survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def publish(source: Path, target: Path, force: bool) -> None:
    """Give a finished file its name, in one step that leaves the old or the new file.

    Raises:
        CheckpointError: The target appeared meanwhile and `force` is not given.
    """
    if target.exists() and not force:
        raise CheckpointError(
            f"{target}: appeared while working and was left alone. Pass --force to replace it."
        )
    try:
        source.replace(target)
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written: {error.strerror}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
