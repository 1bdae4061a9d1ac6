"""Run a command in a process of its own and measure its time or its memory."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 24


@dataclass(frozen=True)
class Memory:
    """What a process held at most, in bytes; each is the peak of itself.

    Attributes:
        resident: All of it, as the system counts it (VmHWM).
        own: Its own, anonymous and shared (RssAnon, RssShmem), sampled.
        mapped: Pages of files that it maps, such as libraries (RssFile), sampled.
    """

    resident: int
    own: int
    mapped: int


def seconds(command: Sequence[str]) -> float:
    """Give how long a command takes, from its start to its end.

    Raises:
        CalledProcessError: It failed.
    """
    start = time.perf_counter()
    with _start(command) as process:
        process.wait()
        taken = time.perf_counter() - start
    _check(process)
    return taken


def memory(command: Sequence[str]) -> Memory:
    """Watch the memory of a command about every millisecond.

    Raises:
        CalledProcessError: It failed.
    """
    peaks = dict.fromkeys(("VmHWM", "RssAnon", "RssShmem", "RssFile"), 0)
    with _start(command) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text(encoding="utf-8").splitlines():
                word, _, amount = line.partition(":")
                if word in peaks:
                    peaks[word] = max(peaks[word], int(amount.split()[0]) << 10)
            time.sleep(0.001)
    _check(process)
    return Memory(peaks["VmHWM"], peaks["RssAnon"] + peaks["RssShmem"], peaks["RssFile"])


def warm(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(CHUNK)
        while file.readinto(buffer):
            pass


def chill(path: Path) -> None:
    """Take a file out of the page cache and make sure that it is gone."""
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for at in range(0, path.stat().st_size, CHUNK):
            try:
                os.preadv(file.fileno(), [bytearray(1)], at, os.RWF_NOWAIT)
            except BlockingIOError:
                continue
            sys.exit(f"{path}: byte {at} is still in the page cache")


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _check(process: subprocess.Popen[bytes]) -> None:
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
