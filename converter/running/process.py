"""Start workers, send them jobs, hear what they report, and leave none behind.

A worker is a process of its own with one framework in it, see `worker`. `run` starts one for each
task and ends it afterwards. Within `keep_workers()` it does not: an idle worker stays and gets the
next task that it suits, which saves importing the framework, 2 to 5 seconds on two cores:

    with keep_workers():
        check_parity(...)  # starts two workers
        check_parity(...)  # uses them again
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from ..errors import RunError, listing
from ..lines import Lines
from ..sides import NAMES, Side
from ..tables.reading import FOLDERS
from .interpreters import importable

_LAST_LINES = 12  # of what a process printed before it ended


@dataclass(frozen=True)
class Task:
    """What one worker does.

    Attributes:
        side: The framework that it imports.
        program: The module whose `carry_out(job, parent)` it calls.
        job: What that is given; it travels as JSON.
        python: Its interpreter; this one if None.
        tf32: Whether a GPU may compute float32 in TF32.
        own: Which models it runs, if they are the user's own. Their modules stay imported: such a
            worker is kept only for the same ones, and only by `keep_workers(own_models=True)`.
    """

    side: Side
    program: str
    job: dict[str, Any] = field(hash=False)
    python: str | None = None
    tf32: bool = False
    own: str = ""


class Worker:
    """One process with one framework; whoever starts it ends it."""

    def __init__(
        self,
        side: Side,
        environment: Mapping[str, str],
        python: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start the process.

        Args:
            side: The framework that it imports.
            environment: What is set before that, besides what is set here.
            python: Its interpreter; this one if None.
            pass_fds: Descriptors that it keeps open.
        """
        self.side = side
        with ExitStack() as stack:
            self._stderr = stack.enter_context(tempfile.TemporaryFile())
            chosen = {"PYTHONWARNINGS": "ignore", **environment}
            if python is not None:
                chosen["PYTHONPATH"] = stack.enter_context(importable())
            self._process = subprocess.Popen(
                # -P: a numpy.py in the folder that the user is in is not NumPy.
                [python or sys.executable, "-P", "-m", "vitconvert.running.worker", side],
                stdin=subprocess.PIPE,  # stays open: its end tells the worker that we are gone
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                pass_fds=pass_fds,
                env={**os.environ, **chosen},
                text=True,
            )
            self._stack = stack.pop_all()

    def end(self) -> None:
        """End the process, and let go of what belongs to it."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what it did not take any more
                    pipe.close()
        self._stack.close()

    def kill(self) -> None:
        """End the process; who listens to it hears of that."""
        self._process.kill()
        self._process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def send(self, message: object) -> None:
        """Send one message; if the process has ended, `hear` says why."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def hear(self) -> tuple[bool, Any]:
        """Wait for the next message.

        Returns:
            Whether the job is done, and its answer, or what the worker reports meanwhile.

        Raises:
            RunError: The job failed, or the process ended; with its own words, or the end of what
                it printed.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                kind, what = json.loads(line)
            except (TypeError, ValueError):  # something else prints as Python starts
                continue
            if kind == "failed":
                raise RunError(Lines(what))  # as the worker raised it
            return kind == "done", what
        status = self._process.wait()
        self._stderr.seek(0)
        printed = self._stderr.read().decode(errors="replace").strip().splitlines()
        how = f"ended with status {status}" if status >= 0 else f"was killed by {_signal(-status)}"
        heading = f"the {NAMES[self.side]} process {how}." + (" It printed:" if printed else "")
        raise RunError(listing(heading, printed[-_LAST_LINES:]))


def _signal(number: int) -> str:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"{name}, as the system does when memory runs out" if name == "SIGKILL" else name


_Key = tuple[Any, ...]  # what a worker must have in common with a task


@dataclass(frozen=True, eq=False)
class _Pool:
    """Idle workers that wait for another task that they suit."""

    own_models: bool
    idle: dict[_Key, list[Worker]] = field(default_factory=lambda: defaultdict(list))

    def take(self, key: _Key) -> Worker | None:
        """Return a worker that is alive, which is then the caller's."""
        while self.idle[key]:
            worker = self.idle[key].pop()
            if worker.is_alive:
                return worker
            worker.end()
        return None


_pools: list[_Pool] = []  # the innermost last


@contextmanager
def keep_workers(own_models: bool = False) -> Iterator[None]:
    """Keep the workers that `run` starts for the tasks that follow; they end with this context.

    A worker serves any number of jobs, of any shipped variants, and builds each model anew. It has
    the environment of when it was started, but for what `run` sets itself: the interpreter, the
    number of threads and TF32 are those of the task, or it gets another worker. One whose process
    ended, or that was busy when something failed, is not used again.

    Args:
        own_models: Whether to keep workers with the user's own models, too. Their modules are
            imported once: it is for callers who know that the code stays the same meanwhile.
    """
    pool = _Pool(own_models)
    _pools.append(pool)
    try:
        yield
    finally:
        _pools.remove(pool)
        for worker in chain.from_iterable(pool.idle.values()):
            worker.end()


def run(tasks: Sequence[Task], hear: Callable[[Side, Any], None]) -> list[Any]:
    """Carry out tasks side by side, each in a process of its own.

    Args:
        tasks: At most one for each framework.
        hear: Called with the framework and what its worker reports.

    Returns:
        The answer to each task.

    Raises:
        RunError: One failed, in the words of the worker; the others are ended.
    """
    pool = _pools[-1] if _pools else None
    chosen = [_environment(task, len(tasks)) for task in tasks]
    keys = [
        (t.side, t.python, t.own, *sorted(c.items())) for t, c in zip(tasks, chosen, strict=True)
    ]
    workers, answers = list[Worker](), list[Future[Any]]()

    def listen(worker: Worker) -> Any:
        is_done, what = worker.hear()
        while not is_done:
            hear(worker.side, what)
            is_done, what = worker.hear()
        return what

    threads = ThreadPoolExecutor(len(tasks))
    try:
        for task, environment, key in zip(tasks, chosen, keys, strict=True):
            worker = pool.take(key) if pool else None
            worker = worker or Worker(task.side, environment, task.python)
            workers.append(worker)
            worker.send([task.program, task.job])
            answers.append(threads.submit(listen, worker))
        for answer in as_completed(answers):
            answer.result()
        return [answer.result() for answer in answers]
    finally:
        for worker, answer in zip_longest(workers, answers):
            is_idle = answer is not None and answer.done()
            if not is_idle or not isinstance(answer.exception(), RunError | None):
                worker.kill()
        threads.shutdown()
        for task, key, worker in zip(tasks, keys, workers, strict=False):
            if pool is not None and worker.is_alive and (pool.own_models or not task.own):
                pool.idle[key].append(worker)
            else:
                worker.end()


def _environment(task: Task, count: int) -> dict[str, str]:
    """Set what must be set before a framework is imported."""
    threads = max(1, (os.cpu_count() or 1) // count)
    chosen = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    chosen["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
    if not task.tf32:
        chosen["NVIDIA_TF32_OVERRIDE"] = "0"
    chosen[FOLDERS] = os.environ.get(FOLDERS, "")  # a kept worker knows no other families
    return chosen
