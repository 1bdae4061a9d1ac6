"""A folder that one run writes to: no second one does at the same time."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from socket import gethostname

from .errors import CheckpointError
from .files import cannot_be_written

NAME = ".claim"  # the file in the folder that says who writes there
_HOLDER = re.compile(r"process (\d+) on (\S+) since [-0-9]+ [:0-9]+")
_LONGEST = 300  # bytes of such a file that are read


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder unless it is there; at the end it goes again if it is still empty.

    Raises:
        CheckpointError: It cannot be made.
    """
    is_new = not folder.exists()
    with cannot_be_written(folder):
        folder.mkdir(exist_ok=True)
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it holds something
                folder.rmdir()


@contextmanager
def claimed(folder: Path, *, as_whole: bool = False) -> Iterator[None]:
    """Keep every other run from writing to a folder, which is made unless it is there.

    The claim is a file that is locked as long as this process lives, so that of a killed process
    holds nobody up.

    Args:
        folder: To write to.
        as_whole: Whether it is made elsewhere and gets its name at the end: then the claim lies
            beside it, and the folder is not made.

    Raises:
        CheckpointError: Another process has claimed it, and is named; or the disk refuses.
    """
    with nullcontext() if as_whole else made(folder), _held(folder, _file(folder, as_whole)):
        yield


def check_unclaimed(folder: Path, *, as_whole: bool = False) -> None:
    """Refuse a folder that another process writes to at this moment.

    Raises:
        CheckpointError: The process is named.
    """
    file = _file(folder, as_whole)
    if file.is_file() and not file.is_symlink():
        with cannot_be_written(folder):
            os.close(_open(folder, file))


@contextmanager
def _held(folder: Path, file: Path) -> Iterator[None]:
    with cannot_be_written(folder):
        handle = _open(folder, file)
    try:
        with cannot_be_written(folder):
            os.ftruncate(handle, 0)
            holder = f"process {os.getpid()} on {_host()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
            os.pwrite(handle, f"{holder}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # before the lock goes: who waits for it sees that the file is another
        os.close(handle)


def _file(folder: Path, as_whole: bool) -> Path:
    return folder.with_name(f".{folder.name}{NAME}") if as_whole else folder / NAME


def _open(folder: Path, file: Path) -> int:
    """Open and lock the file of a claim; that of a process that has ended is taken over."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o666)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise CheckpointError(f"{file}: is not a file, but a pipe or the like. Remove it.")
            holder = _HOLDER.match(os.pread(handle, _LONGEST, 0).decode(errors="replace"))
            _lock(handle, folder, file, holder)
            with suppress(FileNotFoundError):  # its owner may have removed it meanwhile
                if os.path.samestat(found, file.lstat()):
                    return os.dup(handle)
        finally:
            os.close(handle)


def _lock(handle: int, folder: Path, file: Path, holder: re.Match[str] | None) -> None:
    """Lock a claim.

    Raises:
        CheckpointError: Another process has it; some file systems know no locks, and there one that
            may live on.
    """
    who = holder[0] if holder else "another process"
    taken = f"{folder}: {who} writes there. Wait for it to end, or choose another folder."
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(taken) from None
    except OSError:
        if holder and (holder[2] != _host() or _lives(int(holder[1]))):
            raise CheckpointError(f"{taken} If it has ended, remove {file}.") from None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _host() -> str:
    return re.sub(r"\W", "-", gethostname()) or "-"
