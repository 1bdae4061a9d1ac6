"""A model in a process of its own, that is given one batch after another."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...running.process import Worker
from ...running.setup import Setup
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
        setup: Setup,
        *,
        dtype: str,
        engine: str,
        exported: str,
        threads: int,
        largest: tuple[int, int, int, int],
    ) -> None:
        """Start the process; it builds the model while the caller continues.

        Args:
            setup: Model, weights and device.
            dtype: "float32" or "float64".
            engine: "eager" or "inference".
            exported: Folder with the deployed form, for "inference"; made if it is not there.
            threads: Of the processor.
            largest: The largest batch, [B, 3, H, W].
        """
        self.dtype, self.facts = dtype, dict[str, Any]()
        size = 4 * int(np.prod(largest)) + 8 * largest[0] * max(setup.subject.num_classes, 1)
        self.handle = os.memfd_create("vitconvert")
        os.ftruncate(self.handle, size)
        self.memory = mmap.mmap(self.handle, size)
        task = Task(setup, dtype, engine, exported, largest[2:], self.handle, size, threads)
        self.worker = Worker(setup.framework, _environment(threads), pass_fds=[self.handle])
        self.worker.start("vitconvert.apps.evaluation._worker", asdict(task))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.worker.end()
        self.memory.close()
        os.close(self.handle)

    def wait(self) -> None:
        """Wait until the model is ready.

        Raises:
            RunError: It cannot be built or run here.
        """
        self.facts = self.worker.hear()[1]

    def run(self, images: np.ndarray, repeat: bool) -> Answer:
        """Run the model on a batch.

        Args:
            images: float32 [B, 3, H, W].
            repeat: Whether to run it twice and time the second, to warm up.

        Raises:
            RunError: The model does not take these images, or its process has ended.
        """
        self.memory[: images.nbytes] = images.tobytes()
        self.worker.send([images.shape, repeat])
        answer = self.worker.hear()[1]
        shape, dtype = tuple(answer["shape"]), np.dtype(self.dtype)
        found = np.frombuffer(self.memory, dtype, int(np.prod(shape)), images.nbytes)
        return Answer(found.reshape(shape).copy(), answer["seconds"], answer["peak_bytes"])


def _environment(threads: int) -> dict[str, str]:
    """Set what must be set before a framework is imported."""
    # Threads that wait must not spin: Paddle's would for 200 ms after their work, in which the
    # other side is being timed, and PyTorch's take the core from the one that they wait for
    # where anything else runs (190 images a second instead of 1,050).
    chosen = {"OMP_NUM_THREADS": str(threads), "KMP_BLOCKTIME": "1"}
    usual = {"OMP_WAIT_POLICY": "PASSIVE", "NVIDIA_TF32_OVERRIDE": "0"}
    return chosen | {name: os.environ.get(name, value) for name, value in usual.items()}
