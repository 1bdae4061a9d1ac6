"""Pickles made to do harm, as instructions, with what their refusal must say."""

import struct

from .handmade import (
    call,
    name_of,
    named,
    number,
    raw,
    row,
    several,
    text,
)

CANARY = "canary"  # what the payloads would make, in the folder where they are read

MALFORMED = "malformed or cut-off pickle"
BEYOND = "the limit is|larger than any memory"

SHELL = text(f"touch {CANARY}")
CODE = text(f"__import__('os').mkdir({CANARY!r})")
DEEP = b")" + b"\x85" * 200_000  # tuples in each other
LONG = number(7 << 30_000)
IMPORT = call("builtins.__import__", text("os"))


def nested(empty: bytes, put: bytes, key: bytes = b"") -> bytes:
    """Push a container of which each holds the one before thirty times: 30^50 in all."""
    built = empty + b"q\x64"
    for level in range(101, 150):
        items = b"".join(key + bytes([i]) * len(key) + b"h" + bytes([level - 1]) for i in range(30))
        built += b"0" + empty + b"q" + bytes([level]) + b"(" + items + put
    return built


# Instructions that push one value beside good weights; the weights are read.
INERT = {
    "os.system": call("os.system", SHELL),
    "posix.system": call("posix.system", SHELL),
    "exec": call("builtins.exec", CODE),
    "eval": call("builtins.eval", CODE),
    "eval with names": call("builtins.eval", CODE, b"}"),
    "eval of data that is not an array": call("builtins.eval", text("data"), named(("data", CODE))),
    "exec of Python 2": call("__builtin__.exec", CODE),
    "subprocess": call("subprocess.Popen", several(text("touch"), text(CANARY))),
    "getattr chain": call("builtins.getattr", IMPORT, text("system")) + row(SHELL) + b"R",
    "getattr of eval": call("builtins.getattr", name_of("builtins.eval"), text("__call__")),
    "dotted name": call("os.path.os.system", SHELL),
    "result called": call("builtins.eval", CODE) + row(CODE) + b"R",
    "state of a result": call("os.system", SHELL) + named(("a", CODE)) + b"b",
    "items of a result": call("os.system", SHELL) + b"(" + SHELL + SHELL + b"u",
    "elements of a result": call("os.system", SHELL) + b"(" + SHELL + b"e",
    "INST": b"(" + SHELL + b"ios\nsystem\n",
    "OBJ": b"(" + name_of("os.system") + SHELL + b"o",
    "NEWOBJ": name_of("os.system") + row(SHELL) + b"\x81",
    "NEWOBJ_EX": name_of("os.system") + row(SHELL) + b"}\x92",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93" + row(SHELL) + b"R",
    "EXT1": b"\x82\x01" + row(SHELL) + b"R",
    "EXT2": b"\x83\x01\x01" + row(SHELL) + b"R",
    "EXT4": b"\x84\x01\x01\x01\x01" + row(SHELL) + b"R",
    "number called": b"K\x01" + row(SHELL) + b"R",
    "called with a list": name_of("os.system") + several(SHELL) + b"R",
    "name with a terminal's commands": text("\x1b[2J") + text("\n") + b"\x93)R",
    "huge memo index": b"K\x01r\xff\xff\xff\xff",
    "dict in itself": b"}q\xc8" + text("a") + b"h\xc8s",
    "list in itself": b"]q\xc8h\xc8a",
    "deep tuples": DEEP,
    "deep lists": b"]" * 100_000 + b"a" * 99_999,
    "deep dicts": (b"}" + text("a")) * 99_999 + b"}" + b"s" * 99_999,
    "deep key": b"}" + DEEP + b"K\x01s",
    "long integer": LONG,
    "long integer as a key": b"}" + LONG + b"K\x01s",
    "lists in lists": nested(b"]", b"e"),
    "dicts in dicts": nested(b"}", b"u", b"K"),
}

_ONE_CALL = b"h\x64h\x65R"  # of what `copying` put into the memo


def copying(function: str, *args: bytes) -> bytes:
    """Call a function three thousand times with the same large argument."""
    return name_of(function) + b"q\x64" + row(*args) + b"q\x65" + several(_ONE_CALL * 3_000)


# Instructions that make the whole file unreadable.
REFUSED = {
    "memo entry that is not there": (b"h\xc8", MALFORMED),
    "persistent id that is a call": (call("os.system", SHELL) + b"Q", MALFORMED),
    "persistent id that is a text": (b"Pos.system\n", MALFORMED),
    "buffer out of band": (b"\x97", MALFORMED),
    "buffer out of band, read-only": (raw(b"a") + b"\x98", MALFORMED),
    "integer of 2 GB": (b"\x8b\xff\xff\xff\x7f", MALFORMED),
    "integer of -1 bytes": (b"\x8b\xff\xff\xff\xff", MALFORMED),
    "integer of 5,000 digits": (b"I" + b"9" * 4500 + b"\n", MALFORMED),
    "text of 2^63 bytes": (b"\x8d" + bytes(7) + b"\x80", MALFORMED),
    "bytes of 2^63": (b"\x8e" + bytes(7) + b"\x80", MALFORMED),
    "array of bytes of 2^63": (b"\x96" + bytes(7) + b"\x80", MALFORMED),
    "text that is not UTF-8": (text(b"\xff"), MALFORMED),
    "items of a number": (b"K\x01(K\x01K\x02u", MALFORMED),
    "no such instruction": (b"\xff", MALFORMED),
}
COPIES = {
    "dict copied": copying(
        "collections.OrderedDict",
        several(b"".join(b"M" + struct.pack("<H", i) + b"N\x86" for i in range(10_000))),
    ),
    "tuple copied": copying("builtins.tuple", several(b"N" * 50_000)),
    "text copied": copying("_codecs.encode", text("a" * 4096), text("latin1")),
}

# -- what torch.save says of tensors

TWO, ONE, HUGE = row(number(2)), row(number(1)), number(2**60)
MANY, MILLION = row(*[number(1)] * 100), row(b"K\x01" * 10**6)
# Shape, strides, number of elements, offset, as instructions; the storage has two elements.
TENSORS = {
    "2^60": (row(HUGE), ONE, HUGE, "expected|should have|digits"),
    "2^60 of a storage of two": (row(HUGE), ONE, number(2), BEYOND),
    "2^31 thrice": (row(*[number(2**31)] * 3), row(*[number(1)] * 3), number(2), BEYOND),
    "2^60 expanded": (row(HUGE), row(number(0)), number(2), BEYOND),
    "2^63 and 0": (row(number(2**63), b"K\x00"), row(b"K\x01", b"K\x01"), number(2), ""),
    "2^70": (row(number(2**70)), ONE, number(2), BEYOND),
    "integer too long to print": (row(LONG), ONE, number(2), ""),
    "negative": (row(number(-2)), ONE, number(2), MALFORMED),
    "two negatives": (row(number(-1), number(-2)), row(b"K\x01", b"K\x01"), number(2), MALFORMED),
    "float": (row(b"G" + struct.pack(">d", 2)), ONE, number(2), MALFORMED),
    "bool": (row(b"\x88"), ONE, number(2), MALFORMED),
    "text": (row(text("2")), ONE, number(2), MALFORMED),
    "shape that is a number": (number(2), ONE, number(2), MALFORMED),
    "100 axes": (MANY, MANY, number(2), "axes|strides|" + MALFORMED),
    "a million axes": (MILLION, MILLION, number(2), "axes|strides|instructions"),
    "axes multiplied": (row(LONG + b"q\xc8" + b"h\xc8" * 10**5), ONE, number(2), ""),
    "more strides than axes": (TWO, row(number(1), number(1)), number(2), "strides"),
    "negative stride": (TWO, row(number(-1)), number(2), MALFORMED),
    "stride outside": (TWO, row(number(2)), number(2), "needs 12 bytes of a storage of 8"),
    "stride of 2^62": (TWO, row(number(2**62)), number(2), "of a storage of 8|" + BEYOND),
    "storage of -1": (TWO, ONE, number(-1), MALFORMED),
    "storage of 2.0": (TWO, ONE, b"G" + struct.pack(">d", 2), MALFORMED),
}

# -- what is only in the older form of torch.save: its arguments in `handmade`

GOOD = struct.pack("<2f", 1, 2)

LEGACY = {
    "version of deep tuples": ({"version": DEEP}, "version"),
    "version too long to print": ({"version": LONG}, "version"),
    "keys that are deep tuples": ({"keys": several(DEEP)}, "list of storages"),
    "keys too long to print": ({"keys": several(LONG)}, "list of storages"),
    "key that is a number": ({"keys": several(b"K\x00")}, "list of storages"),
    "keys that are no list": ({"keys": b"N"}, "list of storages"),
    "key of no storage": ({"keys": several(text("0"), text("1"))}, "list of storages"),
    "key twice": ({"keys": several(text("0"), text("0"))}, "list of storages"),
    "more elements than bytes": ({"storages": {"0": (4, GOOD)}}, "storage 0"),
    "2^63 elements": ({"storages": {"0": (2**63, GOOD)}}, "storage 0"),
    "cut off": ({"storages": {"0": (2, GOOD[:7])}}, "past the end"),
}
