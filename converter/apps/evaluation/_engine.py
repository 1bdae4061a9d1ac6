"""A model in a process of its own, that is given one batch after another."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...errors import RunError, listing
from ...running.job import Job
from ._worker import Task


@dataclass(frozen=True)
class Answer:
    """What a model made of a batch: logits [B, num_classes], and the seconds it took."""

    logits: np.ndarray
    seconds: float
    peak_bytes: Mapping[str, int]


class Engine:
    """Runs one side; to be used as a context, which ends the process.

    The images are handed over in memory that both processes see: nothing is copied twice.

    Attributes:
        facts: Versions, device, threads, once `wait` has returned.
    """

    def __init__(
        self,
        job: Job,
        *,
        dtype: str,
        engine: str,
        exported: str,
        threads: int,
        largest: tuple[int, int, int, int],
    ) -> None:
        """Start the process; it builds the model while the caller goes on.

        Args:
            job: Framework, model, weights and device.
            dtype: "float32" or "float64".
            engine: "eager" or "inference".
            exported: Folder with the deployed form, for "inference"; made if it is not there.
            threads: Of the processor.
            largest: The largest batch, [B, 3, H, W].
        """
        self.job, self.dtype, self.facts = job, dtype, dict[str, Any]()
        size = 4 * int(np.prod(largest)) + 8 * largest[0] * max(job.subject.num_classes, 1)
        self.handle = os.memfd_create("vitconvert")
        os.ftruncate(self.handle, size)
        self.memory = mmap.mmap(self.handle, size)
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
        images = largest[2:]
        task = Task(job, dtype, engine, exported, images, self.handle, size, threads)
        self.process = subprocess.Popen(
            # -P: a numpy.py in the folder that the user is in is not NumPy.
            [
                sys.executable,
                "-P",
                "-m",
                "vitconvert.apps.evaluation._worker",
                json.dumps(asdict(task)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            pass_fds=[self.handle],
            env=_environment(threads),
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.memory.close()
        os.close(self.handle)
        self.stderr.close()

    def wait(self) -> None:
        """Wait until the model is ready.

        Raises:
            RunError: It cannot be built or run here.
        """
        self.facts = self._read()

    def run(self, images: np.ndarray, repeat: bool) -> Answer:
        """Run the model on a batch.

        Args:
            images: float32 [B, 3, H, W].
            repeat: Whether to run it twice and time the second, to warm up.

        Raises:
            RunError: The model does not take these images, or its process has ended.
        """
        assert self.process.stdin is not None
        self.memory[: images.nbytes] = images.tobytes()
        try:
            self.process.stdin.write(json.dumps([images.shape, repeat]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it says why
        answer = self._read()
        shape, dtype = tuple(answer["shape"]), np.dtype(self.dtype)
        found = np.frombuffer(self.memory, dtype, int(np.prod(shape)), images.nbytes)
        return Answer(found.reshape(shape).copy(), answer["seconds"], answer["peak_bytes"])

    def _read(self) -> Any:
        """Read one line of what the process says; a text is the reason why it cannot go on."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            try:
                message = json.loads(line)
            except ValueError:  # something else prints as Python starts
                continue
            if isinstance(message, str):
                raise RunError(message)
            return message
        status = self.process.wait()
        self.stderr.seek(0)
        printed = self.stderr.read().decode(errors="replace").strip().splitlines()
        heading = f"the {self.job.framework} process ended with status {status}. It printed:"
        raise RunError(listing(heading, printed[-12:]))


def _environment(threads: int) -> dict[str, str]:
    """Set what must be set before a framework is imported."""
    chosen = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": str(threads)}
    # Threads that wait must not spin: Paddle's would for 200 ms after their work, in which the
    # other side is being timed, and PyTorch's take the core from the one that they wait for
    # where anything else runs (190 images a second instead of 1,050).
    chosen["KMP_BLOCKTIME"] = "1"
    if "OMP_WAIT_POLICY" not in os.environ:
        chosen["OMP_WAIT_POLICY"] = "PASSIVE"
    if "NVIDIA_TF32_OVERRIDE" not in os.environ:
        chosen["NVIDIA_TF32_OVERRIDE"] = "0"
    return {**os.environ, **chosen}
