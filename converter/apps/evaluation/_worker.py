"""Run one framework's model on batches of images: what the worker processes of eval do.

A worker builds the model and reports what it runs on. Then every message asks for a batch, whose
images lie in memory that both processes share; the logits are left behind the images, and the
answer says so.
"""

import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RunError
from ...running.setup import Setup, read_setup
from ...running.side import AnySide, as_function, make_side
from ...running.torch_side import TorchSide
from ...running.worker import Parent
from ...sides import NAMES

Run = Callable[[np.ndarray], np.ndarray]
GpuPeak = Callable[[], int]  # bytes


@dataclass(frozen=True)
class Task:
    """What one worker does.

    Attributes:
        setup: Model, weights and device.
        dtype: "float32" or "float64".
        engine: "eager", or "inference" for the deployed form.
        exported: Folder with the deployed form, for "inference"; made if it is not there.
        image_size: Height and width in pixels.
        memory: Descriptor of the shared memory.
        size: Its bytes.
        threads: Of the processor.
    """

    setup: Setup
    dtype: str
    engine: str
    exported: str
    image_size: tuple[int, int]
    memory: int
    size: int
    threads: int


def carry_out(data: dict[str, Any], parent: Parent) -> None:
    """Build a model, then serve batches for as long as the process lives.

    Raises:
        RunError: The model cannot be built, or not run on these images.
    """
    sizes = {"setup": read_setup(data["setup"]), "image_size": (*data["image_size"],)}
    task = Task(**data | sizes)
    try:
        run, facts, gpu_peak = _ready(task)
        parent.tell(facts)
        _serve(task, run, gpu_peak, parent)
    except (OSError, MemoryError, ValueError, RuntimeError) as error:
        # Frameworks append the place in their own source.
        reason = str(error).partition("\n  [Hint")[0].strip() or "out of memory"
        name = NAMES[task.setup.framework]
        raise RunError(f"the {name} model cannot run on these images: {reason}") from error


def _ready(task: Task) -> tuple[Run, dict[str, Any], GpuPeak]:
    """Build and fill the model; say what it runs on, and how to ask for the memory of a GPU."""
    if task.engine == "inference":
        return _deployed(task)
    side = make_side(task.setup)
    if isinstance(side, TorchSide):
        side.torch.set_num_threads(task.threads)
        if side.device == "cuda":  # of the processes that a launcher starts each has its own
            side.torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    run = as_function(side, side.model(task.dtype), task.dtype)
    return run, {**side.environment(), "read_by": side.reader}, lambda: _gpu_peak(side)


def _deployed(task: Task) -> tuple[Run, dict[str, Any], GpuPeak]:
    """Load the deployed form of a model, made first if there is none."""
    from ..deploy import Predictor, export

    setup = task.setup
    if not Path(task.exported).exists():
        export(setup.subject.name, setup.checkpoint, task.exported, image_size=task.image_size)
    predictor = Predictor(task.exported, device=setup.device, threads=task.threads)
    facts = dict(predictor.environment)
    facts[facts.pop("framework")] = facts.pop("version")
    return predictor, facts, lambda: 0


def _gpu_peak(side: AnySide) -> int:
    """Give the most bytes that were held on a GPU; 0 without one."""
    if side.device == "cpu":
        return 0
    cuda: Any = side.torch.cuda if isinstance(side, TorchSide) else side.paddle.device.cuda
    return int(cuda.max_memory_allocated())


def _serve(task: Task, run: Run, gpu_peak: GpuPeak, parent: Parent) -> None:
    """Answer one message after another: [shape, repeat] -> logits, their shape and the seconds."""
    memory = mmap.mmap(task.memory, task.size)  # for as long as this process lives
    for shape, repeat in parent:
        images = np.frombuffer(memory, np.float32, int(np.prod(shape))).reshape(shape)
        if repeat:  # what is done once only, allocating and choosing, is not timed
            run(images)
        start = time.perf_counter()
        logits = np.ascontiguousarray(run(images), task.dtype)
        seconds = time.perf_counter() - start
        memory[images.nbytes : images.nbytes + logits.nbytes] = logits.tobytes()
        held = {"process": _most_held()}
        if on_gpu := gpu_peak():
            held["gpu"] = on_gpu
        parent.tell({"shape": logits.shape, "seconds": seconds, "peak_bytes": held})


def _most_held() -> int:
    """Give the most bytes that this process held so far; of getrusage it would be its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(w.split()[1]) << 10 for w in status.splitlines() if w.startswith("VmHWM"))
