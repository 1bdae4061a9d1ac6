"""Run a command in its own process and measure its time or its memory."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import DEVNULL

_STEP = 1 << 24


def seconds(command: Sequence[str]) -> float:
    """Measure how long a command takes, from start to end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=DEVNULL, stderr=DEVNULL)
    return time.perf_counter() - start


def memory(command: Sequence[str]) -> dict[str, int]:
    """Measure the peak memory of a command, in bytes; each figure peaks independently.

    VmHWM is the total, as the system counts it. RssAnon is the command's own memory and RssFile the
    files it maps, such as libraries; these two are sampled every millisecond.
    """
    peaks = {"VmHWM": 0, "RssAnon": 0, "RssFile": 0}
    with subprocess.Popen(command, stdout=DEVNULL, stderr=DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text(encoding="utf-8").splitlines():
                word, _, amount = line.partition(":")
                if word in peaks:
                    peaks[word] = max(peaks[word], int(amount.split()[0]) << 10)
            time.sleep(0.001)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return peaks


def warm(path: Path) -> None:
    """Read a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(_STEP)
        while file.readinto(buffer):
            pass


def chill(path: Path) -> None:
    """Remove a file from the page cache and verify that it is gone."""
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for at in range(0, path.stat().st_size, _STEP):
            try:
                os.preadv(file.fileno(), [bytearray(1)], at, os.RWF_NOWAIT)
            except BlockingIOError:
                continue
            sys.exit(f"{path}: byte {at} is still in the page cache")


def _used() -> float:
    """Give the CPU seconds used by everything but this process and its children."""
    words = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _waiting, *more = (int(word) for word in words[:8])
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK") - own


def watch_others() -> Callable[[], float]:
    """Watch other processes from now on; the result gives how many cores they took on average."""
    start, used = time.perf_counter(), _used()
    return lambda: (_used() - used) / (time.perf_counter() - start)
