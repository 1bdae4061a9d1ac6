"""Folders and archives alike: names of files, and their bytes on demand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import stored
from ..errors import DataError
from ._encoding import decode_text, recode

_MOST_TEXT = 256 << 20  # bytes of a list of labels


@dataclass(frozen=True)
class Tree:
    """Files below one place.

    Attributes:
        where: Its name in errors.
        kind: "folder", "zip" or "tar".
        files: Name relative to it, with slashes -> whatever `read` needs. Hidden ones are left out.
        nested: Names of all folders below it, with files or without.
        read_entry: Gives the bytes of a file of an archive by its name and what `files` has; may be
            called from several threads.
        remark: What to say of it, as the end of a description: the encoding of names.
    """

    where: str
    kind: str
    files: dict[str, object]
    nested: frozenset[str]
    read_entry: Callable[[str, Any], bytes] | None = None
    remark: str = ""

    @property
    def of(self) -> str:
        """What stands before a description of its content: "zip of ", nothing for a folder."""
        return f"{self.kind} of " if self.read_entry else ""

    @property
    def root(self) -> Path | None:
        """Its path if it is a folder."""
        return None if self.read_entry else Path(self.where)

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
        if self.read_entry is not None:
            return self.read_entry(name, place)
        assert isinstance(place, Path)
        return place

    def has(self, name: str) -> bool:
        """Tell whether it has a file of this name."""
        return name in self.files

    @cached_property
    def top(self) -> frozenset[str]:
        """Names of the files directly in it."""
        return frozenset(name for name in self.files if "/" not in name)

    def below(self, folder: str) -> Tree:
        """Give the tree of a folder that is directly in this one."""
        start = folder + "/"
        files = {n.removeprefix(start): p for n, p in self.files.items() if n.startswith(start)}
        nested = frozenset(n.removeprefix(start) for n in self.nested if n.startswith(start))
        where = f"{self.where}/{folder}"
        return Tree(where, self.kind, files, nested, self.read_entry, self.remark)


def read_folder(path: Path) -> Tree:
    """List the files and folders in a folder, following links, but not in circles.

    Raises:
        DataError: The folder cannot be listed.
    """
    files: dict[str, object] = {}
    folders = set[str]()
    waiting = [(path, "", set[tuple[int, int]]())]
    try:
        while waiting:
            folder, name, seen = waiting.pop()
            folders.add(name)
            found = folder.stat()
            identity = found.st_dev, found.st_ino
            if identity in seen:
                continue
            seen.add(identity)
            for entry in _visible(folder):
                inside = f"{name}/{entry.name}" if name else entry.name
                if entry.is_dir():
                    # Each class counts for itself: two may be links to one folder.
                    own = seen if name else {identity}
                    waiting.append((Path(entry.path), inside, own))
                else:
                    files[inside] = Path(entry.path)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}.") from error
    names, remark = recode([*files, *folders])  # not UTF-8: unpacked from an archive as they were
    folders = {names.get(name, name) for name in folders - {""}}
    if names:
        renamed = {names.get(name, name): place for name, place in files.items()}
        if len(renamed) < len(files):
            raise DataError(f"{path}: two files have one name in two encodings; rename one.")
        files = renamed
    return Tree(str(path), "folder", in_order(files), frozenset(folders), remark=remark)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_hidden(entry.name)]


def is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def read_text(where: str, content: Path | bytes) -> tuple[str, str]:
    """Read a list of labels.

    Returns:
        The text, and a remark on its encoding if that is not UTF-8, as the end of a description.

    Raises:
        DataError: The file is not text, or too large.
    """
    try:
        if isinstance(content, Path):
            content = stored.read_bytes(content, _MOST_TEXT)
        text, encoding = decode_text(content)
    except (OSError, ValueError) as error:
        advice = "" if isinstance(error, OSError) else " Save it as UTF-8."
        raise DataError(f"{where}: cannot be read as text: {error}.{advice}") from error
    if "\0" in text:
        raise DataError(f"{where}: cannot be read as text: it has zero bytes. Save it as UTF-8.")
    return text, f", list in {encoding}" * bool(encoding)


def counted(number: int, noun: str) -> str:
    """Count, with the plural of the noun."""
    return f"{number} {noun}{'s' * (number != 1)}"


def left_out(count: int) -> str:
    """Count the files left out, as the end of a description."""
    return f", {count} other file{'s' * (count > 1)} left out" if count else ""


def in_order(files: dict[str, object]) -> dict[str, object]:
    """Order by folder first, as torchvision's ImageFolder does: "a-b/1" comes after "a/1"."""
    return dict(sorted(files.items(), key=lambda item: item[0].split("/")))
