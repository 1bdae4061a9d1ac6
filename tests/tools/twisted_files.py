"""Files that two readers may understand differently, each with what must become of it.

Name -> content, and a part of the message with which it must be refused; None if it must be read.
Where a file is read, another program must give the same of it, or refuse it.
"""

import struct
from dataclasses import replace

from .handmade import (
    Entry,
    named,
    npy,
    number,
    paddle_array,
    pickled,
    plain_tensor,
    raw,
    row,
    safetensors,
    several,
    text,
    torch_entries,
    torch_legacy,
    torch_tensor,
    zipped,
)

Twisted = dict[str, tuple[bytes, str | None]]

ONE, OTHER = struct.pack("<2f", 1, 2), struct.pack("<2f", 3, 4)
TREE = named(("w", plain_tensor("0", [2])))


def legacy(tree: bytes, count: int = 2) -> bytes:
    """Make a file of the older form, which says None more of a storage."""
    tree = tree.replace(number(2) + b"tQ", number(2) + b"NtQ")
    return torch_legacy(tree, {"0": (count, ONE + OTHER if count == 4 else ONE)})


# -- zip files: one holds `ONE`, or `OTHER` to those who look elsewhere

ENTRIES, OTHERS = torch_entries(TREE, {"0": ONE}), torch_entries(TREE, {"0": OTHER})
NPYS = {
    name: npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", data)
    for name, data in (("one", ONE), ("other", OTHER))
}
END, LOCATOR = 22, 20


def parts(content: bytes) -> tuple[bytes, bytes, tuple[int, int, int]]:
    """Give entries, directory, and the number of entries, bytes and begin of the directory."""
    count, size, start = struct.unpack("<HII", content[-12:-2])
    return content[:start], content[start : start + size], (count, size, start)


def end_of(facts: tuple[int, int, int], comment: bytes = b"") -> bytes:
    count, size, start = facts
    head = struct.pack("<4s4H2I", b"PK\5\6", 0, 0, count, count, size, start)
    return head + struct.pack("<H", len(comment)) + comment


def end64_of(facts: tuple[int, int, int], at: int, gap: bytes = b"") -> bytes:
    count, size, start = facts
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    return record + gap + struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)


def two_directories() -> tuple[bytes, tuple[int, int, int], tuple[int, int, int]]:
    """Make entries and the directories of two files in one; give it without an end."""
    body, lines, (count, size, _start) = parts(zipped(*ENTRIES))
    more, other, _ = parts(zipped(*OTHERS))
    moved = [replace(entry, header=at) for entry, at in zip(OTHERS, places(more), strict=True)]
    shifted = [replace(entry, header=len(body) + (entry.header or 0)) for entry in moved]
    other = parts(zipped(*shifted))[1]
    whole = body + more + lines + other
    first = (count, size, len(body + more))
    return whole, first, (count, len(other), first[2] + size)


def places(body: bytes) -> list[int]:
    found = [at for at in range(len(body)) if body.startswith(b"PK\3\4", at)]
    assert len(found) == len(OTHERS)
    return found


BOTH, FIRST, SECOND = two_directories()
PLAIN = zipped(*ENTRIES)
BODY, LINES, FACTS = parts(PLAIN)
WHOLE = BODY + LINES


def counted(content: bytes, count: int) -> bytes:
    return content[:-14] + struct.pack("<2H", count, count) + content[-10:]


def with_extra(field: int, data: bytes) -> bytes:
    """Give the first entry an extra field in the directory."""
    extra = struct.pack("<2H", field, len(data)) + data
    name = len(ENTRIES[0].name)
    line = LINES[:30] + struct.pack("<H", len(extra)) + LINES[32 : 46 + name] + extra
    lines = line + LINES[46 + name :]
    return BODY + lines + end_of((FACTS[0], len(lines), FACTS[2]))


def local(content: bytes, at: int, field: bytes) -> bytes:
    """Change the header of the last entry, that of the tensor."""
    begin = content.rindex(b"PK\3\4") + at
    return content[:begin] + field + content[begin + len(field) :]


def streamed() -> bytes:
    """Make a zip whose sizes come after the data, as one writes it into a pipe."""
    entry = replace(ENTRIES[3], flags=8)
    content = zipped(*ENTRIES[:3], entry)
    body, lines, (count, _, _) = parts(local(content, 14, bytes(12)))
    body += struct.pack("<4s3I", b"PK\7\x08", *struct.unpack("<3I", lines[-30 - 14 - 14 :][:12]))
    return body + lines + end_of((count, len(lines), len(body)))


def renamed(index: int, name: str) -> bytes:
    entries = list(ENTRIES)
    entries[index] = replace(entries[index], name=name)
    return zipped(*entries)


CONTRADICT, MORE = "contradict each other", "holds more than"
TORCH_ZIPS: Twisted = {
    "plain": (PLAIN, None),
    "second end record of another directory": (
        BOTH + end64_of(SECOND, len(BOTH)) + end_of(FIRST),
        CONTRADICT,
    ),
    "second end record of the same": (WHOLE + end64_of(FACTS, len(WHOLE)) + end_of(FACTS), None),
    "second end record alone": (
        WHOLE + end64_of(FACTS, len(WHOLE)) + end_of((0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)),
        None,
    ),
    "second end record elsewhere": (
        WHOLE + end64_of(FACTS, len(WHOLE), bytes(8)) + end_of(FACTS),
        "directory at the end",
    ),
    "numbers left to a second end record": (WHOLE + end_of((4, 0xFFFFFFFF, 0)), "at the end"),
    "comment": (WHOLE + end_of(FACTS, b"by hand"), None),
    "end record in the comment": (BOTH + end_of(FIRST, end_of(SECOND)), "ends at byte"),
    "comment longer than the file": (PLAIN[:-2] + b"\5\0", "does not end where"),
    "bytes behind the end": (PLAIN + b"\0", "does not end where"),
    "bytes before it": (ENTRIES[0].data + PLAIN, "not a checkpoint|ends at byte|damaged"),
    "zip before it": (zipped(*OTHERS) + PLAIN, "ends at byte"),
    "bytes before its end": (WHOLE + bytes(4) + end_of(FACTS), "ends at byte"),
    "fewer counted": (counted(PLAIN, 3), MORE),
    "more counted": (counted(PLAIN, 5), "damaged"),
    "counts that disagree": (PLAIN[:-14] + b"\3\0" + PLAIN[-12:], "miscounts"),
    "of several disks": (PLAIN[:-18] + b"\1\0" + PLAIN[-16:], "several"),
    "same names but for case": (
        zipped(*ENTRIES, Entry("archive/DATA/0", OTHER)),
        "another one to PyTorch",
    ),
    "byte order in capitals": (renamed(1, "archive/BYTEORDER"), "another one to PyTorch"),
    "pickle in capitals": (renamed(0, "archive/Data.pkl"), "not a checkpoint but a zip"),
    "first entry elsewhere": (zipped(Entry("x/readme", b""), *ENTRIES), "first entry"),
    "folder within a folder": (
        zipped(*[replace(e, name=f"a/{e.name!s}") for e in ENTRIES]),
        "first entry",
    ),
    "other compression in its header": (local(PLAIN, 8, b"\x08\0"), "in its header"),
    "other size in its header": (local(PLAIN, 22, b"\4\0\0\0"), "in its header"),
    "sizes behind the data": (streamed(), None),
    "second name": (with_extra(0x7075, b"\1\0\0\0\0x"), "two names"),
    "extra field too long": (with_extra(1, b"")[:-2] + b"\0\0", None),
    "big-endian": (zipped(ENTRIES[0], replace(ENTRIES[1], data=b"big"), *ENTRIES[2:]), None),
    "version elsewhere": (renamed(2, "archive/.data/version"), None),
}


def npz(*entries: Entry) -> bytes:
    return zipped(*entries)


TWO = npz(Entry("a.npy", NPYS["one"]), Entry("b.npy", NPYS["other"]))
NPZS: Twisted = {
    "plain": (TWO, None),
    "fewer counted": (counted(TWO, 1), MORE),
    "no entry counted": (counted(TWO, 0), MORE),
    "with and without .npy": (
        npz(Entry("a.npy", NPYS["one"]), Entry("a", NPYS["other"])),
        "with or without .npy",
    ),
    "one name twice": (npz(Entry("a.npy", NPYS["one"]), Entry("a.npy", NPYS["other"])), "two entr"),
    "names that differ in case": (
        npz(Entry("a.npy", NPYS["one"]), Entry("A.npy", NPYS["other"])),
        None,
    ),
    "name in the old encoding": (npz(Entry(b"\x81.npy", NPYS["one"])), None),
    "name in UTF-8, not said": (npz(Entry("é.npy", NPYS["one"])), None),
    "name in UTF-8": (npz(Entry("é.npy", NPYS["one"], flags=1 << 11)), None),
    "array before it": (NPYS["other"] + TWO, "no named tensors"),
    "bytes behind the array": (npz(Entry("a.npy", NPYS["one"] + OTHER)), None),
}

# -- pickles


def short(data: bytes) -> bytes:
    """Push a string of Python 2."""
    return b"U" + bytes([len(data)]) + data


def tensors(*names: bytes) -> bytes:
    return b"}(" + b"".join(name + plain_tensor("0", [2]) for name in names) + b"u"


def part_of(key: str, first: int) -> bytes:
    """Push a tensor in a part of storage 0."""
    more = row(text(key), number(first), number(2))
    return torch_tensor("0", row(number(2)), row(number(1)), number(4), more=more)


TORCH_PICKLES: Twisted = {
    "names of Python 2": (tensors(short(b"w"), short("wé".encode())), None),
    "a name twice": (
        named(("w", plain_tensor("0", [2])), ("w", plain_tensor("0", [1, 2]))),
        None,
    ),
    "names with quotes": (tensors(b"S'a\\x62'\n", b'S"it\'s"\n'), None),
    "names behind marks": (b"(1" + TREE, None),
    "two values": (TREE + b".\x80\x02" + tensors(text("v")), None),
    "replaced in the memo": (
        text("a") + b"q\x01" + text("b") + b"q\x01" + tensors(b"h\x01"),
        None,
    ),
}
REFUSED_BY_TORCH = ("names with quotes", "names behind marks")
LEGACY: Twisted = {
    "parts": (
        legacy(named(("a", part_of("7", 0)), ("b", part_of("8", 2))), 4),
        None,
    ),
    "one part in two places": (
        legacy(named(("a", part_of("7", 0)), ("b", part_of("7", 2))), 4),
        "two places",
    ),
    "part with the name of the whole": (
        legacy(named(("a", part_of("0", 2))), 4),
        "two places",
    ),
}


def paddle(data: bytes) -> bytes:
    return paddle_array(row(number(len(data) // 4)), raw(data))


SLICES = row(number(2))
SPLIT = named(
    ("w@0", paddle(ONE)),
    (
        "UnpackBigParamInfor@@",
        named(
            (
                "w",
                named(("slices", several(text("w@0"))), ("OriginShape", row(number(1), number(2)))),
            )
        ),
    ),
)
PDPARAMS: Twisted = {
    "two values": (pickled(named(("w", paddle(ONE)))) + pickled(named(("w", paddle(OTHER)))), None),
    "bytes behind it": (pickled(named(("w", paddle(ONE)))) + b"PK\3\4", None),
    "names of Python 2": (pickled(b"}(" + short(b"w\xe9") + paddle(ONE) + b"u"), None),
    "names with quotes": (pickled(b"}(S'a\\x62'\n" + paddle(ONE) + b"u"), None),
    "name without quotes": (pickled(b"}(Sab\n" + paddle(ONE) + b"u"), "malformed"),
    "a name twice": (pickled(named(("w", paddle(ONE)), ("w", paddle(OTHER)))), None),
    "split": (pickled(SPLIT), None),
    "split table that is the dict": (
        pickled(b"}q\x05(" + text("w") + paddle(ONE) + text("UnpackBigParamInfor@@") + b"h\x05u"),
        "do not fit together",
    ),
}

# -- safetensors

FIRST_HALF = b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
SECOND_HALF = b'{"dtype":"F32","shape":[2],"data_offsets":[8,16]}'
SAFETENSORS: Twisted = {
    "plain": (
        safetensors(b'{"a":' + FIRST_HALF + b',"b":' + SECOND_HALF + b"}  ", ONE + OTHER),
        None,
    ),
    "a name twice": (
        safetensors(b'{"a":' + FIRST_HALF + b',"a":' + SECOND_HALF + b"}", ONE + OTHER),
        "a name occurs twice",
    ),
    "a name twice, escaped": (
        safetensors(b'{"a":' + FIRST_HALF + b',"\\u0061":' + SECOND_HALF + b"}", ONE + OTHER),
        "a name occurs twice",
    ),
    "a field twice": (
        safetensors(b'{"a":' + FIRST_HALF[:-1] + b',"shape":[1,2]}}', ONE),
        "a name occurs twice",
    ),
    "bytes behind it": (safetensors(b'{"a":' + FIRST_HALF + b"}", ONE + OTHER), "file at"),
    "two headers": (safetensors(b'{"a":' + FIRST_HALF + b"}{}", ONE), "malformed"),
    "deep header": (safetensors(b'{"a":' + b"[" * 200_000, b""), "malformed"),
}
