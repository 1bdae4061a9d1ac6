"""Files made to do harm: refused in a clear sentence, or what is harmful in them left inert.

Nothing in them is executed, no file is written, no memory is filled. Each is opened in a process of
its own: see tools/open_apart.py. What the files of a table are refused with stands beside them.
"""

import io
import json
import re
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.handmade import (
    Entry,
    call,
    deflated,
    name_of,
    named,
    npy,
    npz,
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

Open = Callable[[Path], dict[str, Any]]

MOST_MEMORY = 64  # megabytes that opening and reading a small file may take

GOOD = struct.pack("<2f", 1, 2)
MALFORMED = "malformed or cut-off pickle"
CANARY = "canary"  # what the payloads would make, in the folder where the files are opened


@pytest.fixture(scope="module")
def open_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Open and read a checkpoint in another process, which tells what came of it."""
    tool = Path(__file__).resolve().parent / "tools" / "open_apart.py"
    folder = tmp_path_factory.mktemp("empty")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, tool], text=True, cwd=folder, **pipes) as process:

        def ask(path: Path) -> dict[str, Any]:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            return answer | {"made": [made.name for made in folder.iterdir()]}

        yield ask
        process.stdin.close()


def check(answer: dict[str, Any], path: Path, message: str | None = None) -> None:
    """Check that a file was refused with a message, or read if there is none; and did no harm."""
    assert not {"raised", "killed"} & answer.keys(), answer
    assert (answer["events"], answer["made"]) == ([], [])
    assert answer["megabytes"] < MOST_MEMORY
    if message is None:
        assert answer.get("values") == {"w": [1, 2]}, answer
        assert all(note.isprintable() and len(note) < 1000 for note in answer["notes"])
    else:
        assert re.search(message, answer.get("refused", "(it was read)")), answer
        assert str(path) in answer["refused"]
        assert answer["refused"].isprintable()
        assert len(answer["refused"]) < 1000


def check_file(open_apart: Open, path: Path, content: bytes, message: str | None = None) -> None:
    """Write a file, open it, check."""
    path.write_bytes(content)
    check(open_apart(path), path, message)


# -- pickles, in each of the formats that are made of them


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

SHELL = text(f"touch {CANARY}")
CODE = text(f"__import__('os').mkdir({CANARY!r})")
DEEP = b")" + b"\x85" * 1_000_000  # tuples in each other
LONG = number(7 << 30_000)
IMPORT = call("builtins.__import__", text("os"))


def nested(empty: bytes, put: bytes, key: bytes = b"") -> bytes:
    """Push containers of which each holds the one before thirty times: 30^50 in all."""
    built = empty + b"q\x64"
    for level in range(101, 150):
        items = b"".join(key + bytes([i]) * len(key) + b"h" + bytes([level - 1]) for i in range(30))
        built += empty + b"q" + bytes([level]) + b"(" + items + put
    return built


# Instructions that push one value beside good weights; the weights are read.
INERT = {
    "os.system": call("os.system", SHELL),
    "posix.system": call("posix.system", SHELL),
    "exec": call("builtins.exec", CODE),
    "eval": call("builtins.eval", CODE),
    "eval with names": call("builtins.eval", CODE, b"}"),
    "eval of data that is no array": call("builtins.eval", text("data"), named(("data", CODE))),
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


@pytest.mark.parametrize("name", INERT)
@pytest.mark.parametrize("container", CONTAINERS)
def test_what_lies_beside_the_weights_is_inert(
    container: str, name: str, open_apart: Open, tmp_path: Path
) -> None:
    """The weights are read, and nothing else happens."""
    tree = tree_of(WEIGHTS[container], ("bad", INERT[name]))

    check_file(open_apart, tmp_path / "x.bin", CONTAINERS[container](tree))


@pytest.mark.parametrize("name", INERT)
def test_nothing_else_is_taken_for_weights(name: str, open_apart: Open, tmp_path: Path) -> None:
    """A file of it alone holds none."""
    message = "holds no named tensors"
    check_file(open_apart, tmp_path / "x.bin", pickled(INERT[name]), message)
    check_file(open_apart, tmp_path / "y.bin", CONTAINERS["legacy"](INERT[name]), message)


def test_keys_of_any_kind_are_inert(open_apart: Open, tmp_path: Path) -> None:
    """Integers too long to print, tuples too deep to hash, names no terminal should see."""
    keys = [
        LONG,
        DEEP,
        text("\x1b[2J"),
        text("\ud800".encode("utf-8", "surrogatepass")),
        b"N",
        b"]",
    ]
    tree = WEIGHTS["pdparams"].join(
        [b"}(" + text("w"), b"".join(k + b"K\x01" for k in keys) + b"u"]
    )

    check_file(open_apart, tmp_path / "x.bin", pickled(tree))


ONE_CALL = b"h\x64h\x65R"  # of what `copying` put into the memo


def copying(function: str, *args: bytes) -> bytes:
    """Call a function ten thousand times with the same large argument."""
    return name_of(function) + b"q\x64" + row(*args) + b"q\x65" + several(ONE_CALL * 10_000)


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
    "text that is no UTF-8": (text(b"\xff"), MALFORMED),
    "items of a number": (b"K\x01(K\x01K\x02u", MALFORMED),
    "no such instruction": (b"\xff", MALFORMED),
    "dict copied": (copying("collections.OrderedDict", several(b"NN\x86" * 9_999)), ""),
}
COPIES = {
    "tuple copied": copying("builtins.tuple", several(b"N" * 50_000)),
    "text copied": copying("_codecs.encode", text("a" * 4096), text("latin1")),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("container", CONTAINERS)
def test_pickles_that_no_one_wrote_are_refused(
    container: str, name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Malformed, or a bomb."""
    value, message = REFUSED[name]
    tree = tree_of(WEIGHTS[container], ("bad", value))

    check_file(open_apart, tmp_path / "x.bin", CONTAINERS[container](tree), message)


@pytest.mark.parametrize("name", COPIES)
def test_arguments_are_not_copied_without_end(name: str, open_apart: Open, tmp_path: Path) -> None:
    """Three bytes that copy thousands, ten thousand times: read or refused, in little memory."""
    path = tmp_path / "x.bin"
    path.write_bytes(pickled(tree_of(WEIGHTS["pdparams"], ("bad", COPIES[name]))))
    answer = open_apart(path)

    check(answer, path, "" if "refused" in answer else None)


@pytest.mark.slow
@pytest.mark.parametrize("instructions", [b"N0", b"]", b"}", b"\x82\x01"])
def test_pickles_of_millions_of_instructions_are_refused(
    instructions: bytes, open_apart: Open, tmp_path: Path
) -> None:
    """In bounded time and memory, whatever they make."""
    path = tmp_path / "x.bin"
    path.write_bytes(pickled(instructions * 25_000_000))
    answer = open_apart(path)

    assert answer.pop("megabytes") < 512
    check(answer | {"megabytes": 0}, path, "instructions")


# -- what is said of tensors

TWO, ONE, HUGE = row(number(2)), row(number(1)), number(2**60)
F4 = 4

# Shape, strides, number of elements, offset, as instructions; the storage has two elements.
TENSORS = {
    "2^60": (row(HUGE), ONE, HUGE, "expected|said to have|digits"),
    "2^60 of a storage of two": (row(HUGE), ONE, number(2), "not believed"),
    "2^31 thrice": (row(*[number(2**31)] * 3), row(*[number(1)] * 3), number(2), "not believed"),
    "2^60 expanded": (row(HUGE), row(number(0)), number(2), "not believed"),
    "2^63 and 0": (row(number(2**63), b"K\x00"), row(b"K\x01", b"K\x01"), number(2), ""),
    "2^70": (row(number(2**70)), ONE, number(2), "not believed"),
    "integer too long to print": (row(LONG), ONE, number(2), ""),
    "negative": (row(number(-2)), ONE, number(2), MALFORMED),
    "two negatives": (row(number(-1), number(-2)), row(b"K\x01", b"K\x01"), number(2), MALFORMED),
    "float": (row(b"G" + struct.pack(">d", 2)), ONE, number(2), MALFORMED),
    "bool": (row(b"\x88"), ONE, number(2), MALFORMED),
    "text": (row(text("2")), ONE, number(2), MALFORMED),
    "shape that is a number": (number(2), ONE, number(2), MALFORMED),
    "100 axes": (row(*[number(1)] * 100), row(*[number(1)] * 100), number(2), "axes|strides"),
    "a million axes": (row(b"K\x01" * 10**6), row(b"K\x01" * 10**6), number(2), "axes|strides"),
    "axes multiplied": (row(LONG + b"q\xc8" + b"h\xc8" * 10**5), ONE, number(2), ""),
    "more strides than axes": (TWO, row(number(1), number(1)), number(2), "strides"),
    "negative stride": (TWO, row(number(-1)), number(2), MALFORMED),
    "stride outside": (TWO, row(number(2)), number(2), "needs 12 bytes of a storage of 8"),
    "stride of 2^62": (TWO, row(number(2**62)), number(2), "of a storage of 8"),
    "storage of -1": (TWO, ONE, number(-1), MALFORMED),
    "storage of 2.0": (TWO, ONE, b"G" + struct.pack(">d", 2), MALFORMED),
}
OFFSETS = {"1": "needs 12", "2^62": "of a storage of 8", "-1": MALFORMED, "1.0": MALFORMED}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_tensors_that_lie_are_refused(
    container: str, name: str, open_apart: Open, tmp_path: Path
) -> None:
    """In either form of torch.save: numbers that no tensor has, or none of this storage."""
    shape, strides, numel, message = TENSORS[name]
    content = CONTAINERS[container](tree_of(torch_tensor("0", shape, strides, numel)))

    check_file(open_apart, tmp_path / "x.pth", content, message)


def test_stride_of_an_axis_of_one_says_nothing(open_apart: Open, tmp_path: Path) -> None:
    """However large it is; the two elements are read in the other order of axes."""
    shape, strides = row(number(1), number(2)), row(number(2**70), number(0))
    tree = tree_of(torch_tensor("0", shape, strides, number(2)))
    path = tmp_path / "x.pth"
    path.write_bytes(CONTAINERS["zip"](tree))
    answer = open_apart(path)

    assert answer.get("values") == {"w": [[1, 1]]} or "stride" in answer.get("refused", ""), answer


def test_views_that_overlap_are_read_in_bounded_time(open_apart: Open, tmp_path: Path) -> None:
    """Elements of a few megabytes, in an order in which each needs a megabyte to be read."""
    axes, stride = 24, 1 << 17
    shape, strides = row(number(2) * axes), row(number(stride) * axes)
    numel = stride * axes + 1
    tree = tree_of(torch_tensor("0", shape, strides, number(numel)))
    path = tmp_path / "x.pth"
    path.write_bytes(torch_legacy(tree, {"0": (numel, bytes(4 * numel))}))
    answer = open_apart(path)

    assert not {"raised", "killed"} & answer.keys(), answer


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


@pytest.mark.parametrize("name", LEGACY)
def test_older_form_that_contradicts_itself_is_refused(
    name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Versions, lists of storages and sizes that are not those of the tensors."""
    changes, message = LEGACY[name]
    facts = {"tree": tree_of(WEIGHTS["legacy"]), "storages": {"0": (2, GOOD)}, **changes}

    check_file(open_apart, tmp_path / "x.pth", torch_legacy(**facts), message)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_storage_of_two_types_is_refused(container: str, open_apart: Open, tmp_path: Path) -> None:
    """torch.load would give both tensors the type that it meets first."""
    tree = named(("w", plain_tensor("0", [2])), ("v", plain_tensor("0", [2], "IntStorage")))

    check_file(open_apart, tmp_path / "x.pth", CONTAINERS[container](tree), "storage 0")
