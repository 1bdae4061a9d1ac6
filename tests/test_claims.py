"""A folder that one run writes to."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from vitconvert import CheckpointError
from vitconvert.claims import check_unclaimed, claimed

NOBODY = 2**22 + 1  # more than any process number of Linux


@contextmanager
def raised(text: str) -> Iterator[None]:
    """Expect an error that begins so."""
    with pytest.raises(CheckpointError, match=text):
        yield


def claim_of(folder: Path, process: int, host: str) -> None:
    """Leave a claim behind, as a process does that is killed."""
    folder.mkdir()
    text = f"process {process} on {host} since 2026-01-02 03:04:05\n"
    (folder / ".claim").write_text(text)


@pytest.mark.parametrize("as_whole", [False, True])
def test_a_second_run_is_refused_and_told_who_writes_there(tmp_path: Path, as_whole: bool) -> None:
    """At once, and while it is asked nothing is made; afterwards the next one may."""
    folder = tmp_path / "run"
    taken = rf"run: process {os.getpid()} on \S+ since .* writes there\. Wait for it to end"
    with claimed(folder, as_whole=as_whole):
        before = sorted(tmp_path.rglob("*"))
        with raised(taken), claimed(folder, as_whole=as_whole):
            pytest.fail("two have claimed it")
        with raised(taken):
            check_unclaimed(folder, as_whole=as_whole)
        assert sorted(tmp_path.rglob("*")) == before

    assert not list(tmp_path.iterdir())
    check_unclaimed(folder, as_whole=as_whole)
    with claimed(folder, as_whole=as_whole):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_stays_if_it_holds_something_or_was_there(tmp_path: Path) -> None:
    """Whatever the run came to."""
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "used"):
        with raised("stop"), claimed(tmp_path / name):
            if name == "used":
                (tmp_path / name / "file").touch()
            raise CheckpointError("stop")

    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "empty",
        "used",
        "used/file",
    ]


def test_the_claim_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    """Not even if its number and machine are those of a process that lives."""
    claim_of(tmp_path / "run", os.getpid(), gethostname())
    check_unclaimed(tmp_path / "run")
    with claimed(tmp_path / "run"):
        assert f"process {os.getpid()} on " in (tmp_path / "run" / ".claim").read_text()

    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("process", "host", "refused"),
    [(0, "", True), (NOBODY, "", False), (NOBODY, "elsewhere", True)],
)
def test_where_no_locks_are_known_the_process_is_looked_for(
    process: int, host: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this machine; what another one does cannot be known, so the message says what to do."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    process = process or os.getpid()
    claim_of(tmp_path / "run", process, host or gethostname())
    if refused:
        with raised(rf"process {process} .* If it has ended, remove .*run/\.claim\.$"):
            check_unclaimed(tmp_path / "run")
    else:
        with claimed(tmp_path / "run"):
            pass


def test_who_waits_for_the_lock_sees_that_the_claim_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner removes it between the opening and the locking; a lock on that file is nothing."""
    claim_of(tmp_path / "run", NOBODY, "here")
    lock, calls = fcntl.flock, list[int]()

    def late(handle: int, how: int) -> None:
        if not calls:
            (tmp_path / "run" / ".claim").unlink()
        calls.append(handle)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with claimed(tmp_path / "run"), raised("writes there"):
        assert len(calls) == 2
        check_unclaimed(tmp_path / "run")


def test_a_claim_that_is_no_file_is_named(tmp_path: Path) -> None:
    """Nothing waits for a pipe, and nothing is written through a link."""
    for name in ("pipe", "link"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / ".claim")
    (tmp_path / "link" / ".claim").symlink_to(tmp_path / "other")
    with raised(r"pipe/\.claim: is not a file"), claimed(tmp_path / "pipe"):
        pass
    with raised("link: cannot be written"), claimed(tmp_path / "link"):
        pass

    assert not (tmp_path / "other").exists()


def test_a_full_disk_is_said_at_once_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before hours of work, not after them."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    said = "run: cannot be written: No space left on device. Make room"
    with raised(said), claimed(tmp_path / "run"):
        pytest.fail("it went on")

    assert not list(tmp_path.iterdir())
