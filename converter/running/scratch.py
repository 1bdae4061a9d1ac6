"""Scratch space: a folder for traces that is taken away again, whatever happens."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ParityError

ROOM = "The traces of a large model take up to 11 GB; TMPDIR names another folder."
_PREFIX = ".vitconvert-parity-"  # of folders for traces
_FRESH = 60.0  # seconds


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Mark a folder as in use for as long as this process lives."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot lock
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what runs have left that were killed; it may be many GB."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < _FRESH:  # perhaps not locked yet
                continue
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Make a folder for traces, and take it away again with all that is in it.

    Args:
        within: Folder to make it in; that of temporary files if None.

    Raises:
        ParityError: There is no room for it.
    """
    try:
        folder = None if within is None else within.absolute()
        _sweep(folder or Path(tempfile.gettempdir()))
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name, held(Path(name)):
            yield Path(name)
    except OSError as error:
        raise ParityError(
            f"the traces cannot be written to {within or tempfile.gettempdir()}: "
            f"{error.strerror or error}. {ROOM}"
        ) from error
