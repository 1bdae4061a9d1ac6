"""Files that appear whole or not at all, and folders that may be used."""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vitconvert import CheckpointError
from vitconvert.files import check_folder, write_all, write_whole


def test_files_are_on_the_disk_before_the_first_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves is the old files or the new ones, never half of one."""
    seen, sync = [], os.fsync

    def spy(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        seen.append((name.partition(".part")[0][:2], sorted(p.name for p in tmp_path.glob("[ab]"))))
        sync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    write_all({tmp_path / "a": b"1", tmp_path / "b": b"2"})

    assert [entry for entry in seen if entry[0] in (".a", ".b")] == [(".a", []), (".b", [])]
    assert seen[-1] == (tmp_path.name[:2], ["a", "b"])


def test_a_file_that_cannot_be_written_stops_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older files are unchanged, and no temporary one is left."""
    (tmp_path / "a").write_bytes(b"old")
    calls = list[None]()

    def full(_handle: int) -> None:
        calls.append(None)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="b: cannot be written: No space left"):
        write_all({tmp_path / "a": b"1", tmp_path / "b": b"2"})

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_without_force_a_file_that_appeared_meanwhile_stays(tmp_path: Path) -> None:
    """It is somebody's."""
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(CheckpointError, match="appeared meanwhile"):
        write_all({tmp_path / "a": b"1"}, force=False)

    assert (tmp_path / "a").read_bytes() == b"old"


def fill(folder: Path, file: str, inner: str = "") -> Path:
    """Make a folder with an empty file and perhaps a folder in it."""
    (folder / inner).mkdir(parents=True)
    (folder / file).touch()
    return folder


MAKERS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "empty": lambda p: p.mkdir(),
    "left by a kill": lambda p: fill(p, ".x.0123abcd.part", "s"),
    "ours": lambda p: fill(p, "mark"),
    "other": lambda p: fill(p, "thesis"),
    "a file": lambda p: p.touch(),
    "a link to ours": lambda p: p.symlink_to(fill(p.parent / "to", "mark").name),
}


def is_ours(folder: Path) -> bool:
    return (folder / "mark").exists()


EXISTS, OTHER = "exists already. Pass --force to replace it", "exists and is not a thing"
RESUMABLE = "exists already. Pass --resume to continue it, or --force to replace it"
NOTHING = "does not hold a thing to resume. Leave out --resume"


@pytest.mark.parametrize(
    ("what", "plain", "force", "resume", "as_whole"),
    [
        ("nothing", "", "", NOTHING, ""),
        ("empty", "", "", NOTHING, OTHER),
        ("left by a kill", "", "", NOTHING, OTHER),
        ("ours", RESUMABLE, "", "", EXISTS),
        ("other", OTHER, OTHER, OTHER, OTHER),
        ("a file", "is not a folder", "is not a folder", "is not a folder", "is not a folder"),
        ("a link to ours", RESUMABLE, "", "", OTHER),
    ],
)
def test_which_folders_may_be_used(
    what: str, plain: str, force: str, resume: str, as_whole: str, tmp_path: Path
) -> None:
    """A new, an empty and one's own, if asked for; nothing is changed by asking."""
    folder = tmp_path / "folder"
    MAKERS[what](folder)
    before = sorted(tmp_path.rglob("*"))

    def ask(expected: str, **given: Any) -> None:
        how = {"force": False, **given}
        if not expected:
            check_folder(folder, "a thing", is_ours, **how)
            return
        with pytest.raises(CheckpointError, match=f"folder: {expected}"):
            check_folder(folder, "a thing", is_ours, **how)

    ask(plain, resume=False)
    ask(force, force=True)
    ask(resume, resume=True)
    ask(as_whole, as_whole=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_folder_around_must_be_there_and_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are said before any work is done."""
    with pytest.raises(CheckpointError, match=r"x: the folder .*no does not exist\. Make it first"):
        check_folder(tmp_path / "no" / "x", "a thing", lambda _: True, force=True)
    for name in (".", ".."):
        with pytest.raises(CheckpointError, match="has no name of its own"):
            check_folder(Path(name), "a thing", lambda _: True, force=True, as_whole=True)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do everything
    with pytest.raises(CheckpointError, match=rf"x: no permission to write into {tmp_path}\."):
        check_folder(tmp_path / "x", "a thing", lambda _: True, force=True)


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    """A short text is refused as it is flushed, and again as the file is closed."""
    target, limits = tmp_path / "table.toml", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"table\.toml: cannot be written: File"):
            write_whole(target, b"rows = []")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert not list(tmp_path.iterdir())
