"""Folders and archives alike: names of files, and their bytes when asked for.

Nothing is unpacked: a file of an archive is read where it lies, from any thread.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .._errors import DataError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MOST_BYTES = 1 << 30  # of one file of an archive
_MOST_TEXT = 256 << 20  # of a list of labels
_MOST_UNPACKED = 64 << 30  # of a compressed tar
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,  # encrypted, or a compression that this Python has not
    zlib.error,
)


@dataclass(frozen=True)
class Tree:
    """Files below one place.

    Attributes:
        where: The place, as errors call it.
        kind: "folder", "zip" or "tar".
        files: Name relative to it, with slashes -> whatever `read` needs. Hidden ones are left out.
        folders: Names of the folders directly in it, with files or without.
    """

    where: str
    kind: str
    files: dict[str, object]
    folders: frozenset[str]
    archive: Archive | None = None

    def read(self, name: str) -> Path | bytes:
        """Give a file, or the bytes of an archive's.

        Raises:
            DataError: The archive is damaged there.
        """
        place = self.files[name]
        if self.archive is None:
            assert isinstance(place, Path)
            return place
        return self.archive.read(name, place)

    def below(self, folder: str) -> Tree:
        """Give the tree of a folder that is directly in this one."""
        start = folder + "/"
        files = {n.removeprefix(start): p for n, p in self.files.items() if n.startswith(start)}
        inside = {name.split("/", 1)[0] for name in files if "/" in name}
        where = f"{self.where}/{folder}"
        return Tree(where, self.kind, files, frozenset(inside), self.archive)


class Archive:
    """An opened archive; closed when nothing refers to it any more."""

    kind: str

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> Iterator[tuple[str, bool, object]]:
        """Give name, whether it is a folder, and what `_bytes` needs, of every entry."""
        raise NotImplementedError

    def read(self, name: str, place: object) -> bytes:
        """Give the bytes of a file.

        Raises:
            DataError: It is damaged.
        """
        try:
            return self._bytes(place)
        except _DAMAGED as error:
            raise DataError(f"{self.path}: {name}: cannot be read: {_reason(error)}.") from error

    def _bytes(self, place: object) -> bytes:
        raise NotImplementedError


class _Zip(Archive):
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
            raise ValueError(f"{place.file_size:,} bytes are too many for a picture")
        return self.file.read(place)  # which checks the checksum, and is safe in threads


class _Tar(Archive):
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
            raise ValueError(f"{size:,} bytes are too many for a picture")
        found = os.pread(self.file.fileno(), size, at)  # keeps no position, so threads can share it
        if len(found) < size:
            raise EOFError("the archive is cut short")
        return found


def _decompressor(path: Path) -> Callable[[Path, str], Any] | None:
    """Choose by its first bytes what opens a compressed file; None if it is not compressed."""
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
    """Make a file for a copy, which goes by itself.

    Only in an uncompressed tar can a file be read without all those before it.
    """
    return tempfile.TemporaryFile()


def _copy(packed: IO[bytes], target: IO[bytes]) -> None:
    while chunk := packed.read(1 << 20):
        target.write(chunk)
        if target.tell() > _MOST_UNPACKED:
            raise ValueError("too large to be unpacked on the way; unpack it first")
    target.seek(0)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


def read_archive(path: Path) -> Tree:
    """List what an archive holds.

    Raises:
        DataError: It is damaged, or none.
    """
    try:
        archive = _Zip(path) if path.name.lower().endswith(".zip") else _Tar(path)
        found = [(_clean(name), folder, place) for name, folder, place in archive.entries()]
    except (*_DAMAGED, _lzma_error()) as error:
        raise DataError(
            f"{path}: cannot be read as an archive: {_reason(error)}. It is cut short, damaged or "
            f"something else; copy or download it again."
        ) from error
    files, folders = {}, set[str]()
    for name, is_folder, place in found:
        if not name or any(_hidden(part) for part in name.split("/")):
            continue
        if is_folder or "/" in name:
            folders.add(name.split("/", 1)[0])
        if not is_folder:
            files[name] = place
    return Tree(str(path), archive.kind, _sorted(files), frozenset(folders), archive)


def read_folder(path: Path) -> Tree:
    """List what a folder holds, following links; those in a circle are left at the first round.

    Raises:
        DataError: It cannot be listed.
    """
    files: dict[str, object] = {}
    folders = set[str]()
    try:
        root = _identity(path)
        for entry in sorted(_visible(path), key=lambda e: e.name):
            if entry.is_dir():
                folders.add(entry.name)
                _collect(Path(entry.path), entry.name, files, {root})
            else:
                files[entry.name] = Path(entry.path)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}.") from error
    return Tree(str(path), "folder", _sorted(files), frozenset(folders))


def _collect(folder: Path, name: str, files: dict[str, object], seen: set[tuple[int, int]]) -> None:
    """Add the files of a folder, each real folder once."""
    waiting = [(folder, name)]
    while waiting:
        folder, name = waiting.pop()
        identity = _identity(folder)
        if identity in seen:
            continue
        seen.add(identity)
        for entry in _visible(folder):
            inside = f"{name}/{entry.name}"
            if entry.is_dir():
                waiting.append((Path(entry.path), inside))
            else:
                files[inside] = Path(entry.path)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not _hidden(entry.name)]


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _clean(name: str) -> str:
    """Give an archive's name without what leads out of it; nothing is written under it anyway."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _lzma_error() -> type[Exception]:
    """Give the error of a damaged .xz."""
    import lzma

    return lzma.LZMAError


def read_text(where: str, content: Path | bytes) -> str:
    """Read a list of labels.

    Raises:
        DataError: It is no text, or too large.
    """
    try:
        if isinstance(content, Path):
            if content.stat().st_size > _MOST_TEXT:
                raise DataError(f"{where}: is too large for a list of labels.")
            content = content.read_bytes()
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: cannot be read as text: {error}.") from error


def left_out(count: int) -> str:
    """Say, as the end of a description, that there were other files."""
    return f", {count} other file{'s' * (count > 1)} left out" if count else ""


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def _sorted(files: dict[str, object]) -> dict[str, object]:
    """Order by folder first, as torchvision's ImageFolder does: "a-b/1" comes after "a/1"."""
    return dict(sorted(files.items(), key=lambda item: item[0].split("/")))
