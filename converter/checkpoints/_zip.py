"""The directory of a zip file, read so that no entry can misstate where it is.

Source of the format: PKWARE, APPNOTE.TXT 6.3.10.
"""

import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from ..errors import CheckpointError
from .storage import CHUNK, Checked, File, Part, Storage

MAGIC = b"PK\x03\x04"

STORED, DEFLATED = 0, 8

LOCAL = struct.Struct("<4s5H3I2H")  # in front of an entry
CENTRAL = struct.Struct("<4s6H3I5H2I")  # its line in the directory
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")

_ENCRYPTED, _STREAMED, _UTF8 = 1, 8, 1 << 11  # flags of an entry
_ZIP64 = 1  # id of the extra field that holds numbers of 64 bits
_NAME = 0x7075  # id of the extra field that holds a second name
_FULL, _MANY = 0xFFFFFFFF, 0xFFFF  # in place of such a number
_MOST_DIRECTORY = 16 << 20  # bytes: some 200,000 entries
_MOST_INFLATED = 1 << 28  # bytes of one compressed entry, unpacked


@dataclass(frozen=True)
class Entry:
    """A line of the directory."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    header: int
    limit: int = 0  # where the next entry begins
    codec: str = "utf-8"  # of its name

    @property
    def encoded(self) -> bytes:
        """The bytes of its name."""
        return self.name.encode(self.codec)


def read_directory(file: Storage) -> dict[str, Entry]:
    """List the entries of a zip file by name.

    What zip readers understand differently is refused: PyTorch's, Python's (which NumPy uses) and
    this one give the same entries for every file that is read.

    Raises:
        CheckpointError: The directory is missing, damaged or contradicts itself, or entries
            overlap, share a name, or have a name that leaves the folder.
    """
    start, size, count = _find_directory(file)
    if size > _MOST_DIRECTORY:
        raise CheckpointError(
            f"the zip directory has {size} bytes; the limit is {_MOST_DIRECTORY}."
        )
    data = file.read(start, size)
    entries: dict[str, Entry] = {}
    at = 0
    for _ in range(count):
        try:
            entry, at = _parse(data, at)
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise CheckpointError(f"the zip directory is damaged: {error}.") from error
        if entry.name in entries:
            raise CheckpointError(f"two entries of the zip have the name {entry.name!r}.")
        if _leaves_its_folder(entry.name):
            raise CheckpointError(
                f"an entry of the zip has the name {entry.name!r}; expected a relative path."
            )
        entries[entry.name] = entry
    if at != size:
        raise CheckpointError(
            f"the zip directory holds more than the {count} entries that its end counts. {_OTHERS}"
        )
    ordered = sorted(entries.values(), key=lambda entry: entry.header)
    for entry, after in pairwise([*ordered, Entry("the directory", 0, 0, 0, 0, start)]):
        if entry.header + LOCAL.size + len(entry.encoded) + entry.packed > after.header:
            raise CheckpointError(
                f"{entry.name!r} and {after.name!r} of the zip overlap, or lie past its end."
            )
        entries[entry.name] = replace(entry, limit=after.header)
    return entries


_NO_DIRECTORY = (
    "the zip directory at the end of the file is missing: the file is cut short or damaged. Copy "
    "or download it again."
)


_OTHERS = (
    "Programs read such a file differently, so it is refused. Take it from its source, or save the "
    "weights again."
)


def _find_directory(file: Storage) -> tuple[int, int, int]:
    """Give where the directory begins, its size in bytes and the number of its entries.

    Some readers believe the first of the two end records, some the second; some count entries,
    some bytes; some expect the directory where its offset says, some in front of its end.
    """
    begin = max(0, file.size - END.size - 0xFFFF)
    tail = file.read(begin, file.size - begin)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END.size > len(tail):
        raise CheckpointError(_NO_DIRECTORY)
    _, disk, first, here, count, size, start, comment = END.unpack_from(tail, at)
    if at + END.size + comment != len(tail):
        raise CheckpointError(f"the zip does not end where its end record says. {_OTHERS}")
    plain, at = (count, size, start), begin + at
    if at >= LOCATOR64.size and file.read(at - LOCATOR64.size, 4) == b"PK\x06\x07":
        at -= LOCATOR64.size
        _, disk64, end, disks = LOCATOR64.unpack(file.read(at, LOCATOR64.size))
        if end != at - END64.size or file.read(end, 4) != b"PK\x06\x06" or disk64 or disks > 1:
            raise CheckpointError(_NO_DIRECTORY)
        _, _, _, _, disk, first, here, count, size, start = END64.unpack(file.read(end, END64.size))
        at, wide = end, (count, size, start)
        full = (_MANY, _FULL, _FULL)
        if any(n not in (one, most) for n, one, most in zip(plain, wide, full, strict=True)):
            raise CheckpointError(
                f"the two end records of the zip contradict each other: {plain} and {wide} "
                f"(entries, bytes, begin of the directory). {_OTHERS}"
            )
    elif _FULL in (size, start) or count == _MANY:
        raise CheckpointError(_NO_DIRECTORY)
    if disk or first or here not in (count, min(count, _MANY)):
        raise CheckpointError(f"the zip is a part of several, or miscounts its entries. {_OTHERS}")
    if start + size != at:
        raise CheckpointError(
            f"the zip directory ends at byte {start + size}, its end record begins at byte {at}: "
            f"the file is cut short, or bytes were put before or into it. {_OTHERS}"
        )
    return start, size, count


def _parse(data: bytes, at: int) -> tuple[Entry, int]:
    """Read one line of the directory."""
    fields = CENTRAL.unpack_from(data, at)
    magic, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, *_, header = fields
    if magic != b"PK\x01\x02":
        raise ValueError("an entry does not begin as it must")
    if flags & _ENCRYPTED:
        raise ValueError("an entry is encrypted")
    at += CENTRAL.size
    text = data[at : at + name]
    more = _extra(data[at + name : at + name + extra])
    if _NAME in more:
        raise ValueError("an entry has two names")
    sizes = _wide_numbers(more, [size, packed, header])
    at += name + extra + comment
    if at > len(data):
        raise ValueError("an entry is cut short")
    codec = "utf-8" if flags & _UTF8 or text.isascii() else "cp437"  # as the format has it
    return Entry(text.decode(codec), method, crc, sizes[1], sizes[0], sizes[2], codec=codec), at


def _extra(data: bytes) -> dict[int, bytes]:
    """Give the extra fields of an entry by their id."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        field, length = struct.unpack_from("<2H", data)
        if len(data) < 4 + length or (field == _ZIP64 and field in found):
            raise ValueError("an extra field does not fit, or occurs twice")
        found[field], data = data[4 : 4 + length], data[4 + length :]
    return found


def _wide_numbers(fields: dict[int, bytes], numbers: list[int]) -> list[int]:
    """Replace numbers that do not fit 32 bits by those of the extra field."""
    data = fields.get(_ZIP64, b"")
    wide = iter(struct.unpack_from(f"<{len(data) // 8}Q", data))
    try:
        return [next(wide) if n == _FULL else n for n in numbers]
    except StopIteration:
        raise ValueError("a number of 64 bits is missing") from None


def _leaves_its_folder(name: str) -> bool:
    return (
        not name
        or name.startswith("/")
        or not name.isprintable()
        or any(c in name for c in "\\:")
        or ".." in name.split("/")
    )


def _find_data(file: Storage, entry: Entry) -> int:
    """Give where the bytes of an entry begin, behind its header, which must say the same of it."""
    magic, _, flags, method, _, _, _, packed, size, name, extra = LOCAL.unpack(
        file.read(entry.header, LOCAL.size)
    )
    text = file.read(entry.header + LOCAL.size, name + extra) if magic == MAGIC else b""
    start: int = entry.header + LOCAL.size + name + extra
    if magic != MAGIC or start + entry.packed > entry.limit:
        raise CheckpointError(f"entry {entry.name!r} of the zip is not where its directory says.")
    if text[:name] != entry.encoded:
        raise CheckpointError(f"entry {entry.name!r} of the zip has another name in its header.")
    try:
        sizes = _wide_numbers(_extra(text[name:]), [size, packed])
    except ValueError:
        sizes = []
    # A header written before its data has sizes of 0, and says so.
    streamed = flags & _STREAMED and {size, packed} <= {0, _FULL}
    if method != entry.method or not (streamed or sizes == [entry.size, entry.packed]):
        raise CheckpointError(
            f"entry {entry.name!r} of the zip has another size or compression in its header than "
            f"in the directory. {_OTHERS}"
        )
    return start


def open_entry(file: File, entry: Entry, may_lack_checksum: bool = False) -> Storage:
    """Give the bytes of an entry: a part of the file if it is stored, unpacked if compressed.

    Args:
        file: The zip.
        entry: A line of its directory.
        may_lack_checksum: Whether a checksum of 0 means that there is none.

    Raises:
        CheckpointError: The entry is not where the directory says, uses an unknown compression, or
            would be too large unpacked.
    """
    start = _find_data(file, entry)
    if entry.method == STORED and entry.packed == entry.size:
        if may_lack_checksum and entry.crc == 0:
            return Part(file, start, entry.packed)
        return Checked(file, start, entry.packed, entry.crc, f"{file.path}: {entry.name}")
    if entry.method != DEFLATED:
        raise CheckpointError(
            f"entry {entry.name!r} has compression method {entry.method}, which vitconvert cannot "
            f"read. Save it uncompressed."
        )
    if entry.size > _MOST_INFLATED:
        raise CheckpointError(
            f"entry {entry.name!r} would be {entry.size} bytes unpacked; the limit is "
            f"{_MOST_INFLATED}. Save it uncompressed."
        )
    return _Inflated(Part(file, start, entry.packed), entry)


class _Inflated(Storage):
    """A compressed entry, unpacked once a read goes beyond its head; each thread caches its last.

    It counts the bytes it unpacks, so that an entry larger than stated cannot fill the memory.
    """

    _HEAD = 16 << 10  # bytes unpacked at once: enough for the header of a .npy

    def __init__(self, packed: Part, entry: Entry) -> None:
        self.packed = packed
        self.entry = entry
        self.size = entry.size
        self.head = self._unpack(self._HEAD)
        if self.size <= self._HEAD:
            self._check(self.head)

    def checked(self) -> Iterator[Storage]:
        """Give itself."""
        yield self

    def check(self) -> None:
        """Unpack all of it and compare it with its checksum."""
        self._whole()

    def _check(self, data: bytes) -> None:
        if len(data) != self.size or zlib.crc32(data) != self.entry.crc:
            raise CheckpointError(
                f"entry {self.entry.name!r} does not have the size or checksum it should."
            )

    def _whole(self) -> bytes:
        if self.size <= self._HEAD:
            return self.head
        if getattr(_unpacked, "of", None) is not self:
            whole = self._unpack(self.size)
            self._check(whole)
            _unpacked.of, _unpacked.data = self, whole
        data: bytes = _unpacked.data
        return data

    def _unpack(self, most: int) -> bytes:
        machine, found = zlib.decompressobj(-15), bytearray()
        try:
            for at in range(0, self.packed.size, CHUNK):
                data = self.packed.read(at, min(CHUNK, self.packed.size - at))
                found += machine.decompress(data, most + 1 - len(found))
                if machine.eof or len(found) > most:
                    break
        except zlib.error as error:
            raise CheckpointError(f"entry {self.entry.name!r} is damaged: {error}.") from error
        return bytes(found)

    def read_into(self, at: int, buffer: memoryview) -> None:
        """Fill a buffer."""
        data = self.head if at + len(buffer) <= self._HEAD else self._whole()
        found = data[at : at + len(buffer)]
        if len(found) < len(buffer):
            raise CheckpointError(f"entry {self.entry.name!r} is shorter than it should be.")
        buffer[:] = found


_unpacked = threading.local()


# -- writing

CRC_AT = 14  # where in a local header the checksum is

_VERSION, _VERSION64 = 20, 45  # of the format, needed to read an entry
_DATE = 0x21  # 1 January 1980, the earliest date of a zip, so that files are reproducible


def local_header(name: str, size: int, crc: int, at: int, alignment: int) -> bytes:
    """Encode the local header of an entry, padded so that its data is aligned.

    Args:
        name: The entry's name.
        size: Bytes of data, not compressed.
        crc: Checksum.
        at: Where the header begins.
        alignment: The data begins at a multiple of this many bytes.
    """
    wide = struct.pack("<2H2Q", _ZIP64, 16, size, size) if size >= _FULL else b""
    end = at + LOCAL.size + len(name.encode()) + len(wide) + 4
    fill = -end % alignment
    extra = wide + struct.pack("<2s H", b"FB", fill) + b"Z" * fill
    version, shown = (_VERSION64, _FULL) if wide else (_VERSION, size)
    return (
        LOCAL.pack(
            MAGIC, version, 0, STORED, 0, _DATE, crc, shown, shown, len(name.encode()), len(extra)
        )
        + name.encode()
        + extra
    )


def directory(entries: Iterable[Entry], start: int) -> bytes:
    """Encode the directory of a zip.

    Args:
        entries: In order.
        start: Where the directory begins.
    """
    lines = [_line(entry) for entry in entries]
    data, count = b"".join(lines), len(lines)
    end64 = b""
    if start + len(data) >= _FULL or count >= 0xFFFF:
        size = END64.size - 12
        end64 = END64.pack(
            b"PK\x06\x06", size, _VERSION64, _VERSION64, 0, 0, count, count, len(data), start
        ) + LOCATOR64.pack(b"PK\x06\x07", 0, start + len(data), 1)
        count, start = min(count, 0xFFFF), min(start, _FULL)
    return data + end64 + END.pack(b"PK\x05\x06", 0, 0, count, count, len(data), start, 0)


def _line(entry: Entry) -> bytes:
    numbers = (entry.size, entry.packed, entry.header)
    wide = [n for n in numbers if n >= _FULL]
    extra = struct.pack(f"<2H{len(wide)}Q", _ZIP64, 8 * len(wide), *wide) if wide else b""
    size, packed, header = (min(n, _FULL) for n in numbers)
    version, name = _VERSION64 if wide else _VERSION, entry.name.encode()
    facts = (version, version, 0, entry.method, 0, _DATE, entry.crc, packed, size)
    rest = (len(name), len(extra), 0, 0, 0, 0, header)
    return CENTRAL.pack(b"PK\x01\x02", *facts, *rest) + name + extra
