"""Plain files, opened to be read: nothing waits for what only looks like one.

A pipe that nobody writes to, a device, a socket or links in a circle may lie under any name that
vitconvert looks for, in a shared folder or in what somebody unpacked.
"""

import errno
import hashlib
import os
import stat
from pathlib import Path

from .errors import CheckpointError

_LARGEST = 256 << 20  # bytes; no report has as many
_PIECE = 1 << 20  # bytes
_OTHERS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe: write what comes out of it into a file first",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def open_plain(path: Path) -> int:
    """Open a file to read it, without ever waiting.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        CheckpointError: It cannot be read, or is not a plain file.
    """
    try:
        return descriptor(path)
    except OSError as error:
        told = "" if error.errno == errno.EINVAL else "cannot be read: "
        raise CheckpointError(f"{path}: {told}{error.strerror}.") from error
    except ValueError as error:  # a NUL in the name
        raise CheckpointError(f"{str(path)!r}: cannot be read: {error}.") from error


def descriptor(path: Path) -> int:
    """Do the same as `open_plain`.

    Raises:
        OSError: It cannot be read, or is not a plain file.
        ValueError: No file can have such a name.
    """
    mode = path.stat().st_mode  # first, because opening alone makes some devices act
    if stat.S_ISREG(mode):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return handle
        os.close(handle)
    what = next((what for is_one, what in _OTHERS.items() if is_one(mode)), "something else")
    raise OSError(errno.EINVAL, f"is not a regular file but {what}", str(path))


def sha256(path: Path) -> str:
    """Hash a file.

    Raises:
        CheckpointError: It cannot be read, or is not a plain file.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def holds(path: Path, word: bytes) -> bool:
    """Tell whether a file of a usual size holds a word, read in pieces.

    Raises:
        CheckpointError: As `open_plain`.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > _LARGEST:
            return False
        end = b""
        while piece := file.read(_PIECE):
            if word in end + piece:
                return True
            end = piece[-len(word) :]
    return False


def real(path: Path) -> Path:
    """Follow all links of a path; those that lead in a circle stay as they are."""
    return Path(os.path.realpath(path))  # Path.resolve raises RuntimeError before Python 3.13
