"""Run workers, each in a process of its own, watch over them, and leave none behind."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from .._errors import ModelError, ParityError, listing
from .._kinds import Side
from .._models import require
from ._job import FAILURE, ROOM, Job
from ._trace import FILE

Progress = Callable[[str, int, int], None]

_OLDEST = (3, 11)
_PREFIX = ".vitconvert-parity-"  # of folders for traces
_FRESH = 60.0  # seconds
_PACKAGES = ("checkpoints", "parity", "proposal", "mappings", "models_torch", "models_paddle")
# What another interpreter says of itself: its version, and which of these packages it has.
_ASK = (
    "import sys, json, importlib.util as u;"
    "print(json.dumps([sys.version_info[:2], [n for n in sys.argv[1:] if u.find_spec(n) is None]]))"
)


def run(jobs: Sequence[Job], pythons: dict[Side, str | None], meter: "Meter") -> None:
    """Carry out jobs side by side, each in its own process.

    Args:
        jobs: At most one for each framework.
        pythons: Side -> interpreter, if it is another than this one.
        meter: Shows the progress.

    Raises:
        ParityError: A process failed; the others are ended.
    """
    meter.expect(len(jobs))
    with ExitStack() as stack:
        workers = []
        for job in jobs:
            python = pythons.get(job.framework)
            command, path = [sys.executable], None
            if python is not None:
                command, path = [python], stack.enter_context(importable())
            workers.append(stack.enter_context(_running(job, command, path, meter, len(jobs))))
        while sum(worker.check() for worker in workers) < len(workers):
            time.sleep(0.02)


def check_pythons(pythons: dict[Side, str | None]) -> None:
    """Check that every interpreter has what its worker needs, before anything runs.

    Raises:
        ModelError: It is too old, or a package is missing.
    """
    for side, python in pythons.items():
        if python is None:
            require(side)
            continue
        try:
            asked = subprocess.run(
                [python, "-P", "-c", _ASK, "numpy", side],
                capture_output=True,
                text=True,
                check=True,
            )
            version, missing = json.loads(asked.stdout)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise ModelError(
                f"--{side}-python {python}: is no Python 3.11 or newer that runs: "
                f"{said.strip().splitlines()[-1]}"
            ) from error
        if tuple(version) < _OLDEST:
            found = ".".join(map(str, version))
            raise ModelError(f"--{side}-python {python}: is Python {found}; 3.11 is needed.")
        if missing:
            raise ModelError(f"--{side}-python {python}: has no {' and no '.join(missing)}.")


@contextmanager
def importable() -> Iterator[str]:
    """Give a folder in which another interpreter finds this very vitconvert, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="vitconvert-path-") as name:
        package = Path(name) / "vitconvert"
        package.mkdir()
        for folder in import_module("vitconvert").__path__:
            for entry in Path(folder).glob("*.py"):
                (package / entry.name).symlink_to(entry.resolve())
        for part in _PACKAGES:
            (folder,) = import_module(f"vitconvert.{part}").__path__
            (package / part).symlink_to(Path(folder).resolve(), target_is_directory=True)
        yield name


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Mark a folder as in use for as long as this process lives."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot lock
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what runs have left that were killed; it may be many GB."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < _FRESH:  # perhaps not locked yet
                continue
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Make a folder for traces, and take it away again with all that is in it.

    Args:
        within: Folder to make it in; that of temporary files if None.

    Raises:
        ParityError: There is no room for it.
    """
    try:
        folder = None if within is None else within.absolute()
        _sweep(folder or Path(tempfile.gettempdir()))
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name, held(Path(name)):
            yield Path(name)
    except OSError as error:
        raise ParityError(
            f"the traces cannot be written to {within or tempfile.gettempdir()}: "
            f"{error.strerror or error}. {ROOM}"
        ) from error


class Meter:
    """Adds up the progress of all workers for one display."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.expected = 0
        self.amounts: dict[Side, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def expect(self, workers: int) -> None:
        self.expected = workers
        names = {1: "starting the framework", 2: "starting PyTorch and Paddle"}
        self.tell(names[workers], 0, 1)

    def tell(self, text: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(text, done, total)

    def worker(self, side: Side, done: int, total: int) -> None:
        with self.lock:
            self.amounts[side] = (done, total)
            if len(self.amounts) == self.expected:
                dones, totals = zip(*self.amounts.values(), strict=True)
                text = "running both models" if self.expected > 1 else "running the model"
                self.tell(text, sum(dones), sum(totals))


class _Worker:
    """One process that writes a trace."""

    def __init__(
        self, job: Job, command: Sequence[str], path: str | None, meter: Meter, count: int
    ) -> None:
        self.job = job
        self.reason = ""
        # Beside the trace, not in it.
        job_file, self.stderr = (Path(f"{job.out}.{end}") for end in ("job.json", "stderr.txt"))
        job_file.write_text(json.dumps(asdict(job)))
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                # -P: a numpy.py in the folder that the user is in is not NumPy.
                [*command, "-P", "-m", "vitconvert.parity._worker", str(job_file)],
                stdin=subprocess.PIPE,  # held open: its end tells the worker that we are gone
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(job, path, count),
                text=True,
            )
        self.reader = threading.Thread(target=self._listen, args=(meter,), daemon=True)
        self.reader.start()

    def _listen(self, meter: Meter) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # something else prints as Python starts
                continue
            if isinstance(message, str):
                self.reason = message
            else:
                meter.worker(self.job.framework, *message)

    def check(self) -> bool:
        """Tell whether the trace is written.

        Raises:
            ParityError: The process failed; with its own words, or the end of what it printed.
        """
        status = self.process.poll()
        if status is None:
            return False
        self.reader.join()
        if status == FAILURE and self.reason:
            raise ParityError(self.reason)
        if status or not (Path(self.job.out) / FILE).exists():
            printed = self.stderr.read_text(errors="replace").strip().splitlines()
            raise ParityError(
                listing(
                    f"the {self.job.framework} process ended with status {status}. It printed:",
                    printed[-12:],
                )
            )
        return True


@contextmanager
def _running(
    job: Job, command: Sequence[str], path: str | None, meter: Meter, count: int
) -> Iterator[_Worker]:
    """Start a worker and make sure that it does not outlive the check."""
    worker = _Worker(job, command, path, meter, count)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()
        worker.reader.join()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()


def _environment(job: Job, path: str | None, count: int) -> dict[str, str]:
    """Set what must be set before a framework is imported."""
    threads = max(1, (os.cpu_count() or 1) // count)
    chosen = {"PYTHONWARNINGS": "ignore", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    if not job.tf32:
        chosen["NVIDIA_TF32_OVERRIDE"] = "0"
    if path is not None:
        chosen["PYTHONPATH"] = path
    return {"OMP_NUM_THREADS": str(threads), **os.environ, **chosen}
