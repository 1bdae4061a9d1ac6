"""Files made to do harm, of every format, with what their refusal must say."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .handmade import (
    Entry,
    call,
    deflated,
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
    zipped,
)
from .hostile_pickles import BEYOND, CANARY, DEEP, GOOD, HUGE, INERT, MALFORMED, MILLION, TWO

# -- what pickles come in


def tree_of(tensor: bytes, *pairs: tuple[str, bytes]) -> bytes:
    return named(("w", tensor), *pairs)


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "zip": lambda tree: zipped(*torch_entries(tree, {"0": GOOD})),
    "legacy": lambda tree: torch_legacy(tree, {"0": (2, GOOD)} if b"FloatS" in tree else {}),
    "pdparams": pickled,
}
WEIGHTS = {
    "zip": plain_tensor("0", [2]),
    "legacy": plain_tensor("0", [2]),
    "pdparams": paddle_array(b"K\x02\x85", raw(GOOD)),
}

# -- zip files

ENTRIES = torch_entries(tree_of(WEIGHTS["zip"]), {"0": GOOD})
OUTSIDE = "an entry of the zip has the name"
NO_END = "the zip directory at the end of the file is missing"


def changed(name: str, **changes: Any) -> bytes:
    """Make a .pth of which one entry is not as it should be."""
    entries = [replace(e, **changes) if e.name == f"archive/{name}" else e for e in ENTRIES]
    return zipped(*entries)


def added(name: str | bytes, **changes: Any) -> bytes:
    """Make a .pth with one entry more."""
    return zipped(*ENTRIES, Entry(name, b"abc", **changes))


ZIPS = {
    "entries overlap": (changed("data/0", header=0), "overlap"),
    "entry behind the directory": (changed("data/0", header=10**6), "overlap|past its end"),
    "larger than the file": (changed("data/0", packed=10**9, size=10**9), "overlap|past its end"),
    "two of one name": (added("archive/data/0"), "two entries of the zip have the name"),
    "name that leaves": (added("archive/../x"), OUTSIDE),
    "absolute name": (added("/etc/passwd"), OUTSIDE),
    "backslash": (added("archive\\x"), OUTSIDE),
    "drive letter": (added("C:x"), OUTSIDE),
    "NUL": (added("archive/data/1\0x"), OUTSIDE),
    "newline": (added("archive/\nx"), OUTSIDE),
    "no name": (added(""), OUTSIDE),
    "name that is not UTF-8": (added(b"archive/\xff", flags=1 << 11), "directory is damaged"),
    "other name in its place": (changed("data/0", local_name=b"archive/data/1"), "another name"),
    "moved by its extra field": (changed("data/0", moved=4), "not where its directory says"),
    "sizes disagree": (changed("data/0", size=80), "archive/data/0"),
    "encrypted": (changed("data/0", flags=1), "encrypted"),
    "compressed": (zipped(*ENTRIES[:3], deflated("archive/data/0", GOOD)), "compressed"),
    "packed in an unknown way": (changed("data/0", method=14), "archive/data/0"),
    "damaged tensor": (changed("data/0", crc=7), "archive/data/0: damaged"),
    "damaged pickle": (changed("data.pkl", crc=7), "archive/data.pkl: damaged"),
    "byte order unknown": (changed("byteorder", data=b"middle"), "unknown byte order"),
    "two pickles": (added("other/data.pkl"), "found 2 among 5"),
    "no pickle": (zipped(*ENTRIES[1:]), "found 0 among 3"),
    "TorchScript": (added("archive/constants.pkl"), "TorchScript"),
    "no such record": (zipped(*ENTRIES[:3]), "'data/0' is missing from the file"),
    "directory of 2^63 bytes": (zipped(*ENTRIES, end64=(4, 2**63, 0)), "directory ends at"),
    "2^64 entries": (zipped(*ENTRIES, end64=(2**64 - 1, 100, 0)), "directory ends at"),
    "directory far away": (zipped(*ENTRIES, end64=(4, 100, 2**62)), "directory ends at"),
    "no end": (zipped(*ENTRIES, ended=False), NO_END),
    "end alone": (zipped(), "found 0 among 0"),
}

# -- NumPy


def header(shape: object = (2,), descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


NO_ARRAY = "are not read|holds no named tensors"
NPYS = {
    "objects": (npy(header(descr="'|O'"), pickled(INERT["os.system"])), NO_ARRAY),
    "structure": (npy(header(descr="[('a', '<f4')]"), GOOD), NO_ARRAY),
    "unknown byte order": (npy(header(descr="'Zf4'"), GOOD), NO_ARRAY),
    "call": (npy(f"__import__('os').mkdir({CANARY!r})", GOOD), "malformed .npy header"),
    "no literal": (npy("{'descr'", GOOD), "malformed .npy header"),
    "deep literal": (npy("-" * 9000 + "1", GOOD), "malformed .npy header"),
    "parentheses": (npy("(" * 9000, GOOD), "malformed .npy header"),
    "sum": (npy("1" + "+1j" * 3000, GOOD), "malformed .npy header"),
    "power": (npy(header("(9**9**9,)"), GOOD), "malformed .npy header"),
    "list": (npy("[1]", GOOD), "malformed .npy header"),
    "4 GB of header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + GOOD, "4294967295 bytes"),
    "2^60": (npy(header((2**60,)), GOOD), BEYOND),
    "2^31 thrice": (npy(header((2**31,) * 3), GOOD), BEYOND),
    "2^63 and 0": (npy(header((2**63, 0))), ""),
    "negative": (npy(header((-2,)), GOOD), "malformed .npy header"),
    "float": (npy(header((2.0,)), GOOD), "malformed .npy header"),
    "bool": (npy(header((True,)), GOOD), "malformed .npy header"),
    "100 axes": (npy(header((1,) * 100), GOOD), "axes|strides"),
    "too few bytes": (npy(header((3,)), GOOD), "needs 12 bytes"),
    "no array": (b"hello", "not a NumPy array"),
}

GOOD_NPY = npy(header(), GOOD)
ZEROS = npy(header((1 << 20,)), bytes(4 << 20))
NPZS = {
    "two of one name": (zipped(Entry("w.npy", GOOD_NPY), Entry("w", GOOD_NPY)), "'w'"),
    "2^32 bytes unpacked": (zipped(deflated("w.npy", ZEROS, 2**32 - 2)), "the limit is"),
    "more than it says": (zipped(deflated("w.npy", ZEROS, 80)), "w.npy|needs"),
    "less than it says": (zipped(deflated("w.npy", GOOD_NPY, 8000)), "w.npy"),
    "damaged": (zipped(Entry("w.npy", GOOD_NPY, method=8)), "w.npy"),
    "other checksum": (zipped(replace(deflated("w.npy", GOOD_NPY), crc=7)), "w.npy"),
    "bombs": (zipped(*[deflated(f"{i}.npy", ZEROS) for i in range(100)]), None),
}

# -- safetensors


def entry(shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


BAD = "malformed safetensors header"
TWICE = b'{"w": %s, "w": %s}' % ((json.dumps(entry()).encode(),) * 2)
SAFETENSORS = {
    "header of 100 MB": (safetensors({"w": entry()}, GOOD, 10**8), "100000000 bytes"),
    "header of 2^31": (safetensors({"w": entry()}, GOOD, 2**31), "2147483648 bytes"),
    "header of 2^63": (safetensors({"w": entry()}, GOOD, 2**63), "not a checkpoint"),
    "header longer than the file": (safetensors({"w": entry()}, GOOD, 500), "cut short"),
    "overlap": (safetensors({"w": entry(), "v": entry()}, GOOD), "overlaps"),
    "gap": (safetensors({"w": entry(offsets=(4, 12))}, bytes(12)), "gap"),
    "bytes behind": (safetensors({"w": entry()}, bytes(12)), "end at byte 8"),
    "past the end": (safetensors({"w": entry((3,), (0, 12))}, GOOD), "bytes 0 to 12 of 8"),
    "end before begin": (safetensors({"w": entry(offsets=(8, 0))}, GOOD), "bytes 8 to 0"),
    "2^63": (safetensors({"w": entry(offsets=(2**63, 2**63 + 8))}, GOOD), "of 8"),
    "negative offset": (safetensors({"w": entry(offsets=(-8, 0))}, GOOD), "bytes -8"),
    "float offset": (safetensors({"w": entry(offsets=(0.0, 8.0))}, GOOD), "0.0 to 8.0"),
    "NaN": (safetensors({"w": entry(offsets=(float("nan"), 8))}, GOOD), "nan to 8"),
    "long offset": (safetensors({"w": entry(offsets=(0, [0] * 10**5))}, GOOD), "bytes 0"),
    "one offset": (safetensors({"w": entry(offsets=(0,))}, GOOD), BAD),
    "shape of 2^60": (safetensors({"w": entry((2**60,))}, GOOD), BEYOND),
    "2^63 and 0": (safetensors({"w": entry((2**63, 0), (0, 0))}), ""),
    "negative shape": (safetensors({"w": entry((-2,))}, GOOD), BAD),
    "a million axes": (safetensors({"w": entry((1,) * 10**6, (0, 4))}, bytes(4)), "axes|strides"),
    "unknown dtype": (safetensors({"w": entry(dtype="F99")}, GOOD), "'F99' is not supported"),
    "long dtype": (safetensors({"w": entry(dtype="F" * 10**5)}, GOOD), "is not supported"),
    "name twice": (safetensors(TWICE, GOOD), "occurs twice"),
    "deep JSON": (safetensors(b'{"a":' * 10**5), BAD),
    "deep lists": (safetensors(b'{"a":' + b"[" * 10**5), BAD),
    "number of 5,000 digits": (safetensors(b'{"a":' + b"9" * 5000 + b"}"), BAD),
    "UTF-16": (safetensors(json.dumps({"w": entry()}).encode("utf-16-le"), GOOD), BAD),
    "metadata is a list": (safetensors({"__metadata__": [], "w": entry()}, GOOD), BAD),
    "metadata of numbers": (safetensors({"__metadata__": {"a": 1}, "w": entry()}, GOOD), BAD),
    "half a character": (safetensors({"w": entry(), "\ud800": entry((0,), (8, 8))}, GOOD), ""),
    "prefix without end": (safetensors({"module." * 10**6 + "w": entry()}, GOOD), ""),
}

# -- sharded

BESIDE = "expected the name of a file beside the index"
WEIGHT_MAPS = {
    "folder above": ({"w": "../x.safetensors"}, BESIDE),
    "absolute": ({"w": "/etc/passwd"}, BESIDE),
    "folder below": ({"w": "sub/x.safetensors"}, BESIDE),
    "empty name": ({"w": ""}, BESIDE),
    "this folder": ({"w": "."}, BESIDE),
    "that above": ({"w": ".."}, BESIDE),
    "NUL": ({"w": "a\0b"}, "places"),
    "half a character": ({"w": "\ud800"}, "places|cannot be read"),
    "number": ({"w": 3}, BESIDE),
    "long list": ({"w": [0] * 10**5}, BESIDE),
    "missing": ({"w": "none.safetensors"}, "No such file"),
    "itself": ({"w": "x.index.json"}, "not a checkpoint"),
    "tensor elsewhere": ({"w": "0.bin", "v": "0.bin"}, "v in 0.bin"),
    "tensor in two files": ({"w": "0.bin", "v": "1.bin"}, "w of 1.bin"),
    "no dict": (["w"], "weight_map"),
    "nothing": ({}, "holds no named tensors"),
    "deep": (None, "weight_map"),
}

# -- Paddle


def split(slices: bytes, shape: bytes) -> bytes:
    """Push weights that are said to have been split."""
    info = named(("slices", slices), ("OriginShape", shape))
    pair = ("UnpackBigParamInfor@@", named(("v", info)))
    return tree_of(WEIGHTS["pdparams"], pair)


def spelled(data: bytes, size: int = 5000, encoding: str = "latin1") -> bytes:
    """Push weights whose bytes protocol 2 spells as text."""
    data = call("_codecs.encode", text(data), text(encoding))
    return tree_of(paddle_array(row(number(size)), data, "u1"))


UNFIT = "split tensors do not fit together"
PDPARAMS = {
    "slice that is missing": (split(several(text("x")), TWO), UNFIT),
    "slice twice": (split(several(*[text("w")] * 2), row(number(4))), UNFIT),
    "slice too deep to hash": (split(several(DEEP), TWO), UNFIT),
    "slices that are a number": (split(b"K\x01", TWO), UNFIT),
    "no slices": (split(b"]", TWO), UNFIT),
    "other shape": (split(several(text("w")), row(number(3))), UNFIT + "|needs 12"),
    "shape of 2^60": (split(several(text("w")), row(HUGE)), BEYOND + "|" + UNFIT),
    "negative shape": (split(several(text("w")), row(number(-2))), UNFIT),
    "array of 2^60": (tree_of(paddle_array(row(HUGE), raw(GOOD))), "found 8"),
    "array of 2^63 and 0": (tree_of(paddle_array(row(number(2**63), b"K\x00"), raw(b""))), ""),
    "array of -1 and -2": (
        tree_of(paddle_array(row(number(-1), number(-2)), raw(GOOD))),
        MALFORMED,
    ),
    "array of 3": (tree_of(paddle_array(row(b"K\x03"), raw(GOOD))), "needs 12 bytes, found 8"),
    "array of a million axes": (tree_of(paddle_array(MILLION, raw(bytes(4)))), "axes"),
    "array of nothing": (tree_of(paddle_array(TWO, b"N")), MALFORMED),
    "dtype too deep": (tree_of(call("numpy.dtype", DEEP)), MALFORMED),
    "text that is not Latin-1": (spelled("ā".encode() * 5000), "not Latin-1"),
    "text that is not UTF-8": (spelled(b"\xff" * 5000), "stored as text|not Latin-1"),
    "text that begins in a character": (spelled(b"\x80" + b"a" * 5000), "text"),
    "text that ends in a character": (spelled(b"a" * 4999 + b"\xc3"), "text"),
    "text of another length": (spelled(b"a" * 4999), "has 4999 bytes, not 5000"),
    "short text that is not Latin-1": (spelled("ā".encode() * 50, 50), MALFORMED),
    "other encoding": (spelled(b"a" * 5000, encoding="zlib"), MALFORMED),
}
