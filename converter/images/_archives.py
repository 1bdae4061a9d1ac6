"""Zip and tar archives as trees of files; no file is unpacked to a folder."""

from __future__ import annotations

import os
import struct
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import DataError
from ._encoding import decode, recode
from ._trees import Tree, in_order, is_hidden

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# First bytes of a file -> the module that decompresses it; not every Python has all of them.
_DECOMPRESSORS = {b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\xfd7": "lzma"}
_IS_UTF8 = 0x800  # flag of an entry of a zip
_UNICODE_PATH = 0x7075  # id of Info-ZIP's extra field
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


class _Opened(NamedTuple):
    """Every entry: its name, whether it is a folder, and what stands for it; what reads that."""

    entries: list[tuple[str, bool, Any]]
    read: Callable[[Any], bytes]
    remark: str  # on the encoding of names


def _open_zip(path: Path) -> _Opened:
    file = zipfile.ZipFile(path)

    def read(entry: zipfile.ZipInfo) -> bytes:
        _check_size(entry.file_size)
        return file.read(entry)  # verifies the checksum, and is safe in threads

    entries = file.infolist()
    names, remark = _zip_names(entries)
    return _Opened(
        [(name, name.endswith("/"), e) for name, e in zip(names, entries, strict=True)],
        read,
        remark,
    )


def _zip_names(entries: Sequence[zipfile.ZipInfo]) -> tuple[list[str], str]:
    """Give the names of entries, of which zip files note the encoding if it is UTF-8 only."""
    names = [_noted_name(entry) for entry in entries]
    found = decode([_raw(e) for e, name in zip(entries, names, strict=True) if name is None])
    others = iter(found.names)
    whole = [next(others) if name is None else name for name in names]
    if not any("/" in name for name in whole):  # packed by a Windows program against the rules
        whole = [name.replace("\\", "/") for name in whole]
    return [name.partition("\0")[0] for name in whole], found.remark


def _noted_name(entry: zipfile.ZipInfo) -> str | None:
    """Give the name of an entry if its encoding is noted, by a flag or in Info-ZIP's extra field.

    Source of both: PKWARE, APPNOTE.TXT 6.3.10, 4.4.4 and 4.6.9.
    """
    if entry.flag_bits & _IS_UTF8:
        return entry.orig_filename
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            (crc,) = struct.unpack_from("<I", field, 1)
            if crc == zlib.crc32(_raw(entry)):  # else the name was changed later
                with suppress(UnicodeDecodeError):
                    return field[5:].decode()
    return None


def _raw(entry: zipfile.ZipInfo) -> bytes:
    return entry.orig_filename.encode("cp437")  # as what Python decodes it


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
    how: Any = {"tarinfo": _Entry, "encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=file, **how) as tar:  # leaves the file open
        for entry in tar:
            if entry.size < 0 or entry.offset_data <= end:  # the next one would be an earlier one
                raise ValueError(f"an entry has {entry.size:,} bytes")
            end = entry.offset_data
            if entry.isdir() or entry.isreg():
                entries.append(entry)
    names, remark = recode(entry.name for entry in entries)
    return _Opened(
        [(names.get(e.name, e.name), e.isdir(), (e.offset_data, e.size)) for e in entries],
        read,
        remark,
    )


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
        entries, read, remark = (_open_zip if is_zip else _open_tar)(path)
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
    return Tree(str(path), kind, in_order(files), frozenset(folders), read_entry, remark)


def _clean(name: str) -> str:
    """Remove the parts of a name that lead out of the archive; no file is written anyway."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _lzma_error() -> type[Exception]:
    """Give the exception for a damaged .xz."""
    import lzma

    return lzma.LZMAError


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
