"""Which characters a font file has glyphs for: its table "cmap", read without any other package.

Source: https://learn.microsoft.com/typography/opentype/spec/cmap, formats 4 and 12.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

_MOST = 64  # faces of a collection that are looked at
_LARGEST = 1 << 22  # bytes of a table


@dataclass(frozen=True)
class Glyphs:
    """The glyphs of a font, as ranges of characters.

    Attributes:
        first: int64 [N], sorted; the first character of each range.
        last: int64 [N], its last one.
        shift: int64 [N], from a character to its glyph, modulo 65536 in format 4.
        indirect: int64 [N], where in `words` the glyph of the first character is; -1 for nowhere.
        words: uint16, the table itself.
    """

    first: np.ndarray
    last: np.ndarray
    shift: np.ndarray
    indirect: np.ndarray
    words: np.ndarray

    def __contains__(self, character: str) -> bool:
        """Tell whether there is a glyph; 0 is the one for all characters that have none."""
        code = ord(character)
        at = int(np.searchsorted(self.first, code, side="right")) - 1
        if at < 0 or code > self.last[at]:
            return False
        if self.indirect[at] < 0:
            return bool((code + self.shift[at]) & 0xFFFF)
        place = int(self.indirect[at] + code - self.first[at])
        return place < len(self.words) and bool(self.words[place])


def read_glyphs(file: BinaryIO) -> list[Glyphs]:
    """Read the glyphs of every face of a font file, .ttf, .otf, .ttc or .otc.

    Returns:
        In the order of the faces; of one that is not understood, without any glyphs.
    """
    faces = [0]
    file.seek(0)
    if file.read(4) == b"ttcf":
        _, count = _numbers(file, 4, ">II")
        faces = list(_numbers(file, 12, f">{min(count, _MOST)}I"))
    return [_read_face(file, face) for face in faces]


def _read_face(file: BinaryIO, start: int) -> Glyphs:
    table = None
    for number in range(_numbers(file, start + 4, ">H")[0]):
        tag, _, offset, length = _numbers(file, start + 12 + 16 * number, ">4sIII")
        if tag == b"cmap" and length <= _LARGEST:
            table = (offset, length)
    found = dict[int, Glyphs]()
    if table is not None:
        file.seek(table[0])
        data = file.read(table[1])
        for number in range(struct.unpack_from(">H", data, 2)[0]):
            platform, encoding, at = struct.unpack_from(">HHI", data, 4 + 8 * number)
            kind = struct.unpack_from(">H", data, at)[0]
            # Unicode; (3, 0) holds symbols under numbers of its own.
            if kind in _READERS and (platform == 0 or (platform == 3 and encoding in (1, 10))):
                found[kind] = _READERS[kind](data[at:])
    empty = np.zeros(0, np.int64)
    # Format 12 has all that format 4 has.
    return found.get(12) or found.get(4) or Glyphs(empty, empty, empty, empty, empty)


def _read_4(data: bytes) -> Glyphs:
    """Read segments: ends, a blank, starts, shifts and offsets of 16 bits each."""
    size = min(struct.unpack_from(">H", data, 2)[0] or len(data), len(data))
    words = np.frombuffer(data[: size // 2 * 2], ">u2").astype(np.int64)
    count = int(words[3]) // 2
    last, first = words[7 : 7 + count], words[8 + count : 8 + 2 * count]
    shift, offset = (words[8 + n * count : 8 + (n + 1) * count] for n in (2, 3))
    # An offset counts bytes from where it stands itself.
    indirect = np.where(offset > 0, 8 + 3 * count + np.arange(count) + offset // 2, -1)
    return Glyphs(first, last, shift, indirect, words)


def _read_12(data: bytes) -> Glyphs:
    """Read groups: first and last character, and the glyph of the first."""
    count = min(struct.unpack_from(">I", data, 12)[0], (len(data) - 16) // 12)
    groups = np.frombuffer(data, ">u4", 3 * count, 16).reshape(count, 3).astype(np.int64)
    groups = groups[np.argsort(groups[:, 0], kind="stable")]
    first, last, glyph = groups.T
    return Glyphs(first, last, glyph - first, np.full(count, -1), np.zeros(0, np.int64))


_READERS = {4: _read_4, 12: _read_12}


def _numbers(file: BinaryIO, at: int, form: str) -> tuple[Any, ...]:
    file.seek(at)
    return struct.unpack(form, file.read(struct.calcsize(form)))
