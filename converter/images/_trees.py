"""Folders and archives alike: names of files, and their bytes on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import DataError

_MOST_TEXT = 256 << 20  # bytes of a list of labels


@dataclass(frozen=True)
class Tree:
    """Files below one place.

    Attributes:
        where: Its name in errors.
        kind: "folder", "zip" or "tar".
        files: Name relative to it, with slashes -> whatever `read` needs. Hidden ones are left out.
        nested: Names of all folders below it, with files or without.
    """

    where: str
    kind: str
    files: dict[str, object]
    nested: frozenset[str]
    archive: Archive | None = None

    @cached_property
    def folders(self) -> frozenset[str]:
        """Names of the folders directly in it, with files or without."""
        return frozenset(name for name in self.nested if "/" not in name)

    def read(self, name: str) -> Path | bytes:
        """Give the path of a file, or its bytes if it lies in an archive.

        Raises:
            DataError: The archive is damaged at this file.
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
        nested = frozenset(n.removeprefix(start) for n in self.nested if n.startswith(start))
        return Tree(f"{self.where}/{folder}", self.kind, files, nested, self.archive)


class Archive:
    """An open archive; it closes when nothing refers to it any more."""

    kind: str

    def entries(self) -> Iterator[tuple[str, bool, object]]:
        """Give name, whether it is a folder, and what `read` needs, of every entry."""
        raise NotImplementedError

    def read(self, name: str, place: object) -> bytes:
        """Give the bytes of a file; may be called from several threads.

        Raises:
            DataError: The archive is damaged at this file.
        """
        raise NotImplementedError


def read_folder(path: Path) -> Tree:
    """List the files and folders in a folder, following links, but not in circles.

    Raises:
        DataError: The folder cannot be listed.
    """
    files: dict[str, object] = {}
    folders = set[str]()
    try:
        root = _identity(path)
        for entry in sorted(_visible(path), key=lambda e: e.name):
            if entry.is_dir():
                _collect(Path(entry.path), entry.name, files, folders, {root})
            else:
                files[entry.name] = Path(entry.path)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}.") from error
    return Tree(str(path), "folder", in_order(files), frozenset(folders))


def _collect(
    folder: Path,
    name: str,
    files: dict[str, object],
    folders: set[str],
    seen: set[tuple[int, int]],
) -> None:
    """Add a folder with its files and folders; each real folder once."""
    waiting = [(folder, name)]
    while waiting:
        folder, name = waiting.pop()
        folders.add(name)
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
        return [entry for entry in entries if not is_hidden(entry.name)]


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def read_text(where: str, content: Path | bytes) -> str:
    """Read a list of labels.

    Raises:
        DataError: The file is not text, or too large.
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
    """Count the files left out, as the end of a description."""
    return f", {count} other file{'s' * (count > 1)} left out" if count else ""


def in_order(files: dict[str, object]) -> dict[str, object]:
    """Order by folder first, as torchvision's ImageFolder does: "a-b/1" comes after "a/1"."""
    return dict(sorted(files.items(), key=lambda item: item[0].split("/")))
