"""Our own files that were changed: read, or refused by an error that a user can mend.

Good files are made; values of their JSON are replaced by others, or their bytes are damaged. There
is never another exception, nor a wait.

    HYPOTHESIS_PROFILE=long pytest tests/test_own_files.py   takes minutes, new files
"""

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import PROFILE, changed, damaged, spelled
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from small_trace import write_trace

from vitconvert.apps.deploy import _manifest
from vitconvert.apps.evaluation._tally import read_state
from vitconvert.apps.pairs._entries import read_pairs
from vitconvert.apps.pairs._state import Kept, spell_state
from vitconvert.apps.pairs._state import read_state as read_kept
from vitconvert.apps.training._settings import Settings, from_dict
from vitconvert.apps.training._state import COLUMNS, Folder, Position, read_record
from vitconvert.apps.training._state import read_state as read_position
from vitconvert.errors import VitconvertError
from vitconvert.images import open_images, read_classes
from vitconvert.parity import Row, compare_traces, html, markdown, show
from vitconvert.parity._markdown import page
from vitconvert.tables.parsing import parse_table
from vitconvert.tables.reading import read_kinds, read_table
from vitconvert.tables.table import Table


def compare(path: Path) -> None:
    """Compare a trace with a good one, and write every report."""
    report = compare_traces(path.parent.parent / "good", path.parent)
    with redirect_stdout(io.StringIO()):
        show(report, every_layer=True)
    markdown(report)
    html(report)
    report.to_json()


ROW: dict[str, float | None] = {**dict.fromkeys(COLUMNS, 0.5), "epoch": 1}
RECORD = {
    "vitconvert": "1",
    "paddle": "3",
    "device": "CPU",
    "processes": 1,
    "options": Settings("shiftvit_cifar_tiny", "data").to_dict(),
    "classes": ["a", "b"],
    "preprocessing": {"size": [32, 32]},
    "images": "c" * 64,
}
EXPORT = {
    "format": _manifest.FORMAT,
    "variant": "tiny",
    "num_classes": 2,
    "classes": ["a", "b"],
    "image_size": "free",
    "preprocessing": {"mean": [0, 0, 0]},
    "source": {"sha256": "d" * 64, "bytes": 4},
    "versions": {"paddle": "3"},
    "check": {"max_abs_diff": 0.0},
    "files": {"model.json": "e" * 64},
}
KEPT = Kept(
    {"vitconvert": "1"}, {"net.py": "f" * 64}, Row("tiny", "PROVED", "both", details=("x",))
)
UNFINISHED = {
    "format": "vitconvert evaluation state 1",
    "request": {"images": "x"},
    "environment": {"paddle": {"device": "cpu"}},
    "columns": [],
    "tally": {
        "unreadable": [[0, "x"]],
        "seconds": 1.0,
        "timed": {"paddle": 3},
        "peak_bytes": {"paddle": {"cpu": 4}},
    },
}
TABLE = {
    "title": "Net",
    "input_size": [8, 8],
    "output": "linear",
    "sizes": {"heads": 2},
    "rows": [["blocks.{i}.fc", "blocks.{i}.fc", "linear"], ["own", "own", "mine"]],
    "ignore": {"blocks.{i}.mask": "recomputed"},
    "paddle_only": {"blocks.{i}.table": "recomputed"},
    "kinds": {
        "mine": {
            "torch": "torch.nn.Linear",
            "paddle": ["paddle.nn.Linear"],
            "limit": 1e-5,
            "tensors": {
                "weight": {"paddle": "w", "axes": "out in -> in out"},
                "n": {"drop": "counts"},
            },
            "settings": {"eps": {"torch": "eps", "paddle": "epsilon", "value": 1}},
        }
    },
    "published_defaults": {"crop_pct": 0.9},
    "variants": {
        "net_a": {
            "input_size": [8, 8],
            "config": {"num_classes": 10},
            "published": [{"top1": 80.5, "source": "x"}],
            "preprocessing": {"std": [1, 1, 1]},
        }
    },
}
SHAPES = {"net_a": {"blocks.{0..2}.fc.weight": [4, "num_classes"]}, "net_b": {"same_as": "net_a"}}


def use(table: Table) -> None:
    """Ask a table what it is asked when a checkpoint is converted and proved."""
    for key in ("blocks.0.fc.weight", "own.w", "1" * 5000, "blocks.1.mask", "x\n"):
        for side in ("torch", "paddle"):
            table.claims(key, side)
            table.ignored(key, side)
        table.nearest(key, "torch")
    table.layers("paddle", ["blocks.0.fc", "own"])
    for variant in table.variants.values():
        table.parameters(variant)
        assert variant.preprocessing


def parse(path: Path) -> None:
    """Parse a table from JSON, which holds the same types as TOML."""
    data = json.loads(path.read_text())
    if isinstance(data, dict):
        shapes = data.pop("shapes", {})
        use(parse_table(path, data, shapes if isinstance(shapes, dict) else {}, read_kinds()))


def write_progress(path: Path, content: bytes) -> None:
    texts = {"version": "1", "progress": content.decode("utf-8", "replace")}
    save_file({"model.w": np.zeros(2, "f4")}, path, texts)


def write_tally(path: Path, content: bytes) -> None:
    np.savez(path, facts=np.frombuffer(content, np.uint8))


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, its good JSON, how it is written and read."""

    name: str
    data: Any
    read: Callable[[Path], object]
    write: Callable[[Path, bytes], object] = Path.write_bytes


KINDS = {
    "trace": Kind("trace/trace.json", None, compare),
    "run": Kind(
        "run/run.json",
        RECORD,
        lambda path: from_dict(read_record(Folder(path.parent)).options, "x"),
    ),
    "position": Kind(
        "resume.safetensors",
        asdict(Position(1, 1, 0.5, 1.0, 0.5, [ROW], {"scale": [1.0], "good": 2, "use": True})),
        read_position,
        write_progress,
    ),
    "export": Kind(
        "export/vitconvert.json", EXPORT, lambda path: _manifest.read_facts(path.parent)
    ),
    "evaluation": Kind(
        "state.npz",
        UNFINISHED,
        read_state,
        write_tally,
    ),
    "pairs": Kind(
        "table.json",
        json.loads(spell_state({"tiny": KEPT})),
        lambda path: page([kept.row for kept in read_kept(path, force=False).values()]),
    ),
    "table": Kind("net.json", {**TABLE, "shapes": SHAPES}, parse),
    "classes": Kind("classes.json", {"classes": ["a", "b"]}, read_classes),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with two good traces and the folders of the others."""
    made = tmp_path_factory.mktemp("fuzz")
    write_trace(made / "good", "torch")
    for name in ("run", "export"):
        (made / name).mkdir()
    (made / "export" / "model.json").write_text("{}")
    return made


@pytest.fixture
def no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is checked against the release of Paddle; none is needed here."""
    monkeypatch.setattr(_manifest, "_check_release", lambda *_: None)


def good(kind: str, folder: Path) -> Any:
    """Give the good JSON of a kind."""
    if kind == "trace":
        if not (folder / "trace").exists():
            write_trace(folder / "trace", "paddle")
            (folder / "trace.json").write_bytes((folder / "trace" / "trace.json").read_bytes())
        return json.loads((folder / "trace.json").read_text())
    return KINDS[kind].data


def read_or_refused(read: Callable[[Path], object], path: Path) -> None:
    try:
        read(path)
    except VitconvertError as error:
        printed = str(error).split("\n")
    else:
        return
    assert all(line.isprintable() for line in printed)


def check(kind: str, content: bytes, folder: Path) -> None:
    path = folder / KINDS[kind].name
    KINDS[kind].write(path, content)
    read_or_refused(KINDS[kind].read, path)


@pytest.mark.usefixtures("no_framework")
@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_read(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the damage below is damage to something that is read whole."""
    if kind == "export":
        monkeypatch.setattr(_manifest, "sha256", lambda _path: "e" * 64)
    path = folder / KINDS[kind].name
    data = good(kind, folder)
    KINDS[kind].write(path, spelled(data))

    KINDS[kind].read(path)


@pytest.mark.usefixtures("no_framework")
@pytest.mark.parametrize("kind", KINDS)
@settings(PROFILE)
@given(data=st.data())
def test_changed_values_are_refused_or_read(kind: str, data: Any, folder: Path) -> None:
    """Of other types, of extreme sizes, missing, or those of another place."""
    check(kind, spelled(data.draw(changed(good(kind, folder)))), folder)


@pytest.mark.usefixtures("no_framework")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "table"])
@settings(PROFILE, max_examples=PROFILE.max_examples // 4)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read(kind: str, data: Any, folder: Path) -> None:
    """Cut short, deep, or not a text."""
    check(kind, data.draw(damaged(spelled(good(kind, folder)))), folder)


@pytest.mark.parametrize("kind", ["trace", "run", "export", "pairs", "classes"])
def test_what_is_not_a_plain_file_is_not_waited_for(kind: str, folder: Path) -> None:
    """A pipe under the name of one of our own files."""
    path = folder / KINDS[kind].name
    good(kind, folder)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    try:
        with pytest.raises(VitconvertError):
            KINDS[kind].read(path)
    finally:
        path.unlink()


# -- files of TOML, lists, archives, data sets: their bytes alone


def toml_table() -> bytes:
    return b'rows = [["a.{i}", "a.{i}", "linear"]]\n[ignore]\n"b.{i}" = "why"\n'


def cifar() -> bytes:
    """Make a small CIFAR-10 in its original archive."""
    pixels = np.arange(2 * 3072, dtype="u1").reshape(2, 3072)
    files = {
        "batches.meta": {"label_names": ["a", "b"]},
        "test_batch": {"data": pixels, "labels": [0, 1]},
    }
    return tarred({f"cifar-10-batches-py/{n}": pickle.dumps(data, 2) for n, data in files.items()})


def tarred(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


def open_all(path: Path) -> None:
    images = open_images(str(path), "val")
    for index in range(len(images)):
        images.open(index)


PHOTO = b"P6 1 1 255\n\x01\x02\x03"
PHOTOS = {f"val/{name}/1.ppm": PHOTO for name in ("a", "b")}
RAW = {
    "net.toml": (toml_table(), lambda path: use(read_table(path))),
    "pairs.toml": (
        b'[[pair]]\nname = "a"\ntorch = "x"\npaddle = "y"\nvariant = "shunted_t"\n',
        read_pairs,
    ),
    "names.txt": (b"one\ntwo\n", read_classes),
    "val.txt": (b"a.png 0\nb c.png 1\n", lambda path: open_images(str(path), "val")),
    "x.zip": (zipped(PHOTOS), open_all),
    "x.tar": (tarred(PHOTOS), open_all),
    "cifar-10-python.tar": (cifar(), open_all),
    "cifar-10-python.tar.gz": (gzip.compress(cifar(), 1, mtime=0), open_all),
}


@pytest.mark.parametrize("name", RAW)
@settings(PROFILE, max_examples=PROFILE.max_examples // 2)
@given(data=st.data())
def test_damaged_files_of_the_user_are_refused_or_read(name: str, data: Any, folder: Path) -> None:
    """Tables, lists and images in archives."""
    content, read = RAW[name]
    path = folder / "raw" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(damaged(content)))
    read_or_refused(read, path)
