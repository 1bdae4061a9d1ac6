"""A model in a process of its own, which runs one batch after another.

The process builds the model and reports what it runs on. Then every message asks for a batch, whose
images lie in memory that both processes share, so that nothing is copied twice; the logits are left
behind the images, and the answer reports their shape.
"""

import mmap
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RunError, brief
from ...running.process import Worker
from ...running.setup import Setup, read_setup
from ...running.side import AnySide, TorchSide, as_function, make_side
from ...running.worker import Parent
from ...sides import NAMES

Run = Callable[[np.ndarray], np.ndarray]
GpuPeak = Callable[[], int]  # bytes


@dataclass(frozen=True)
class Task:
    """The work of one process.

    Attributes:
        setup: Model, weights and device.
        dtype: "float32" or "float64".
        engine: "eager", or "inference" for the deployed form.
        exported: Folder with the deployed form, for "inference"; made if it is not there.
        shape: Of the largest batch, [B, 3, H, W].
        threads: Threads of the processor.
    """

    setup: Setup
    dtype: str
    engine: str
    exported: str
    shape: Sequence[int]
    threads: int

    def bytes(self, num_classes: int) -> int:
        """Compute the size of the memory that both processes share."""
        return 4 * int(np.prod(self.shape)) + 8 * self.shape[0] * num_classes


@dataclass(frozen=True)
class Answer:
    """The logits of a batch, [B, num_classes], and the seconds they took."""

    logits: np.ndarray
    seconds: float
    peak_bytes: Mapping[str, int]


class Engine:
    """The process of one side.

    Attributes:
        facts: Versions, device, threads, once `wait` has returned.
        num_classes: Size of the head, then.
    """

    def __init__(self, task: Task) -> None:
        """Start the process; it builds the model while the caller continues."""
        self.task, self.facts, self.num_classes = task, dict[str, Any](), 0
        self.handle = os.memfd_create("vitconvert")
        self.memory: mmap.mmap | None = None
        environment = _environment(task.threads)
        self.worker = Worker(task.setup.framework, environment, pass_fds=[self.handle])
        self.worker.send([__name__, {"task": asdict(task), "memory": self.handle}])

    def close(self) -> None:
        """End the process."""
        self.worker.end()
        if self.memory is not None:
            self.memory.close()
        os.close(self.handle)

    def wait(self) -> None:
        """Wait until the model is ready.

        Raises:
            RunError: It cannot be built or run here.
        """
        self.facts = self.worker.hear()[1]
        self.num_classes = self.facts.pop("num_classes")
        self.memory = mmap.mmap(self.handle, self.task.bytes(self.num_classes))

    def run(self, images: np.ndarray, repeat: bool) -> Answer:
        """Run the model on a batch.

        Args:
            images: float32 [B, 3, H, W].
            repeat: Whether to run it twice and time the second, to warm up.

        Raises:
            RunError: The model does not take these images, or its process has ended.
        """
        assert self.memory is not None
        self.memory[: images.nbytes] = images.tobytes()
        self.worker.send([images.shape, repeat])
        answer = self.worker.hear()[1]
        shape, dtype = tuple(answer["shape"]), np.dtype(self.task.dtype)
        found = np.frombuffer(self.memory, dtype, int(np.prod(shape)), images.nbytes)
        return Answer(found.reshape(shape).copy(), answer["seconds"], answer["peak_bytes"])


def _environment(threads: int) -> dict[str, str]:
    """Return what must be set before a framework is imported."""
    # Threads that wait must not spin: Paddle's would for 200 ms after their work, in which the
    # other side is being timed, and PyTorch's take the core from the one that they wait for
    # where anything else runs (190 images a second instead of 1,050).
    chosen = {"OMP_NUM_THREADS": str(threads), "KMP_BLOCKTIME": "1"}
    usual = {"OMP_WAIT_POLICY": "PASSIVE", "NVIDIA_TF32_OVERRIDE": "0"}
    return chosen | {name: os.environ.get(name, value) for name, value in usual.items()}


def carry_out(data: dict[str, Any], parent: Parent) -> None:
    """Build a model, then serve batches for as long as the process lives.

    Raises:
        RunError: The model cannot be built, or not run on these images.
    """
    task = Task(**data["task"] | {"setup": read_setup(data["task"]["setup"])})
    try:
        run, facts, gpu_peak = _ready(task)
        num_classes = task.setup.subject.num_classes or _count_classes(run, task)
        os.ftruncate(data["memory"], task.bytes(num_classes))
        memory = mmap.mmap(data["memory"], 0)  # for as long as this process lives
        parent.tell(facts | {"num_classes": num_classes})
        _serve(memory, run, num_classes, task, gpu_peak, parent)
    except (OSError, MemoryError, ValueError, RuntimeError) as error:
        reason = "out of memory" if isinstance(error, MemoryError) else brief(error)
        name = NAMES[task.setup.framework]
        size = "x".join(map(str, task.shape[2:]))
        raise RunError(
            f"the {name} model cannot run on these images: {reason} (they are {size} pixels; "
            f"--image-size gives another size)"
        ) from error


def _ready(task: Task) -> tuple[Run, dict[str, Any], GpuPeak]:
    """Build and fill the model; return what it runs on, and what gives the memory of a GPU."""
    if task.engine == "inference":
        return _deployed(task)
    side = make_side(task.setup)
    if isinstance(side, TorchSide):
        side.library.set_num_threads(task.threads)
        if side.device == "cuda":  # each process of a launcher has its own
            side.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    run = as_function(side, side.model(task.dtype), task.dtype)
    return run, {**side.environment(), "read_by": side.reader}, lambda: _gpu_peak(side)


def _count_classes(run: Run, task: Task) -> int:
    """Find the size of the head of a model of the user's: it is run on one blank image."""
    logits = run(np.zeros((1, *task.shape[1:]), np.float32))
    _check_logits(logits.shape, (1, logits.shape[-1] if logits.ndim else 0), task)
    return int(logits.shape[1])


def _check_logits(found: tuple[int, ...], expected: tuple[int, int], task: Task) -> None:
    """Refuse an output that is not a row of logits for each image."""
    if found != expected or not all(found):
        raise RunError(
            f"{task.setup.subject.name} gives {list(found)} for images "
            f"{[expected[0], *task.shape[1:]]}; expected logits [{expected[0]}, classes]."
        )


def _deployed(task: Task) -> tuple[Run, dict[str, Any], GpuPeak]:
    """Load the deployed form of a model, made first if there is none."""
    from ..deploy import Predictor, export

    setup = task.setup
    if not Path(task.exported).exists():
        height, width = task.shape[2:]
        export(setup.subject.name, setup.checkpoint, task.exported, image_size=(height, width))
    predictor = Predictor(task.exported, device=setup.device, threads=task.threads)
    facts = dict(predictor.environment)
    facts[facts.pop("framework")] = facts.pop("version")
    return predictor, facts, lambda: 0


def _gpu_peak(side: AnySide) -> int:
    """Return the most bytes that were held on a GPU; 0 without one."""
    if side.device == "cpu":
        return 0
    return int(side.cuda.max_memory_allocated())


def _serve(
    memory: mmap.mmap, run: Run, num_classes: int, task: Task, gpu_peak: GpuPeak, parent: Parent
) -> None:
    """Answer one message after another: [shape, repeat] -> logits, their shape and the seconds."""
    for shape, repeat in parent:
        images = np.frombuffer(memory, np.float32, int(np.prod(shape))).reshape(shape)
        if repeat:  # allocating and choosing, done once only, are not timed
            run(images)
        start = time.perf_counter()
        logits = np.ascontiguousarray(run(images), task.dtype)
        seconds = time.perf_counter() - start
        _check_logits(logits.shape, (len(images), num_classes), task)
        memory[images.nbytes : images.nbytes + logits.nbytes] = logits.tobytes()
        held = {"process": _most_held()}
        if on_gpu := gpu_peak():
            held["gpu"] = on_gpu
        parent.tell({"shape": logits.shape, "seconds": seconds, "peak_bytes": held})


def _most_held() -> int:
    """Return the most bytes that this process held so far; getrusage counts its parent's, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(w.split()[1]) << 10 for w in status.splitlines() if w.startswith("VmHWM"))
