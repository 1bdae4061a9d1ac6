"""Zip and tar archives as trees of files; no file is unpacked to a folder."""

from __future__ import annotations

import os
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ..errors import DataError
from ._trees import Tree, in_order, is_hidden

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# First bytes of a file -> the module that decompresses it; not every Python has all of them.
_DECOMPRESSORS = {b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\xfd7": "lzma"}
_MOST_BYTES = 1 << 30  # of one file of an archive
# Types of entries that hold the name of the next, or more about it; and their bytes at most.
_DESCRIBING = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_MOST_DESCRIBED = 1 << 20
_MOST_UNPACKED = 64 << 30  # of a compressed tar
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,  # encrypted, or a compression that this Python lacks
    zlib.error,
)


# Every entry: its name, whether it is a folder, and what stands for it; and what reads that.
_Opened = tuple[list[tuple[str, bool, Any]], Callable[[Any], bytes]]


def _open_zip(path: Path) -> _Opened:
    file = zipfile.ZipFile(path)

    def read(entry: zipfile.ZipInfo) -> bytes:
        _check_size(entry.file_size)
        return file.read(entry)  # verifies the checksum, and is safe in threads

    return [(entry.filename, entry.is_dir(), entry) for entry in file.infolist()], read


class _Entry(tarfile.TarInfo):
    """An entry of a tar; one that describes the next, which is read into memory, stays small."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Entry:
        """Read an entry's block."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.size < 0 or (entry.type in _DESCRIBING and entry.size > _MOST_DESCRIBED):
            raise tarfile.ReadError(f"a header has {entry.size:,} bytes")
        return entry


def _open_tar(path: Path) -> _Opened:
    with path.open("rb") as compressed:
        module = _DECOMPRESSORS.get(compressed.read(2))
    # Only in an uncompressed tar can one file be read without all those before it. The uncompressed
    # copy has no name, and disappears when it is closed.
    file: IO[bytes] = path.open("rb") if module is None else tempfile.TemporaryFile()  # noqa: SIM115

    def read(place: tuple[int, int]) -> bytes:
        at, size = place
        _check_size(size)
        found = os.pread(file.fileno(), size, at)  # keeps no position, so threads can share it
        if len(found) < size:
            raise EOFError("the archive is cut short")
        return found

    weakref.finalize(read, file.close)
    if module is not None:
        with import_module(module).open(path, "rb") as packed:
            _copy(packed, file)
    entries, end = list[tarfile.TarInfo](), -1
    with tarfile.open(fileobj=file, tarinfo=_Entry) as tar:  # leaves the file open
        for entry in tar:
            if entry.size < 0 or entry.offset_data <= end:  # the next one would be an earlier one
                raise ValueError(f"an entry has {entry.size:,} bytes")
            end = entry.offset_data
            if entry.isdir() or entry.isreg():
                entries.append(entry)
    return [(e.name, e.isdir(), (e.offset_data, e.size)) for e in entries], read


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise ValueError(f"{size:,} bytes are too many for an image")


def _copy(packed: IO[bytes], target: IO[bytes]) -> None:
    while chunk := packed.read(1 << 20):
        target.write(chunk)
        if target.tell() > _MOST_UNPACKED:
            raise ValueError(
                f"has more than {_MOST_UNPACKED:,} bytes unpacked; unpack it to a folder first"
            )
    target.seek(0)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive of a known format."""
    return path.name.lower().endswith(ARCHIVES)


def read_archive(path: Path) -> Tree:
    """List the files and folders in an archive.

    Raises:
        DataError: The file is damaged or not an archive.
    """
    is_zip = path.name.lower().endswith(".zip")
    try:
        entries, read = (_open_zip if is_zip else _open_tar)(path)
    except (*_DAMAGED, _lzma_error()) as error:
        raise DataError(
            f"{path}: cannot be read as an archive: {_reason(error)}. It is cut short, damaged or "
            f"not an archive; copy or download it again."
        ) from error

    def read_entry(name: str, place: Any) -> bytes:
        try:
            return read(place)
        except _DAMAGED as error:
            raise DataError(f"{path}: {name}: cannot be read: {_reason(error)}.") from error

    files, folders = {}, set[str]()
    for entry, is_folder, place in entries:
        name = _clean(entry)
        if not name or any(is_hidden(part) for part in name.split("/")):
            continue
        folder = name if is_folder else name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if not is_folder:
            files[name] = place
    kind = "zip" if is_zip else "tar"
    return Tree(str(path), kind, in_order(files), frozenset(folders), read_entry)


def _clean(name: str) -> str:
    """Remove the parts of a name that lead out of the archive; no file is written anyway."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _lzma_error() -> type[Exception]:
    """Give the exception for a damaged .xz."""
    import lzma

    return lzma.LZMAError


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
