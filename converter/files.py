"""Files that appear whole or not at all."""

import errno
import fcntl
import glob
import hashlib
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import CheckpointError, way_out
from .plain import real

# What file systems say that cannot reserve room.
_NOT_KNOWN = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)
_PAUSE = 0.05  # seconds between two times that the disk is asked to take what is written
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.part|\.claim")  # of `written_beside`, `claimed`
_NEW = 60.0  # seconds since the last write, after which a temporary file may be abandoned


def check_target(target: Path, force: bool) -> None:
    """Refuse a target that cannot or must not be written, before any work is done.

    Raises:
        CheckpointError: The folder around it is missing or not writable, the target is a folder,
            or a file is there and `force` is not given.
    """
    _check_around(target)
    if target.is_dir():
        raise CheckpointError(f"{target}: is a folder; expected the name of a file.")
    if target.exists() and not target.is_file():
        raise CheckpointError(f"{target}: is a device or a pipe; expected the name of a file.")
    if (target.exists() or target.is_symlink()) and not force:
        raise CheckpointError(f"{target}: exists already. Pass --force to replace it.")
    _check_writable(target, target.parent)


def check_folder(
    folder: Path,
    what: str,
    is_ours: Callable[[Path], bool],
    *,
    force: bool,
    resume: bool | None = None,
    as_whole: bool = False,
) -> None:
    """Refuse a folder that cannot or must not be written to, before any work is done.

    An empty folder may be used. So may one that holds no more than empty folders and temporary
    files of `written_beside`, which a killed process leaves.

    Args:
        folder: To write to; the caller makes it if it is not there.
        what: What it is to hold, for messages: "a training run".
        is_ours: Whether a folder that is not empty holds that.
        force: Whether to replace what it holds.
        resume: Whether to continue what it holds; None if that cannot be continued.
        as_whole: Whether the folder itself is replaced. One that is empty, or a link, is not.

    Raises:
        CheckpointError: The folder around it is missing, it is not a folder or not writable, it
            holds something else, or it holds what neither `force` nor `resume` was given for; or
            there is nothing to resume.
    """
    _check_around(folder)
    if as_whole and folder.name in ("", ".."):
        raise CheckpointError(f"{folder}: has no name of its own. Name the folder itself.")
    is_there = folder.exists() or folder.is_symlink()
    if is_there and not folder.is_dir():
        raise CheckpointError(f"{folder}: is not a folder; expected one to hold {what}.")
    if is_there and (as_whole or not _is_free(folder)):
        if (as_whole and folder.is_symlink()) or not is_ours(folder):
            raise CheckpointError(
                f"{folder}: exists and is not {what}, so nothing is written there. Choose another "
                f"folder."
            )
        if not (force or resume):
            resuming = "" if resume is None else "--resume to continue it, or "
            raise CheckpointError(
                f"{folder}: exists already. Pass {resuming}--force to replace it."
            )
    elif resume:
        raise nothing_to_resume(folder, what)
    _check_writable(folder, folder if is_there and not as_whole else folder.parent)


def nothing_to_resume(folder: Path, what: str) -> CheckpointError:
    """Make the error about a folder that --resume finds nothing in."""
    return CheckpointError(
        f"{folder}: does not hold {what} to resume. Leave out --resume to start one."
    )


def _check_around(path: Path) -> None:
    if not path.parent.is_dir():
        found = "is a file" if path.parent.exists() else "does not exist. Make it first"
        raise CheckpointError(f"{path}: the folder {path.parent} {found}.")


def _check_writable(path: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CheckpointError(f"{path}: no permission to write into {real(folder)}.")


def _is_free(folder: Path) -> bool:
    """Tell whether a folder holds nothing that somebody could miss."""
    try:
        return all(
            _TEMPORARY.fullmatch(path.name) or (path.is_dir() and not any(path.iterdir()))
            for path in folder.iterdir()
        )
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror or error}.") from error


def unverified(target: Path) -> Path:
    """Name the file that holds converted weights for which parity was not proved."""
    return target.parent / f"{target.name}.unverified"


def check_distinct(**files: Path | None) -> None:
    """Refuse one file in two roles, through links as well: writing one would destroy the other.

    Raises:
        CheckpointError: Two are the same file; both roles are named.
    """
    seen: dict[Path, str] = {}
    for role, path in files.items():
        if path is not None:
            place = real(path)
            if place in seen:
                same = f"{seen[place]} and {role} are the same file"
                raise CheckpointError(f"{path}: {same}. Choose another name for what is written.")
            seen[place] = role


def check_sources_stay(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    """Refuse to write over a file that is read, through links as well.

    Raises:
        CheckpointError: A target is a source.
    """
    places = {real(path) for path in sources}
    for target in targets:
        if real(target) in places:
            why = "would be written, but is part of the source"
            raise CheckpointError(f"{target}: {why}. Choose another name.")


def check_room(target: Path, size: int) -> None:
    """Refuse to start if the disk has too little room for a file or folder.

    Raises:
        CheckpointError: There is less room than that many bytes.
    """
    room = shutil.disk_usage(target.parent)
    if room.total and room.free < size:  # some file systems do not tell
        raise CheckpointError(
            f"{target}: the disk has room for {room.free:,} bytes; {size:,} are needed. Make room, "
            f"or choose another disk. Nothing was written."
        )


def reserve(file: BinaryIO, size: int) -> None:
    """Take the room of a file on the disk before it is written, which makes writing faster.

    Raises:
        OSError: There is no room.
    """
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in _NOT_KNOWN:
            raise


@contextmanager
def written_beside(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a temporary file beside a target; it is removed unless the caller renames it.

    So is all that `companion` names. What a process that was killed left behind for the same
    target is removed as well.

    Raises:
        CheckpointError: The file cannot be made; nothing is left behind.
    """
    _remove_abandoned(target)
    part = target.with_name(f"{_hidden(target)}.{secrets.token_hex(4)}.part")
    try:
        with cannot_be_written(target):
            # As the usual open does it, but for a name that must be new.
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        file = os.fdopen(handle, "wb")
        try:
            hold(handle)
            yield file, part
        except BaseException:
            with suppress(OSError):  # the body has failed for the same reason
                file.close()
            raise
        with cannot_be_written(target):
            file.close()
    finally:
        _remove_with_companions(part)


def write_whole(path: Path, content: bytes, force: bool = True) -> None:
    """Write a file; at any moment the old or the new one is there, whole and on the disk.

    Raises:
        CheckpointError: As `write_all`.
    """
    write_all({path: content}, force)


def write_all(contents: Mapping[Path, bytes], force: bool = True) -> None:
    """Write files; each is complete and on the disk before the first gets its name.

    Args:
        contents: By path; they get their names in this order.
        force: Whether to replace files that are there.

    Raises:
        CheckpointError: A file cannot be written, and then none is; or one appeared meanwhile and
            `force` is not given.
    """
    with ExitStack() as stack:
        parts = {}
        for path, content in contents.items():
            file, parts[path] = stack.enter_context(written_beside(path))
            with cannot_be_written(path):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            publish(part, path, force)


@contextmanager
def cannot_be_written(target: Path) -> Iterator[None]:
    """Turn an error of the system (disk full, no permission) into one that names the target.

    Raises:
        CheckpointError: The body raised OSError.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{target}: cannot be written: {error.strerror or error}.{way_out(error)} Nothing was "
            f"left behind."
        ) from error


def companion(part: Path, number: int) -> Path:
    """Name a further temporary file that comes and goes with one of `written_beside`."""
    return part.with_name(f"{part.name.removesuffix('.part')}.{number:05}.part")


def _hidden(target: Path) -> str:
    """Give the begin of the names of a target's temporary files, which must not be too long."""
    name = os.fsencode(target.name)
    return f".{target.name if len(name) <= 180 else hashlib.sha256(name).hexdigest()}"


def _remove_with_companions(part: Path) -> None:
    """Remove temporary files; not even a second Ctrl-C leaves some of them."""
    stem, is_done = glob.escape(part.name.removesuffix(".part")), False
    while not is_done:
        with suppress(KeyboardInterrupt):
            for other in [*part.parent.glob(f"{stem}.?????.part"), part]:
                other.unlink(missing_ok=True)
            is_done = True


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of a target that no process holds."""
    for part in target.parent.glob(f"{glob.escape(_hidden(target))}.????????.part"):
        remove_unheld(part, _remove_with_companions)


def hold(handle: int) -> None:
    """Mark a temporary file or folder as in use; some file systems know no locks."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def remove_unheld(part: Path, remove: Callable[[Path], object]) -> None:
    """Remove a temporary file or folder, unless it cannot be or a process holds it.

    Not the newest: a moment passes between the making of one and its lock. Nor what has such a name
    and is neither, such as a pipe or a link.
    """
    with suppress(OSError):
        found = part.lstat()
        is_ours = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
        if is_ours and time.time() - found.st_mtime > _NEW:
            handle = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(part)
            finally:
                os.close(handle)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time give several files in a folder their names."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def synced(file: BinaryIO) -> Iterator[None]:
    """Make what the caller writes survive a power cut; the disk begins at once, not at the end.

    Raises:
        OSError: The disk refused, perhaps because it is full.
    """
    errors: list[OSError] = []
    done = threading.Event()
    handle = os.dup(file.fileno())  # the thread's own: an interruption may close the file first

    def sync() -> None:
        try:
            while not done.wait(_PAUSE):
                os.fsync(handle)
        except OSError as error:
            errors.append(error)
        finally:
            os.close(handle)

    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    for error in errors:
        raise error
    os.fsync(file.fileno())


def publish(source: Path, target: Path, force: bool) -> None:
    """Give a finished file its name, in one step that leaves the old or the new file.

    Raises:
        CheckpointError: The target appeared meanwhile and `force` is not given.
    """
    with cannot_be_written(target):
        if force or not _linked(source, target):
            source.replace(target)
        else:
            source.unlink()
    with suppress(OSError):  # some file systems cannot; the file itself is safe
        flush(target.parent)


def _linked(source: Path, target: Path) -> bool:
    """Give a file a second name if no file has it; tell whether the system can.

    Unlike a rename, a hard link fails where a file is.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if isinstance(error, FileExistsError) or target.exists():
            raise CheckpointError(
                f"{target}: appeared meanwhile and was left alone. Pass --force to replace it."
            ) from None
        return False
    return True


def flush(path: Path) -> None:
    """Make a file or the names in a folder survive a power cut.

    Raises:
        OSError: The disk refuses, perhaps because it is full.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
