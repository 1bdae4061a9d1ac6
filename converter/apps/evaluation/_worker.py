"""Run one framework's model on batches of images.

This is the program of the workers, `python -m vitconvert.apps.evaluation._worker TASK`. Each
imports one framework, and says first what it runs on. Then a line on stdin asks for a batch, whose
images lie in memory that both processes share; the logits are left behind the images, and a line on
stdout says so. The end of stdin ends the process.
"""

import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ...checkpoints import open_checkpoint
from ...errors import VitconvertError
from ...running.job import FAILURE, Job, read_job
from ...running.paddle_side import PaddleSide
from ...running.side import make_side
from ...running.torch_side import TorchSide
from ...running.worker import tell

Run = Callable[[np.ndarray], np.ndarray]
GpuPeak = Callable[[], int]  # bytes


@dataclass(frozen=True)
class Task:
    """What one worker does.

    Attributes:
        job: Framework, model, weights and device.
        dtype: "float32" or "float64".
        engine: "eager", or "inference" for the deployed form.
        exported: Folder with the deployed form, for "inference"; made if it is not there.
        image_size: Height and width in pixels.
        memory: Descriptor of the shared memory.
        size: Its bytes.
        threads: Of the processor.
    """

    job: Job
    dtype: str
    engine: str
    exported: str
    image_size: tuple[int, int]
    memory: int
    size: int
    threads: int


def read_task(text: str) -> Task:
    """Make a task of JSON."""
    data = json.loads(text)
    return Task(**data | {"job": read_job(data["job"]), "image_size": (*data["image_size"],)})


def main(text: str) -> None:
    """Serve batches until nobody asks for more; the exit status of a foreseeable failure is 3."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when to end
    task = read_task(text)
    # Frameworks print to stdout as they please; answers get a descriptor of their own.
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        run, facts, gpu_peak = _ready(task)
        tell(say, facts)
        serve(task, run, gpu_peak, say)
    except (VitconvertError, OSError, MemoryError, ValueError, RuntimeError) as error:
        tell(say, _reason(error, task))
        sys.exit(FAILURE)


def _reason(error: BaseException, task: Task) -> str:
    """Say why nothing more comes; frameworks go on to show the place in their own source."""
    text = str(error).partition("\n  [Hint")[0].strip() or "out of memory"
    if isinstance(error, VitconvertError):
        return text
    return f"the {task.job.framework} model cannot run on these images: {text}"


def _ready(task: Task) -> tuple[Run, dict[str, Any], GpuPeak]:
    """Build and fill the model; say what it runs on, and how to ask for the memory of a GPU."""
    if task.engine == "inference":
        return _deployed(task)
    table = task.job.subject.read_table()
    side = make_side(task.job, table, open_checkpoint(task.job.checkpoint, task.job.weights))
    if isinstance(side, TorchSide):
        side.torch.set_num_threads(task.threads)
        if side.device == "cuda":  # of the processes that a launcher starts each has its own
            side.torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    model = side.model(task.dtype)

    def run(images: np.ndarray) -> np.ndarray:
        with side.no_grad():
            return side.array(model(side.put(images.astype(task.dtype, copy=False))))

    facts = {**side.environment(), "read_by": side.reader}
    return run, facts, lambda: _gpu_peak(side)


def _deployed(task: Task) -> tuple[Run, dict[str, Any], GpuPeak]:
    """Load the deployed form of a model, made first if there is none."""
    from ..deploy import Predictor, export

    job = task.job
    if not Path(task.exported).exists():
        export(job.subject.name, job.checkpoint, task.exported, image_size=task.image_size)
    predictor = Predictor(task.exported, device=job.device, threads=task.threads)
    facts = dict(predictor.environment)
    facts[facts.pop("framework")] = facts.pop("version")
    return predictor, facts, lambda: 0


def _gpu_peak(side: TorchSide | PaddleSide) -> int:
    """Give the most bytes that were held on a GPU; 0 without one."""
    if side.device == "cpu":
        return 0
    cuda: Any = side.torch.cuda if isinstance(side, TorchSide) else side.paddle.device.cuda
    return int(cuda.max_memory_allocated())


def serve(task: Task, run: Run, gpu_peak: GpuPeak, say: TextIO) -> None:
    """Answer one line after another: [shape, repeat] -> logits, their shape and the seconds."""
    memory = mmap.mmap(task.memory, task.size)  # for as long as this process lives
    for line in sys.stdin:
        shape, repeat = json.loads(line)
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
        tell(say, {"shape": logits.shape, "seconds": seconds, "peak_bytes": held})


def _most_held() -> int:
    """Give the most bytes that this process held so far; of getrusage it would be its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(w.split()[1]) << 10 for w in status.splitlines() if w.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1])
