"""The folder of an export: what is replaced, what a kill leaves, and a disk that is full."""

import errno
import fcntl
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Make, left
from vitconvert.apps.deploy import _folder, export
from vitconvert.errors import CheckpointError, RunError, VitconvertError

TINY = "shiftvit_cifar_tiny"
LONG_AGO = time.time() - 3600


def fake(folder: Path, text: str = "old") -> Path:
    """Make what looks like an export from outside."""
    folder.mkdir()
    (folder / "model.pdiparams").write_text(text)
    facts = {"format": "vitconvert export 1", "files": {"model.pdiparams": ""}}
    (folder / "vitconvert.json").write_text(json.dumps(facts))
    return folder


def part_of(target: Path) -> Path:
    return fake(target.with_name(f".{target.name}.01234567.part"), "new")


# -- what is not ours


@pytest.mark.paddle
@pytest.mark.parametrize("listed", [False, True])
def test_weights_in_the_folder_are_not_deleted(
    listed: bool, converted: Make, tmp_path: Path
) -> None:
    """Not if a link leads there, and not if the folder calls them its own."""
    own = fake(tmp_path / "own")
    weights = own / "weights.pdparams"
    weights.write_bytes(converted(TINY).read_bytes())
    (tmp_path / "link.pdparams").symlink_to(weights)
    if listed:
        facts = json.loads((own / "vitconvert.json").read_text())
        facts["files"][weights.name] = ""
        (own / "vitconvert.json").write_text(json.dumps(facts))

    for source in (weights, tmp_path / "link.pdparams"):
        with pytest.raises(CheckpointError, match=r"lies in .*own, which would be replaced"):
            export(TINY, source, own, force=True)
    assert left(own) == ["model.pdiparams", "vitconvert.json", "weights.pdparams"]


@pytest.mark.paddle
def test_a_folder_that_holds_more_than_an_export_is_not_replaced(
    converted: Make, tmp_path: Path
) -> None:
    """Whatever was put beside the export is somebody's."""
    own = fake(tmp_path / "own")
    (own / "thesis.tex").write_text("work of years")
    with pytest.raises(CheckpointError, match=r"more than an export: thesis\.tex"):
        export(TINY, converted(TINY), own, force=True)
    (own / "thesis.tex").unlink()
    (own / "model.json").mkdir()
    with pytest.raises(CheckpointError, match=r"more than an export: model\.json"):
        export(TINY, converted(TINY), own, force=True)

    assert left(own) == ["model.json", "model.pdiparams", "vitconvert.json"]
    assert left(tmp_path) == ["own"]


# -- the name


def test_an_export_is_replaced_with_force_only(tmp_path: Path) -> None:
    """It is looked at once more before the name is given; a replaced one is gone."""
    target = fake(tmp_path / "own")
    part = part_of(target)
    with pytest.raises(CheckpointError, match="exists already"):
        _folder.publish_folder(part, target, [], force=False)
    assert (target / "model.pdiparams").read_text() == "old"
    _folder.publish_folder(part, target, [], force=True)

    assert left(tmp_path) == ["own"]
    assert (target / "model.pdiparams").read_text() == "new"


def test_the_old_export_survives_a_failed_rename_and_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second rename fails, and Ctrl-C comes while the first is undone."""
    target = fake(tmp_path / "own")
    part, rename = part_of(target), Path.rename
    troubles: list[BaseException | None] = [None, OSError(errno.EIO, "I/O"), KeyboardInterrupt()]

    def troubled(self: Path, to: Path) -> Path:
        if troubles and (trouble := troubles.pop(0)):
            raise trouble
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", troubled)
    with pytest.raises(CheckpointError, match="own: cannot be written: I/O"):
        _folder.publish_folder(part, target, [], force=True)

    assert not troubles
    assert (target / "model.pdiparams").read_text() == "old"
    assert left(tmp_path) == [part.name, "own"]


def test_files_are_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the name is afterwards: what a power cut leaves is whole."""
    target = tmp_path / "own"
    flushed, sync = [], os.fsync

    def spy(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        flushed.append((path.name, target.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    part = part_of(target)
    _folder.publish_folder(part, target, [], force=False)

    assert {("model.pdiparams", False), ("vitconvert.json", False), (part.name, False)} < set(
        flushed
    )
    assert flushed[-1] == (tmp_path.name, True)


# -- what a kill leaves


@pytest.mark.parametrize(
    ("there", "kept", "text"),
    [
        ([".own.01234567.old"], ["own"], "old"),  # killed between the two renames
        (["own", ".own.01234567.old", ".own.89abcdef.old"], ["own"], "new"),  # after the second
        (["own/", ".own.01234567.old"], [".own.01234567.old", "own"], None),  # the only one
    ],
)
def test_an_old_export_gets_its_name_back_or_goes(
    there: list[str], kept: list[str], text: str | None, tmp_path: Path
) -> None:
    """It stays if something else has its name; of a replaced one, half may be removed already."""
    for name in there:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            fake(tmp_path / name, "new" if name == "own" else "old")
    (tmp_path / ".own.89abcdef.old" / "vitconvert.json").unlink(missing_ok=True)
    _folder.put_in_order(tmp_path / "own")

    assert left(tmp_path) == kept
    if text is not None:
        assert (tmp_path / "own" / "model.pdiparams").read_text() == text


def test_abandoned_parts_go_and_others_stay(tmp_path: Path) -> None:
    """A new one, one that a process holds, one with a stranger's file, one of another export."""
    names = {name: f".own.{i:08}.part" for i, name in enumerate(("gone", "new", "held", "odd"))}
    for name in [*names.values(), ".other.01234567.part"]:
        fake(tmp_path / name)
    (tmp_path / names["odd"] / "thesis.tex").write_text("work of years")
    for path in tmp_path.iterdir():
        if path.name != names["new"]:
            os.utime(path, (LONG_AGO, LONG_AGO))
    handle = os.open(tmp_path / names["held"], os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    _folder.put_in_order(tmp_path / "own")
    os.close(handle)

    kept = [".other.01234567.part", *(names[name] for name in ("new", "held", "odd"))]
    assert left(tmp_path) == sorted(kept)


def test_a_part_is_held_while_it_is_made(tmp_path: Path) -> None:
    """However long that takes."""
    target = tmp_path / "own"
    with _folder.made_beside(target) as part:
        os.utime(part, (LONG_AGO, LONG_AGO))
        _folder.put_in_order(target)
        assert part.exists()
    assert left(tmp_path) == []


# -- a disk that is full


def assert_refused(
    weights: Path, folder: Path, expected: type[VitconvertError], message: str
) -> None:
    """The error has the name that was asked for, and nothing is left behind."""
    with pytest.raises(expected, match=message) as caught:
        export(TINY, weights, folder / "out")
    assert ".part" not in str(caught.value)
    assert left(folder) == []


@pytest.mark.paddle
def test_a_disk_without_room_is_told_first(
    converted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the weights are needed."""
    room = int(1.8 * converted(TINY).stat().st_size)
    usage = SimpleNamespace(total=10 * room, free=room)
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage)
    assert_refused(converted(TINY), tmp_path, CheckpointError, "the disk has room for")


@pytest.mark.paddle
@pytest.mark.parametrize("moment", ["save", "fsync"])
def test_a_disk_that_fills_up_is_told(
    moment: str, converted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name that was asked for."""
    import paddle

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((paddle.jit, "save") if moment == "save" else (os, "fsync")), full)
    message = "out: cannot be written: No space left"
    assert_refused(converted(TINY), tmp_path, CheckpointError, message)


@pytest.mark.paddle
@pytest.mark.parametrize("limit", [1000, 1_000_000])
def test_a_file_that_paddle_cut_short_is_told(
    limit: int, converted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paddle writes on as if nothing was: the program is cut, or the parameters are."""
    import paddle

    save = paddle.jit.save

    def cut(model: Any, stem: str) -> None:
        save(model, stem)
        for path in Path(stem).parent.iterdir():
            os.truncate(path, min(limit, path.stat().st_size))

    monkeypatch.setattr(paddle.jit, "save", cut)
    message = "out: what was written cannot be loaded.*may be full"
    assert_refused(converted(TINY), tmp_path, RunError, message)
