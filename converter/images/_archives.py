"""Zip and tar archives as trees of files; no file is unpacked to a folder."""

from __future__ import annotations

import os
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import DataError
from ._trees import Archive, Tree, in_order, is_hidden

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MOST_BYTES = 1 << 30  # of one file of an archive
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


class _Archive(Archive):
    """Base of both: turns any damage into a DataError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str, place: object) -> bytes:
        try:
            return self._bytes(place)
        except _DAMAGED as error:
            raise DataError(f"{self.path}: {name}: cannot be read: {_reason(error)}.") from error

    def _bytes(self, place: object) -> bytes:
        raise NotImplementedError


class _Zip(_Archive):
    kind = "zip"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file = zipfile.ZipFile(path)

    def entries(self) -> Iterator[tuple[str, bool, object]]:
        for entry in self.file.infolist():
            yield entry.filename, entry.is_dir(), entry

    def _bytes(self, place: object) -> bytes:
        assert isinstance(place, zipfile.ZipInfo)
        if place.file_size > _MOST_BYTES:
            raise ValueError(f"{place.file_size:,} bytes are too many for an image")
        return self.file.read(place)  # verifies the checksum, and is safe in threads


class _Tar(_Archive):
    kind = "tar"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        opener = _decompressor(path)
        self.file: IO[bytes] = path.open("rb") if opener is None else _nameless()
        weakref.finalize(self, self.file.close)
        if opener is not None:
            with opener(path, "rb") as packed:
                _copy(packed, self.file)
        self.tar = tarfile.open(fileobj=self.file)  # noqa: SIM115  lives as long as this does

    def entries(self) -> Iterator[tuple[str, bool, object]]:
        for entry in self.tar:
            if entry.isdir() or entry.isreg():
                yield entry.name, entry.isdir(), (entry.offset_data, entry.size)

    def _bytes(self, place: object) -> bytes:
        assert isinstance(place, tuple)
        at, size = place
        if size > _MOST_BYTES:
            raise ValueError(f"{size:,} bytes are too many for an image")
        found = os.pread(self.file.fileno(), size, at)  # keeps no position, so threads can share it
        if len(found) < size:
            raise EOFError("the archive is cut short")
        return found


def _decompressor(path: Path) -> Callable[[Path, str], Any] | None:
    """Choose a decompressor by the first bytes of a file; None if it is not compressed."""
    import bz2
    import gzip
    import lzma

    with path.open("rb") as file:
        magic = file.read(2)
    openers: dict[bytes, Callable[[Path, str], Any]] = {
        b"\x1f\x8b": gzip.open,
        b"BZ": bz2.open,
        b"\xfd7": lzma.open,
    }
    return openers.get(magic)


def _nameless() -> IO[bytes]:
    """Make a temporary file for an uncompressed copy, which disappears when it is closed.

    Only in an uncompressed tar can one file be read without all those before it.
    """
    return tempfile.TemporaryFile()


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
    try:
        archive = _Zip(path) if path.name.lower().endswith(".zip") else _Tar(path)
        found = [(_clean(name), folder, place) for name, folder, place in archive.entries()]
    except (*_DAMAGED, _lzma_error()) as error:
        raise DataError(
            f"{path}: cannot be read as an archive: {_reason(error)}. It is cut short, damaged or "
            f"not an archive; copy or download it again."
        ) from error
    files, folders = {}, set[str]()
    for name, is_folder, place in found:
        if not name or any(is_hidden(part) for part in name.split("/")):
            continue
        folder = name if is_folder else name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if not is_folder:
            files[name] = place
    return Tree(str(path), archive.kind, in_order(files), frozenset(folders), archive)


def _clean(name: str) -> str:
    """Remove the parts of a name that lead out of the archive; no file is written anyway."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _lzma_error() -> type[Exception]:
    """Give the exception for a damaged .xz."""
    import lzma

    return lzma.LZMAError


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
