"""Run workers, each in a process of its own, watch over them, and leave none behind."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from ..errors import ParityError, listing
from ..sides import Side
from ..terminal import Progress
from .interpreters import importable
from .job import FAILURE, TRACE, Job


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
                [*command, "-P", "-m", "vitconvert.parity._dump", str(job_file)],
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
        if status or not (Path(self.job.out) / TRACE).exists():
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
