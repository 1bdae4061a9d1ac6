"""Start workers, give them jobs, hear what they say, and leave none behind.

A worker is a process of its own with one framework in it, see `worker`. `run` starts one for each
task and ends it afterwards. Within `keep_workers()` it does not: an idle worker stays and gets the
next task that it suits, which saves importing the framework, 2 to 5 seconds on two cores:

    with keep_workers():
        check_parity(...)  # starts two workers
        check_parity(...)  # uses them again
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ..errors import RunError, listing
from ..sides import NAMES, Side
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
        own: Whose models it runs, if they are the user's own. Their modules stay imported: such a
            worker is kept only for the same ones, and only where `keep_workers` was told so.
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
                stdin=subprocess.PIPE,  # held open: its end tells the worker that we are gone
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

    def start(self, program: str, job: Mapping[str, Any]) -> None:
        """Let it carry out a job; `hear` or `answer` tells how that went."""
        self.send([program, job])

    def send(self, message: object) -> None:
        """Send one message; if the process has ended, `hear` says why."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def hear(self) -> tuple[bool, Any]:
        """Wait for the next message.

        Returns:
            Whether the job is done, and its answer, or what is told meanwhile.

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
                raise RunError(what)
            return kind == "done", what
        status = self._process.wait()
        self._stderr.seek(0)
        printed = self._stderr.read().decode(errors="replace").strip().splitlines()
        heading = f"the {NAMES[self.side]} process ended with status {status}. It printed:"
        raise RunError(listing(heading, printed[-_LAST_LINES:]))

    def answer(self, told: Callable[[Any], None]) -> Any:
        """Wait until a job is done; what is told meanwhile goes to `told`.

        Raises:
            RunError: As of `hear`.
        """
        while True:
            is_done, what = self.hear()
            if is_done:
                return what
            told(what)


_Key = tuple[Any, ...]


class _Pool:
    """Idle workers that wait for another task that they suit."""

    def __init__(self, own_models: bool) -> None:
        self.own_models, self.idle = own_models, dict[_Key, list[Worker]]()

    def take(self, key: _Key) -> Worker | None:
        """Give a worker that is alive, which is then the caller's."""
        while self.idle.get(key):
            worker = self.idle[key].pop()
            if worker.is_alive:
                return worker
            worker.end()
        return None

    def close(self) -> None:
        """End all."""
        for workers in self.idle.values():
            for worker in workers:
                worker.end()


_pools: list[_Pool] = []  # the innermost last


@contextmanager
def keep_workers(own_models: bool = False) -> Iterator[None]:
    """Keep the workers that `run` starts for the tasks that follow; they end with this context.

    A worker serves any number of jobs, of any shipped variants, and builds each model anew. It has
    the environment of when it was started, but for what `run` sets itself: the interpreter, the
    number of threads and TF32 are those of the task, or it gets another worker. One whose process
    ended, or that was busy when something failed, is not used again.

    Args:
        own_models: Whether models of the user's are kept, too. Their modules are imported once: it
            is for callers who know that the code stays what it is meanwhile.
    """
    pool = _Pool(own_models)
    _pools.append(pool)
    try:
        yield
    finally:
        _pools.remove(pool)
        pool.close()


def run(tasks: Sequence[Task], hear: Callable[[Side, Any], None]) -> list[Any]:
    """Carry out tasks side by side, each in a process of its own.

    Args:
        tasks: At most one for each framework.
        hear: Called with the framework and what its worker tells.

    Returns:
        What each task gives.

    Raises:
        RunError: One failed, in the words of the worker; the others are ended.
    """
    pool = _pools[-1] if _pools else None
    heard: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
    workers = list[Worker]()
    ended = set[int]()  # the tasks whose worker waits for another one
    keys = [_key(task, len(tasks)) for task in tasks]
    listeners = list[threading.Thread]()

    def listen(number: int, worker: Worker) -> None:
        try:
            answer = worker.answer(lambda what: hear(tasks[number].side, what))
            heard.put((number, True, answer))
        except BaseException as error:
            heard.put((number, False, error))

    try:
        for number, (task, key) in enumerate(zip(tasks, keys, strict=True)):
            worker = pool.take(key) if pool else None
            worker = worker or Worker(task.side, _environment(task, len(tasks)), task.python)
            workers.append(worker)
            worker.start(task.program, task.job)
            listeners.append(threading.Thread(target=listen, args=(number, worker), daemon=True))
            listeners[-1].start()
        answers = dict[int, Any]()
        while len(ended) < len(tasks):
            number, is_done, what = heard.get()
            if is_done or isinstance(what, RunError):
                ended.add(number)
            if not is_done:
                raise what
            answers[number] = what
        return [answers[number] for number in range(len(tasks))]
    finally:
        for number, worker in enumerate(workers):
            if number not in ended:
                worker.kill()
        for listener in listeners:
            listener.join()
        for task, key, worker in zip(tasks, keys, workers, strict=False):
            if pool is not None and worker.is_alive and (pool.own_models or not task.own):
                pool.idle.setdefault(key, []).append(worker)
            else:
                worker.end()


def _key(task: Task, count: int) -> _Key:
    """Say what a worker must have in common with a task."""
    return task.side, task.python, task.own, *sorted(_environment(task, count).items())


def _environment(task: Task, count: int) -> dict[str, str]:
    """Set what must be set before a framework is imported."""
    threads = max(1, (os.cpu_count() or 1) // count)
    chosen = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    chosen["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
    if not task.tf32:
        chosen["NVIDIA_TF32_OVERRIDE"] = "0"
    return chosen
