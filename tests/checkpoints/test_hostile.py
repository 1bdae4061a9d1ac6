"""Files made to do harm: refused in a clear sentence, or read with the harmful parts inert.

Nothing in them is executed, no file is written, no memory is filled. Each is opened in its own
process: see tools/open_apart.py. A table lists the message with which each must be refused.
"""

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import TOOLS, known
from tools.handmade import (
    Entry,
    named,
    number,
    pickled,
    plain_tensor,
    row,
    safetensors,
    text,
    torch_legacy,
    torch_tensor,
    zipped,
)
from tools.hostile_files import (
    CONTAINERS,
    NPYS,
    NPZS,
    PDPARAMS,
    SAFETENSORS,
    WEIGHT_MAPS,
    WEIGHTS,
    ZIPS,
    entry,
    tree_of,
)
from tools.hostile_pickles import COPIES, DEEP, GOOD, INERT, LEGACY, LONG, REFUSED, TENSORS

Open = Callable[[Path], dict[str, Any]]

MOST_MEMORY = 64  # megabytes that opening and reading a small file may take


@pytest.fixture(scope="module")
def open_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Open and read a checkpoint in another process, which reports the result."""
    tool = TOOLS / "open_apart.py"
    folder = tmp_path_factory.mktemp("empty")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(tool)], text=True, cwd=folder, **pipes) as process:
        questions, answers = known(process.stdin), known(process.stdout)

        def ask(path: Path) -> dict[str, Any]:
            questions.write(f"{path}\n")
            questions.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer | {"made": [made.name for made in folder.iterdir()]}

        yield ask
        questions.close()


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
        assert str(path) in answer["refused"] or answer["opened"]
        assert answer["refused"].isprintable()
        assert len(answer["refused"]) < 1000


def check_file(open_apart: Open, path: Path, content: bytes, message: str | None = None) -> None:
    """Write a file, open it, check."""
    path.write_bytes(content)
    check(open_apart(path), path, message)


# -- pickles, in each of the formats that are made of them


@pytest.mark.parametrize("name", INERT)
@pytest.mark.parametrize("container", CONTAINERS)
def test_entries_beside_the_weights_are_inert(
    container: str, name: str, open_apart: Open, tmp_path: Path
) -> None:
    """The weights are read, and nothing else happens."""
    tree = tree_of(WEIGHTS[container], ("bad", INERT[name]))

    check_file(open_apart, tmp_path / "x.bin", CONTAINERS[container](tree))


@pytest.mark.parametrize("name", INERT)
def test_nothing_else_is_taken_for_weights(name: str, open_apart: Open, tmp_path: Path) -> None:
    """A file with nothing else holds no weights."""
    message = "holds no named tensors"
    check_file(open_apart, tmp_path / "x.bin", pickled(INERT[name]), message)
    check_file(open_apart, tmp_path / "y.bin", CONTAINERS["legacy"](INERT[name]), message)


def test_keys_of_any_kind_are_inert(open_apart: Open, tmp_path: Path) -> None:
    """Integers too long to print, tuples too deep to hash, names no terminal should see."""
    half = "\ud800".encode("utf-8", "surrogatepass")
    keys = [LONG, DEEP, text("\x1b[2J"), text(half), b"N", b"]"]
    pairs = b"".join(key + b"K\x01" for key in keys)
    tree = tree_of(WEIGHTS["pdparams"]) + b"(" + pairs + b"u"

    check_file(open_apart, tmp_path / "x.bin", pickled(tree))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("container", CONTAINERS)
def test_pickles_that_no_one_wrote_are_refused(
    container: str, name: str, open_apart: Open, tmp_path: Path
) -> None:
    """They are malformed, or bombs."""
    value, message = REFUSED[name]
    tree = tree_of(WEIGHTS[container], ("bad", value))

    check_file(open_apart, tmp_path / "x.bin", CONTAINERS[container](tree), message)


@pytest.mark.parametrize("name", COPIES)
def test_arguments_are_not_copied_without_end(name: str, open_apart: Open, tmp_path: Path) -> None:
    """Five bytes that copy thousands, three thousand times: read or refused, in little memory."""
    path = tmp_path / "x.bin"
    path.write_bytes(pickled(tree_of(WEIGHTS["pdparams"], ("bad", COPIES[name]))))
    answer = open_apart(path)

    check(answer, path, "" if "refused" in answer else None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "instructions", [b"N0", b"]", b"}", b"\x82\x01"], ids=["stack", "lists", "dicts", "names"]
)
def test_pickles_of_millions_of_instructions_are_refused(
    instructions: bytes, open_apart: Open, tmp_path: Path
) -> None:
    """Refusing takes bounded time and memory, whatever they build."""
    path = tmp_path / "x.bin"
    path.write_bytes(pickled(instructions * 25_000_000))
    answer = open_apart(path)

    assert answer.pop("megabytes") < 512
    check(answer | {"megabytes": 0}, path, "instruction")


# -- what is said of tensors


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_impossible_tensors_are_refused(
    container: str, name: str, open_apart: Open, tmp_path: Path
) -> None:
    """In either format of torch.save: numbers impossible for any tensor, or for this storage."""
    shape, strides, numel, message = TENSORS[name]
    content = CONTAINERS[container](tree_of(torch_tensor("0", shape, strides, numel)))

    check_file(open_apart, tmp_path / "x.pth", content, message)


def test_stride_of_an_axis_of_one_is_ignored(open_apart: Open, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("name", LEGACY)
def test_older_format_that_contradicts_itself_is_refused(
    name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Versions, lists of storages and sizes that do not match the tensors."""
    changes: Any
    changes, message = LEGACY[name]
    facts: dict[str, Any] = {
        "tree": tree_of(WEIGHTS["legacy"]),
        "storages": {"0": (2, GOOD)},
        **changes,
    }

    check_file(open_apart, tmp_path / "x.pth", torch_legacy(**facts), message)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_storage_of_two_types_is_refused(container: str, open_apart: Open, tmp_path: Path) -> None:
    """torch.load would give both tensors the type that it meets first."""
    tree = named(("w", plain_tensor("0", [2])), ("v", plain_tensor("0", [2], "IntStorage")))

    check_file(open_apart, tmp_path / "x.pth", CONTAINERS[container](tree), "storage 0")


# -- zip files


@pytest.mark.parametrize("name", ZIPS)
def test_zips_that_contradict_themselves_are_refused(
    name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Misplaced entries, wrong sizes, names outside the folder, compressed entries."""
    check_file(open_apart, tmp_path / "x.pth", *ZIPS[name])


# -- NumPy


@pytest.mark.parametrize("name", NPYS)
def test_npz_that_contradicts_itself_is_refused(
    name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Headers are parsed, never evaluated; shapes are checked; objects are not read."""
    content, message = NPYS[name]

    check_file(open_apart, tmp_path / "x.npz", zipped(Entry("w.npy", content)), message)


@pytest.mark.parametrize("name", NPZS)
def test_unpacking_is_bounded(name: str, open_apart: Open, tmp_path: Path) -> None:
    """Sizes are checked while unpacking; a hundred bombs are unpacked one at a time, if at all."""
    content, message = NPZS[name]
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    answer = open_apart(path)

    if message is None and "values" in answer:
        answer["values"] = {"w": [1, 2]}
    check(answer, path, "" if message is None and "refused" in answer else message)


# -- safetensors


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors_that_contradict_themselves_are_refused(
    name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Lengths, ranges, shapes and names that contradict the file or one another."""
    check_file(open_apart, tmp_path / "x.safetensors", *SAFETENSORS[name])


# -- sharded


@pytest.mark.parametrize("name", WEIGHT_MAPS)
def test_hostile_indexes_are_refused(name: str, open_apart: Open, tmp_path: Path) -> None:
    """No file is opened but those beside the index; every tensor is in one of them, once."""
    weight_map, message = WEIGHT_MAPS[name]
    (tmp_path / "0.bin").write_bytes(safetensors({"w": entry()}, GOOD))
    (tmp_path / "1.bin").write_bytes(safetensors({"w": entry(), "v": entry((0,), (8, 8))}, GOOD))
    content = json.dumps({"weight_map": weight_map}).encode()
    content = b'{"weight_map":' + b"[" * 10**5 if weight_map is None else content
    path = tmp_path / "x.index.json"
    path.write_bytes(content)

    check(open_apart(path), tmp_path, message)


# -- Paddle


@pytest.mark.parametrize("name", PDPARAMS)
def test_pdparams_that_contradict_themselves_are_refused(
    name: str, open_apart: Open, tmp_path: Path
) -> None:
    """Arrays that do not fit their bytes, pieces that do not fit together, broken text."""
    tree, message = PDPARAMS[name]

    check_file(open_apart, tmp_path / "x.pdparams", pickled(tree), message)


# -- others


def test_tar_is_refused(open_apart: Open, tmp_path: Path) -> None:
    """The oldest format of torch.save, which can only be read by executing it."""
    with tarfile.open(tmp_path / "x.pth", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("../pickle"), io.BytesIO())

    check(open_apart(tmp_path / "x.pth"), tmp_path / "x.pth", "a tar archive")
