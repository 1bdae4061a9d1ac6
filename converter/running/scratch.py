"""Scratch space: a folder for traces that disappears again, whatever happens."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ParityError
from ..files import locked_folder, remove_unheld

ROOM = "The traces of a large model take up to 11 GB; TMPDIR names another folder."
_PREFIX = ".vitconvert-parity-"  # of folders for traces


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Make a folder for traces, and remove it again with all that is in it.

    What killed processes left there, perhaps many GB, is removed, too.

    Args:
        within: Folder to make it in; that of temporary files if None.

    Raises:
        ParityError: There is no room for it.
    """
    folder = Path(tempfile.gettempdir()) if within is None else within.absolute()
    try:
        for left in folder.glob(f"{_PREFIX}*"):
            remove_unheld(left, lambda path: shutil.rmtree(path, ignore_errors=True))
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder)
        with made as name, locked_folder(Path(name)):
            yield Path(name)
    except OSError as error:
        raise ParityError(
            f"the traces cannot be written to {within or folder}: {error.strerror or error}. {ROOM}"
        ) from error
