"""Runs of bytes in checkpoint files, read in pieces and never mapped.

A mapped file that shrinks kills the process that reads it, and its pages count as memory used.
These read with `pread`: any piece, from any thread, into the caller's buffer.
"""

import os
import threading
import weakref
import zlib
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from ..plain import open_plain

CHUNK = 1 << 20  # bytes handled at a time: what fits the cache of one core


class Storage:
    """Consecutive bytes.

    Attributes:
        size: How many.
    """

    size: int

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from a position on.

        Raises:
            CheckpointError: The file cannot be read there, or has become shorter.
        """
        raise NotImplementedError

    def read(self, at: int, size: int) -> bytes:
        """Give some bytes."""
        buffer = bytearray(size)
        self.read_into(at, memoryview(buffer))
        return bytes(buffer)

    def crc32(self, start: int = 0, crc: int = 0) -> int:
        """Compute the CRC-32, which zip files use; `crc` is that of the bytes before `start`."""
        buffer = memoryview(bytearray(min(CHUNK, self.size - start)))
        for at in range(start, self.size, CHUNK):
            piece = buffer[: min(CHUNK, self.size - at)]
            self.read_into(at, piece)
            crc = zlib.crc32(piece, crc)
        return crc

    def checked(self) -> Iterator["Storage"]:
        """Give the parts of the file behind these bytes that have a checksum in it."""
        yield from ()

    def watch(self) -> None:
        """Prepare for `check`, so that bytes read until then need not be read again."""

    def check(self) -> None:
        """Compare the bytes with their checksum in the file, if any.

        Raises:
            CheckpointError: They differ.
        """


class Shaped(Storage):
    """Bytes that are those of other arrays, and are read best as a strided view of these."""

    def fill(self, out: np.ndarray, offset: int, strides: tuple[int, ...]) -> None:
        """Fill an array from a view of these bytes.

        Args:
            out: Gets the values.
            offset: Where the first lies, in bytes.
            strides: Distance from one index to the next, by axis, in bytes.

        Raises:
            CheckpointError: As of `read_into`.
        """
        raise NotImplementedError


class Opened(Storage):
    """A file that the caller opens and closes."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.size = os.fstat(handle).st_size

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer, in as many reads as the system needs."""
        while len(buffer):
            try:
                count = os.preadv(self.handle, [buffer], at)
            except OSError as error:
                raise CheckpointError(f"cannot be read at byte {at}: {error.strerror}.") from error
            if not count:
                raise CheckpointError(f"ends at byte {at}, but more bytes were expected.")
            at, buffer = at + count, buffer[count:]


class File(Opened):
    """A whole file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        handle = open_plain(path)
        super().__init__(handle)
        self.close = weakref.finalize(self, os.close, handle)
        if not self.size:
            raise CheckpointError(f"{path}: the file is empty. Download or copy it again.")

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer; errors name the file."""
        try:
            super().read_into(at, buffer)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error


class Part(Storage):
    """A part of another storage.

    `start` may be set later: the older format of torch.save states where a storage lies only after
    the pickle that refers to it.
    """

    def __init__(self, whole: Storage, start: int, size: int) -> None:
        self.whole = whole
        self.start = start
        self.size = size

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer."""
        if self.start < 0 or not 0 <= at <= at + len(buffer) <= self.size:
            raise IndexError(f"bytes {at} to {at + len(buffer)} of {self.size}")
        self.whole.read_into(self.start + at, buffer)

    def checked(self) -> Iterator[Storage]:
        """Give the checked parts of the whole."""
        yield from self.whole.checked()


class Checked(Part):
    """A part whose checksum the file holds: an entry of a zip."""

    def __init__(self, whole: Storage, start: int, size: int, crc: int, name: str) -> None:
        super().__init__(whole, start, size)
        self.expected = crc
        self.name = name
        self.is_watched = False
        self.crc = self.summed = 0  # of the bytes read so far without a gap
        self.lock = threading.Lock()  # tensors that share a storage are read by two threads

    def watch(self) -> None:
        """Add bytes read in order from now on to the checksum, so that `check` can skip them."""
        self.is_watched = True

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer."""
        super().read_into(at, buffer)
        if self.is_watched:
            with self.lock:
                if at == self.summed:
                    self.crc = zlib.crc32(buffer, self.crc)
                    self.summed += len(buffer)

    def checked(self) -> Iterator[Storage]:
        """Give itself."""
        yield self

    def check(self) -> None:
        """Compare the bytes with the checksum, reading those that `watch` has not added."""
        with self.lock:
            start, crc = self.summed, self.crc
        found = self.crc32(start, crc)
        if found != self.expected:
            raise CheckpointError(
                f"{self.name}: damaged: expected checksum {self.expected:08x}, found {found:08x}. "
                f"Copy or download the file again."
            )


class Joined(Storage):
    """Several storages, one after the other."""

    def __init__(self, parts: Sequence[Storage]) -> None:
        self.parts = parts
        self.ends = list(accumulate(part.size for part in parts))
        self.size = self.ends[-1] if parts else 0

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer from all parts that it touches."""
        index = bisect(self.ends, at)
        while len(buffer) and index < len(self.parts):
            part, end = self.parts[index], self.ends[index]
            piece = buffer[: end - at]
            part.read_into(at - (end - part.size), piece)
            at, buffer, index = at + len(piece), buffer[len(piece) :], index + 1

    def checked(self) -> Iterator[Storage]:
        """Give the checked parts of all parts."""
        for part in self.parts:
            yield from part.checked()


class Held(Storage):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.size = len(data)

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer."""
        buffer[:] = self.data[at : at + len(buffer)]


class Latin(Storage):
    """Bytes that pickle protocol 2 stores as text: the UTF-8 of their Latin-1 characters.

    A byte below 128 is stored as itself, any other as two bytes. The text is decoded in chunks; the
    first read finds where each begins.

    Args:
        text: The UTF-8.
        size: How many bytes it stands for; the first read checks this.
    """

    def __init__(self, text: Storage, size: int) -> None:
        self.text = text
        self.size = size
        self.marks: list[tuple[int, int]] = []  # byte -> where its character begins in the text
        self.latest: tuple[int, bytes] = (-1, b"")

    def _find_marks(self) -> list[tuple[int, int]]:
        marks, count = [], 0
        for at in range(0, self.text.size, CHUNK):
            piece = np.frombuffer(self.text.read(at, min(CHUNK, self.text.size - at)), np.uint8)
            continued = piece & 0xC0 == 0x80
            if not at and continued[0]:
                raise CheckpointError("an array stored as text does not begin with a character.")
            # A character that began in the previous piece belongs to this one.
            marks.append((count - int(continued[0]), at - int(continued[0])))
            count += len(piece) - int(continued.sum())
        if count != self.size:
            raise CheckpointError(f"an array stored as text has {count} bytes, not {self.size}.")
        return [*marks, (count, self.text.size)]

    def _chunk(self, index: int) -> bytes:
        """Decode one chunk, or give the cached one."""
        latest = self.latest
        if latest[0] != index:
            begin, end = self.marks[index][1], self.marks[index + 1][1]
            try:
                data = self.text.read(begin, end - begin).decode().encode("latin-1")
            except UnicodeError as error:
                raise CheckpointError(f"an array stored as text is not Latin-1: {error}") from error
            self.latest = latest = (index, data)
        return latest[1]

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer, decoding what it needs."""
        self.marks = self.marks or self._find_marks()
        index = bisect(self.marks, at, key=lambda mark: mark[0]) - 1
        while len(buffer):
            data = self._chunk(index)[at - self.marks[index][0] :][: len(buffer)]
            buffer[: len(data)] = data
            at, buffer, index = at + len(data), buffer[len(data) :], index + 1
