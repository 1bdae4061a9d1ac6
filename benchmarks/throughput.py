"""Measure images per second of each Paddle model and the PyTorch one; `make bench-speed`.

    python benchmarks/throughput.py [--quick] [--threads N]

Every way to run a model has its own process, which builds and warms it up once. Then all of one
variant take turns, in another order every round, so that other load on the machine affects all
alike; the report says how much there was. All have the same weights, images, batch size, number of
threads and precision (float32), and their logits are compared before anything is timed.

Exit status 1 if a full run finds a deployed Paddle model slower than PyTorch eager. Judged by
medians.
"""

import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import measure
import numpy as np
from report import CORES, QUICK, RESULTS, machine, new_table, publish
from rich.table import Table

LOG = RESULTS / "throughput.log"
FULL = ("shunted_t", "shiftvit_tiny_light", "litv2_small")
SMALL = ("shunted_cifar_tiny", "shiftvit_cifar_tiny", "litv2_cifar_tiny")
THREADS = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 2
BATCHES = (1, 8)
TORCH, DEPLOYED = "torch eager", "paddle deployed"
CASES = (TORCH, "torch.compile", "paddle eager", "paddle to_static", DEPLOYED)
SAME = 1e-4  # largest difference of logits, relative to the largest logit
RATIOS = ("times torch, medians", "minima")
PAUSE = 0.3  # seconds; OpenMP's threads keep spinning for 0.2 s after the work

Times = dict[str, dict[str, dict[int, list[float]]]]  # variant -> case -> batch -> seconds
Run = Callable[[np.ndarray], np.ndarray]


def build(case: str, variant: str, folder: Path) -> Run:
    """Build a model, or load the deployed form of Paddle's."""
    from vitconvert import create_model

    to_tensor: Callable[..., Any]
    without_gradients: Callable[..., Any]
    if case == DEPLOYED:
        from vitconvert.apps.deploy import Predictor

        return Predictor(folder / variant, threads=THREADS)
    if case.startswith("paddle"):
        import paddle

        model = create_model(variant, checkpoint=folder / f"{variant}.pdparams")
        if case == "paddle to_static":
            model = paddle.jit.to_static(model, full_graph=True)
        to_tensor, without_gradients = paddle.to_tensor, paddle.no_grad
    else:
        import torch

        torch.set_num_threads(THREADS)
        model = create_model(variant, "torch", checkpoint=folder / f"{variant}.pth")
        if case == "torch.compile":
            model = torch.compile(model, dynamic=False)
        to_tensor, without_gradients = torch.from_numpy, torch.inference_mode

    def run(images: np.ndarray) -> np.ndarray:
        with without_gradients():
            found: np.ndarray = model(to_tensor(images)).numpy()
        return found

    return run


def images_of(variant: str, batch: int) -> np.ndarray:
    """Make images, float32 [batch, 3, H, W], the same in every process."""
    from vitconvert.tables.reading import find_variant

    shape = (batch, 3, *find_variant(variant)[1].input_size)
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


_served: dict[str, Any] = {}  # in a worker: how it runs its model, and on what


def load(case: str, variant: str, folder: Path) -> None:
    """Build a model in a worker, and warm it up."""
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)  # frameworks print as they please
    os.dup2(log, 2)
    os.environ |= {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    # On a busy machine, spinning threads take the core from those they wait for.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    run = build(case, variant, folder)
    _served["run"] = run
    _served["inputs"] = {batch: images_of(variant, batch) for batch in BATCHES}
    _served["logits"] = run(_served["inputs"][BATCHES[0]])


def logits() -> np.ndarray:
    """Give what the model of a worker computes."""
    found: np.ndarray = _served["logits"]
    return found


def timed(batch: int, runs: int) -> float:
    """Give the seconds that the model of a worker takes for one run."""
    run, images = _served["run"], _served["inputs"][batch]
    run(images)
    start = time.perf_counter()
    for _ in range(runs):
        run(images)
    return (time.perf_counter() - start) / runs


def new_worker(case: str, variant: str, folder: Path) -> ProcessPoolExecutor:
    """Start a process that runs one model in one way; it is broken if that fails."""
    fresh = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, fresh, load, (case, variant, folder))


def make_files(variant: str, folder: Path) -> None:
    """Make a random model, its conversion and its deployed form."""
    import torch

    from vitconvert import convert, create_model
    from vitconvert.tables.reading import find_variant

    torch.manual_seed(0)
    torch.save(create_model(variant, "torch").state_dict(), folder / f"{variant}.pth")
    family = find_variant(variant)[1].family
    paddle = folder / f"{variant}.pdparams"
    convert(folder / f"{variant}.pth", paddle, family, variant=variant, parity=False)
    # In its own process, so that this one stays idle and small.
    code = "import sys; from vitconvert.apps.deploy import export; export(*sys.argv[1:])"
    command = (sys.executable, "-c", code, variant, str(paddle), str(folder / variant))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measured(
    variant: str, cases: Sequence[str], rounds: int, folder: Path
) -> dict[str, dict[int, list[float]]]:
    """Let all ways to run one variant take turns."""
    make_files(variant, folder)
    workers: dict[str, ProcessPoolExecutor] = {}
    expected = np.empty(0)
    with ExitStack() as stack:
        for case in cases:  # one after another: building and compiling use all of the machine
            worker = stack.enter_context(new_worker(case, variant, folder))
            try:
                found = worker.submit(logits).result()
            except BrokenProcessPool:
                message = f"{case} of {variant} failed; see {LOG}"
                if case in (TORCH, DEPLOYED):
                    sys.exit(message)
                print(message)  # such as a missing compiler; the others still count
                continue
            if case == TORCH:
                expected = found
            worst = np.abs(found - expected).max() / np.abs(expected).max()
            if not worst <= SAME:
                sys.exit(f"{case} of {variant}: logits differ by {worst:.1e} of the largest")
            workers[case] = worker
        times = {case: {batch: list[float]() for batch in BATCHES} for case in workers}
        order = random.Random(0)
        for _ in range(rounds):
            for batch in BATCHES:
                for case in order.sample(list(workers), len(workers)):
                    time.sleep(PAUSE)
                    taken = workers[case].submit(timed, batch, max(1, 4 // batch)).result()
                    times[case][batch].append(taken)
    return times


def tables(times: Times) -> Iterator[Table]:
    """Show images per second, and their ratio to PyTorch eager's."""
    for variant, cases in times.items():
        headings = [(f"batch {batch}: images/s", *RATIOS) for batch in BATCHES]
        table = new_table(variant, *sum(headings, ()))
        for case, runs in cases.items():
            row = []
            for batch in BATCHES:
                torch, own = cases[TORCH][batch], runs[batch]
                row.append(f"{batch / median(own):.1f}")
                row += [f"{f(torch) / f(own):.2f}" for f in (median, min)]
            table.add_row(case, *row)
        yield table


def main() -> None:
    """Measure, print, save and judge."""
    variants, rounds = (SMALL, 3) if QUICK else (FULL, 7)
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    cases = [c for c in CASES if c != "torch.compile" or (compiler and not QUICK)]
    LOG.unlink(missing_ok=True)
    others = measure.watch_others()
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        times = {variant: measured(variant, cases, rounds, Path(folder)) for variant in variants}
    busy = others()
    judged = {
        f"{variant}, batch {batch}": median(of[TORCH][batch]) / median(of[DEPLOYED][batch])
        for variant, of in times.items()
        for batch in BATCHES
    }
    lines = [
        "A quick run of small models, not judged." if QUICK else "A full run.",
        f"{rounds} rounds, {THREADS} threads, float32, images of the model's own size.",
        f"Other processes used {busy:.2f} of {CORES} cores on average.",
    ]
    if "torch.compile" not in cases:
        lines += [f"No torch.compile: {'a quick run' if QUICK else 'found no C++ compiler'}."]
    verdicts = [
        f"{what}: deployed {ratio:.2f} times torch eager, at least 1.0: "
        f"{'met' if ratio >= 1 else 'MISSED'}"
        for what, ratio in judged.items()
    ]
    data = {"seconds": times, "deployed_times_torch": judged, "others_cores": busy}
    publish("throughput", data, *lines, machine(), *tables(times), *verdicts)
    sys.exit(not QUICK and min(judged.values()) < 1)


if __name__ == "__main__":
    main()
