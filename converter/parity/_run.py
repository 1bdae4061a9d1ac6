"""Run both models in two processes, watch over them, and compare what they wrote."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from .._errors import CheckpointError, ParityError, listing
from .._fit import show_head
from .._models import check_side, require
from .._plan import Plan, check_paddle, make_plan, turn
from .._table import Side, Table, Variant, find_variant
from ..checkpoints import DTYPES, Checkpoint, Tensor, floats, open_checkpoint
from ._compare import Trace, compare
from ._report import Report
from ._trace import FAILURE, ROOM, Job

Device = Literal["auto", "cpu", "gpu"]
Progress = Callable[[str, int, int], None]

_SIDES: tuple[Side, Side] = ("torch", "paddle")


def check_parity(
    variant: str,
    *,
    torch_checkpoint: str | Path,
    paddle_checkpoint: str | Path,
    weights: str | None = None,
    paddle_weights: str | None = None,
    made_from: Side = "torch",
    device: Device = "auto",
    batch_size: int = 2,
    input_size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run a PyTorch and a Paddle checkpoint on the same images and compare layer by layer.

    Both run in float64, where two implementations of one function agree but for rounding, and in
    float32, where each side's error against float64 is measured. No tolerance is set by taste.

    Args:
        variant: For example "shunted_s".
        torch_checkpoint: The .pth or .safetensors.
        paddle_checkpoint: The .pdparams or .safetensors.
        weights: Key of the weights in the PyTorch file where it holds several.
        paddle_weights: The same for the Paddle file.
        made_from: Which file is the original; if the other was cast to a narrower dtype, the
            original's weights are rounded to it first.
        device: "cpu"; "gpu" for both sides; or "auto": each side's GPU where it has one.
        batch_size: Images.
        input_size: Height and width in pixels; the variant's own if None.
        progress: Called with a text, the amount done and the total.

    Returns:
        The report; `report.proved` is the verdict.

    Raises:
        CheckpointError: A file cannot be read, or its names and shapes do not fit.
        ConversionError: The PyTorch file does not fit the variant.
        ModelError: The variant is unknown or a framework not installed.
        ParityError: A side could not run, or an argument makes no sense.
    """
    start = time.monotonic()
    table, found = find_variant(variant)
    if device not in get_args(Device):
        raise ParityError(f"device is {device!r}; expected one of {', '.join(get_args(Device))}.")
    sizes = (batch_size, *(found.input_size if input_size is None else _pair(input_size)))
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ParityError(f"batch size, height and width are {sizes}; expected positive numbers.")
    for side in _SIDES:
        require(side)
    files: dict[Side, Path] = {"torch": Path(torch_checkpoint), "paddle": Path(paddle_checkpoint)}
    keys: dict[Side, str | None] = {"torch": weights, "paddle": paddle_weights}
    plan, source, target = _check_fit(table, found, files, keys)
    facts: dict[Side, dict[str, object]] = {
        "torch": {"file": str(files["torch"]), **_hashes(source)},
        "paddle": {"file": str(files["paddle"]), **_hashes(target)},
    }
    rounding = _rounding(plan, source, target, made_from)
    for side in _SIDES:
        if dtypes := sorted(set(rounding[side].values())):
            facts[side]["rounded_to"] = ", ".join(dtypes)
    differing = differing_weights(plan, source, target, rounding)
    shape = (sizes[0], 3, *sizes[1:])
    with _folder() as folder, ExitStack() as stack:
        inputs = _make_inputs(folder / "input.npy", variant, shape)
        meter = _Meter(progress)
        meter.tell("starting PyTorch and Paddle", 0, 1)
        workers = []
        for side in _SIDES:
            out = folder / side
            out.mkdir()
            job = Job(
                framework=side,
                variant=variant,
                checkpoint=str(files[side].absolute()),
                weights=keys[side],
                rounded=rounding[side],
                num_classes=plan.num_classes,
                device=device,
                inputs=str(folder / "input.npy"),
                out=str(out),
            )
            workers.append(stack.enter_context(_running(job, meter)))
        _wait(workers)
        torch, paddle = (Trace(folder / side) for side in _SIDES)
        results = compare(torch, paddle, differing, lambda n, of: meter.tell("comparing", n, of))
        layers = tuple(results)
    return Report(
        variant,
        layers,
        torch={**facts["torch"], "read_by": torch.reader, **torch.environment},
        paddle={**facts["paddle"], "read_by": paddle.reader, **paddle.environment},
        inputs=inputs,
        seconds=time.monotonic() - start,
    )


def _pair(input_size: tuple[int, int]) -> tuple[int, int]:
    if not (isinstance(input_size, tuple) and len(input_size) == 2):
        raise ParityError(f"input_size is {input_size!r}; expected (height, width).")
    return input_size


def _check_fit(
    table: Table, variant: Variant, files: dict[Side, Path], weights: dict[Side, str | None]
) -> tuple[Plan, Checkpoint, Checkpoint]:
    """Check names and shapes of both files before any framework starts; give plan and both."""
    source, target = (open_checkpoint(files[side], weights[side]) for side in _SIDES)
    check_side("torch", source)
    plan = make_plan(source, table, variant.name)
    check_side("paddle", target)
    num_classes = check_paddle(target, table, variant)
    if num_classes != plan.num_classes:
        heads = [show_head(n) for n in (num_classes, plan.num_classes)]
        raise CheckpointError(f"{target.path} has {heads[0]}, {source.path} has {heads[1]}.")
    return plan, source, target


def _make_inputs(path: Path, variant: str, shape: tuple[int, ...]) -> dict[str, object]:
    """Write a batch of deterministic noise, float32 [B, 3, H, W], and say what it is."""
    seed = "input:" + variant + ":" + "x".join(map(str, shape))
    rng = np.random.Generator(np.random.Philox(key=zlib.crc32(seed.encode())))
    images = rng.standard_normal(shape).astype(np.float32)
    np.save(path, images)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    return {"shape": list(shape), "seed": seed, "sha256": digest}


def _rounding(
    plan: Plan, source: Checkpoint, target: Checkpoint, made_from: Side
) -> dict[Side, dict[str, str]]:
    """Find what was cast on the way: the original's weights are rounded before they are used.

    Only the original's: to round what was made of it could hide what is wrong with it.

    Returns:
        Side -> key -> dtype that this side's tensor is rounded to. Widening rounds nothing.
    """
    found: dict[Side, dict[str, str]] = {"torch": {}, "paddle": {}}
    for torch_key, paddle_key, _step in plan.kept():
        keys = {"torch": torch_key, "paddle": paddle_key}
        dtypes = source.tensors[torch_key].dtype, target.tensors[paddle_key].dtype
        before, after = dtypes if made_from == "torch" else dtypes[::-1]
        if before != after and DTYPES[after].itemsize <= DTYPES[before].itemsize:
            found[made_from][keys[made_from]] = after
    return found


def differing_weights(
    plan: Plan,
    source: Checkpoint,
    target: Checkpoint,
    rounding: dict[Side, dict[str, str]],
) -> dict[str, str]:
    """Compare the two files tensor by tensor, exactly, as wide as float64.

    Two runs on some images cannot show a weight that happens not to matter for them.

    Returns:
        PyTorch layer -> which of its tensors differ, and how far. Empty when the Paddle file
        holds exactly the weights of the PyTorch file.
    """
    differing: dict[str, list[str]] = {}
    for source_key, key, step in plan.kept():
        tensor = turn(step, source.tensors[source_key])
        expected = _rounded(tensor, rounding["torch"].get(source_key))
        found = _rounded(target.tensors[key], rounding["paddle"].get(key))
        if not np.array_equal(found, expected, equal_nan=True):
            with np.errstate(invalid="ignore"):  # infinities have no difference
                apart = np.abs(found - expected).max()
            layer, _, leaf = source_key.rpartition(".")
            differing.setdefault(layer, []).append(f"{leaf} by up to {apart:.1e}")
    return {layer: ", ".join(tensors) for layer, tensors in differing.items()}


def _rounded(tensor: Tensor, dtype: str | None) -> np.ndarray:
    """Read a tensor as float64; rounded, unless it does not fit, which is a difference."""
    if dtype is not None:
        with suppress(CheckpointError):
            return floats(tensor.cast(dtype), "float64")
    return floats(tensor, "float64")


def _hashes(checkpoint: Checkpoint) -> dict[str, object]:
    """Hash the file; of a sharded checkpoint the index and each of its files."""
    first, *shards = map(_sha256, checkpoint.files)
    return {"sha256": first} | ({"shards": shards} if shards else {})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for the traces and take it away again.

    Raises:
        ParityError: There is no room for it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="vitconvert-parity-") as name:
            yield Path(name)
    except OSError as error:
        raise ParityError(
            f"the traces cannot be written to {tempfile.gettempdir()}: "
            f"{error.strerror or error}. {ROOM}"
        ) from error


class _Meter:
    """Adds up the progress of both workers for one display."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.amounts: dict[Side, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def tell(self, text: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(text, done, total)

    def worker(self, side: Side, done: int, total: int) -> None:
        with self.lock:
            self.amounts[side] = (done, total)
            if len(self.amounts) == len(_SIDES):
                dones, totals = zip(*self.amounts.values(), strict=True)
                self.tell("running both models", sum(dones), sum(totals))


class _Worker:
    """One process that writes a trace."""

    def __init__(self, job: Job, meter: _Meter) -> None:
        self.job = job
        self.reason = ""
        job_file = Path(job.out) / "job.json"
        job_file.write_text(json.dumps(asdict(job)))
        self.stderr = Path(job.out) / "stderr.txt"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                # -P: a numpy.py in the folder that the user is in is not NumPy.
                [sys.executable, "-P", "-m", "vitconvert.parity._trace", str(job_file)],
                stdin=subprocess.PIPE,  # held open: its end tells the worker that we are gone
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(),
                text=True,
            )
        self.reader = threading.Thread(target=self._listen, args=(meter,), daemon=True)
        self.reader.start()

    def _listen(self, meter: _Meter) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
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
        if status == FAILURE:
            raise ParityError(self.reason)
        if status:
            printed = self.stderr.read_text(errors="replace").strip().splitlines()
            raise ParityError(
                listing(
                    f"the {self.job.framework} process ended with status {status}. It printed:",
                    printed[-12:],
                )
            )
        return True


def _wait(workers: Sequence[_Worker]) -> None:
    """Wait for all workers; the first that fails ends the wait."""
    while sum(worker.check() for worker in workers) < len(workers):
        time.sleep(0.02)


@contextmanager
def _running(job: Job, meter: _Meter) -> Iterator[_Worker]:
    """Start a worker and make sure that it does not outlive the check."""
    worker = _Worker(job, meter)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()
        worker.reader.join()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()


def _environment() -> dict[str, str]:
    """Set what must be set before a framework is imported."""
    threads = max(1, (os.cpu_count() or 1) // len(_SIDES))
    chosen = {"NVIDIA_TF32_OVERRIDE": "0", "PYTHONWARNINGS": "ignore"}
    return {"OMP_NUM_THREADS": str(threads), **os.environ, **chosen}
