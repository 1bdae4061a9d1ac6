"""Time grows with the file, whatever a few bytes in it multiply; nothing waits for a pipe.

Each case makes files of n and 4 n entries. Four times as many may take eight times as long, not
sixteen times as a look at all of them for each of them would take.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.handmade import (
    call,
    named,
    number,
    pickled,
    plain_tensor,
    safetensors,
    several,
    text,
    torch_entries,
    zipped,
)
from vitconvert import CheckpointError, open_checkpoint
from vitconvert.checkpoints import pickles
from vitconvert.checkpoints.storage import Held
from vitconvert.checkpoints.target import check_output
from vitconvert.files import check_sources_stay, written_beside
from vitconvert.plain import holds
from vitconvert.sides import Side
from vitconvert.tables.kinds import Kind
from vitconvert.tables.table import Row, Table

DATA = bytes(8)


def as_zip(tree: bytes) -> bytes:
    return zipped(*torch_entries(tree, {"0": DATA}))


def beside(pairs: bytes) -> bytes:
    """Make a .pth of one tensor with more entries in its dict."""
    return as_zip(named(("w", plain_tensor("0", [2]))) + b"(" + pairs + b"u")


def header_of(count: int) -> bytes:
    """Make a .safetensors of as many tensors."""
    entries = {
        f"l{i}.w": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(count)
    }
    return safetensors(entries, bytes(count))


def of_one_tensor(count: int) -> bytes:
    """Make a .pth in which as many names stand for one tensor."""
    names = b"".join(text(f"a{i}.w") + b"h\1" for i in range(count))
    return as_zip(b"}(" + text("w") + plain_tensor("0", [2]) + b"q\1" + names + b"u")


ALIKE = (1 << 61) - 1  # its multiples have one hash
CASES: dict[str, Callable[[int], bytes]] = {
    "tensors": header_of,
    "names of one tensor": of_one_tensor,
    "numbers that hash alike": lambda n: beside(
        b"".join(number((i % 7 + 1) * ALIKE + i // 7 * ALIKE) + b"N" for i in range(n))
    ),
    "places in the memo that hash alike": lambda n: beside(
        b"".join(text(f"{i}") + b"Np%d\n" % (i * 2**12) for i in range(n))
    ),
    "marks": lambda n: beside(text("x") + b"(" * n + b"t" * n),
    "copies of a reference": lambda n: beside(text("x") + b"(" + b"N2" * n + b"t"),
}


def seconds(content: bytes, path: Path) -> float:
    path.write_bytes(content)
    start = time.process_time()
    assert open_checkpoint(path).tensors
    return time.process_time() - start


@pytest.mark.parametrize("name", CASES)
def test_time_grows_with_the_file(name: str, tmp_path: Path) -> None:
    """The best of three, because other processes disturb."""
    few, many = CASES[name](1000), CASES[name](4000)
    short = min(seconds(few, tmp_path / "few") for _ in range(3))
    long = min(seconds(many, tmp_path / "many") for _ in range(3))

    assert long < 8 * short + 0.005


def test_rows_are_found_without_a_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with a row for each of its layers, as `vitconvert table` writes it."""
    kind = Kind("block", ())
    rows = tuple(Row(i, f"l{i}.a", f"l{i}.b", kind) for i in range(200))
    table = Table(rows, {}, Path("x.toml"), False, "x")
    tried = list[str]()
    pair = Row.pair

    def counted(row: Row, side: Side, layer: str) -> tuple[str, str] | None:
        tried.append(layer)
        return pair(row, side, layer)

    monkeypatch.setattr(Row, "pair", counted)

    found = table.layers("torch", [row.torch for row in rows])

    assert len(found) == len(tried) == len(rows)
    assert found["l7.a"][:2] == ("l7.a", "l7.b")


def test_texts_are_not_multiplied() -> None:
    """Seven bytes that copy four thousand count as what they cost."""
    once = call("_codecs.encode", text("a" * 4096), text("latin1"))[:-1] + b"q\0"
    again = several(*[b"c_codecs\nencode\nh\0R"] * 100)
    made = list[int]()

    def encode(words: str, _: str) -> None:
        made.append(len(words))

    pickles_of = pickled(once + b"0" + again * 250)
    with pytest.raises(CheckpointError, match="copies its own content too often"):
        pickles.load(Held(pickles_of), {"_codecs.encode": encode})

    assert sum(made) < 2_100_000 * 32


def test_honest_pickles_may_be_long() -> None:
    """Two million instructions are too few for 100,000 tensors."""
    whole = pickled(b"](" + text("a name of a usual length") * 100_000 + b"e" + b"N0" * 900_000)
    assert len(pickles.load(Held(whole), {})[0]) == 100_000


# -- what is no plain file


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def circle(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def link_to_null(path: Path) -> None:
    path.symlink_to("/dev/null")


ODD: dict[str, Callable[[Path], None]] = {
    "pipe": pipe,
    "socket": socket_at,
    "circle": circle,
    "device": link_to_null,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_plain_file_is_never_waited_for(name: str, tmp_path: Path) -> None:
    """As a checkpoint, as a file that an index names, as a report, and as a target."""
    path = tmp_path / "x.pdparams"
    ODD[name](path)
    index = tmp_path / "x.index.json"
    index.write_text(json.dumps({"weight_map": {"w": path.name}}), encoding="utf-8")

    for source in (path, index):
        with pytest.raises(CheckpointError, match=r"not a regular file|symbolic links|a folder"):
            open_checkpoint(source)
    with pytest.raises(CheckpointError, match=r"x\.pdparams"):
        holds(path, b"word")
    check_sources_stay([index], [path])
    if name == "circle":
        check_output(path, force=True)  # the link is replaced, as any link is
    with pytest.raises(CheckpointError, match=r"folder|device or a pipe|exists already"):
        check_output(path, force=name != "circle")


@pytest.mark.parametrize("name", ODD)
def test_odd_files_under_temporary_names_are_left_alone(name: str, tmp_path: Path) -> None:
    """Somebody's pipe that is called as a file which a killed process left behind."""
    part = tmp_path / ".o.pdparams.deadbeef.part"
    ODD[name](part)
    os.utime(part, (1, 1), follow_symlinks=False)
    with written_beside(tmp_path / "o.pdparams"):
        pass

    assert os.path.lexists(part)


def test_word_is_found_in_pieces(tmp_path: Path) -> None:
    """A report is not read whole; a file far too large for one is none."""
    path = tmp_path / "x.json"
    path.write_bytes(b"a" * ((1 << 20) - 2) + b"word" + b"a" * 10)
    assert holds(path, b"word")
    assert not holds(path, b"ward")
    with path.open("r+b") as file:
        file.truncate(6 << 30)
    assert not holds(path, b"word")
