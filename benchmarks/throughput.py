"""Measure images per second of each Paddle model and the PyTorch one; `make bench-speed`.

    python benchmarks/throughput.py [--quick] [--threads N]

Every way to run a model has its own process, which builds and warms it up once. Then all of one
variant take turns, in another order every round, so that other load on the machine affects all
alike; the report says how much there was. All have the same weights, images, batch size, number of
threads and precision (float32), and their logits are compared before anything is timed.

Exit status 1 if a full run finds a deployed Paddle model slower than PyTorch eager. Judged by
medians.
"""

import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO, Any

import measure
import numpy as np
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent.parent / "build" / "bench"
FULL = ("shunted_t", "shiftvit_tiny_light", "litv2_small")
QUICK = ("shunted_cifar_tiny", "shiftvit_cifar_tiny", "litv2_cifar_tiny")
THREADS = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 2
BATCHES = (1, 8)
TORCH, DEPLOYED = "torch eager", "paddle deployed"
CASES = (TORCH, "torch.compile", "paddle eager", "paddle to_static", DEPLOYED)
SAME = 1e-4  # largest difference of logits, relative to the largest logit
PAUSE = 0.3  # seconds; OpenMP's threads keep spinning for 0.2 s after the work

Times = dict[str, dict[str, dict[int, list[float]]]]  # variant -> case -> batch -> seconds
Run = Callable[[np.ndarray], np.ndarray]


def torch_run(case: str, variant: str, folder: Path) -> Run:
    """Build the PyTorch model."""
    import torch

    from vitconvert import create_model

    torch.set_num_threads(THREADS)
    model = create_model(variant, "torch", checkpoint=folder / f"{variant}.pth")
    if case == "torch.compile":
        model = torch.compile(model, dynamic=False)

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(images)).numpy()

    return run


def paddle_run(case: str, variant: str, folder: Path) -> Run:
    """Build the Paddle model, or load its deployed form."""
    import paddle

    from vitconvert import create_model
    from vitconvert.apps.deploy import Predictor

    if case == DEPLOYED:
        return Predictor(folder / variant, threads=THREADS)
    model = create_model(variant, checkpoint=folder / f"{variant}.pdparams")
    if case == "paddle to_static":
        model = paddle.jit.to_static(model, full_graph=True)

    def run(images: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            return model(paddle.to_tensor(images)).numpy()

    return run


def images_of(variant: str, batch: int) -> np.ndarray:
    """Make images, float32 [batch, 3, H, W], the same in every process."""
    from vitconvert.tables.reading import find_variant

    shape = (batch, 3, *find_variant(variant)[1].input_size)
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


def serve(case: str, variant: str, folder: Path) -> None:
    """Warm up, print the logits, then answer: batch and number of runs -> seconds of one run."""
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # frameworks print to stdout as they please
    run = (torch_run if case.startswith("torch") else paddle_run)(case, variant, folder)
    inputs = {batch: images_of(variant, batch) for batch in BATCHES}
    logits = run(inputs[BATCHES[0]])
    print(json.dumps(logits.astype(float).tolist()), file=say)
    for line in sys.stdin:
        batch, runs = map(int, line.split())
        run(inputs[batch])
        start = time.perf_counter()
        for _ in range(runs):
            run(inputs[batch])
        print((time.perf_counter() - start) / runs, file=say)


class Worker:
    """A process that runs one model in one way."""

    def __init__(self, case: str, variant: str, folder: Path, log: IO[bytes]) -> None:
        """Start it; `answer` gives its logits first."""
        command = [sys.executable, __file__, "--serve", case, variant, str(folder)]
        command += ["--threads", str(THREADS)]
        threads = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
        # On a busy machine, spinning threads take the core from those they wait for.
        threads["OMP_WAIT_POLICY"] = "PASSIVE"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=os.environ | threads
        )
        self.name = f"{case} of {variant}"

    def answer(self) -> Any:
        """Read its next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} failed; see {RESULTS / 'throughput.log'}")
        return json.loads(line)

    def time(self, batch: int, runs: int) -> float:
        """Give the seconds of one run."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{batch} {runs}\n")
        self.process.stdin.flush()
        return float(self.answer())

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


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
    variant: str, cases: Sequence[str], rounds: int, folder: Path, log: IO[bytes]
) -> dict[str, dict[int, list[float]]]:
    """Let all ways to run one variant take turns."""
    make_files(variant, folder)
    workers: dict[str, Worker] = {}
    expected = np.empty(0)
    try:
        for case in cases:  # one after another: building and compiling use all of the machine
            workers[case] = Worker(case, variant, folder, log)
            try:
                logits = np.array(workers[case].answer())
            except RuntimeError as error:
                if case in (TORCH, DEPLOYED):
                    raise
                print(error)  # such as a missing compiler; the others still count
                workers.pop(case).end()
                continue
            if case == TORCH:
                expected = logits
            worst = np.abs(logits - expected).max() / np.abs(expected).max()
            if not worst <= SAME:
                sys.exit(f"{case} of {variant}: logits differ by {worst:.1e} of the largest")
        times = {case: {batch: list[float]() for batch in BATCHES} for case in workers}
        order = random.Random(0)
        for _ in range(rounds):
            for batch in BATCHES:
                for case in order.sample(list(workers), len(workers)):
                    time.sleep(PAUSE)
                    times[case][batch].append(workers[case].time(batch, max(1, 4 // batch)))
    finally:
        for worker in workers.values():
            worker.end()
    return times


def tables(times: Times) -> Iterator[Table]:
    """Show images per second, and their ratio to PyTorch eager's."""
    for variant, cases in times.items():
        table = Table(box=MARKDOWN)
        table.add_column(variant, no_wrap=True)
        for batch in BATCHES:
            for heading in (f"batch {batch}: images/s", "times torch, medians", "minima"):
                table.add_column(heading, justify="right")
        for case, runs in cases.items():
            row = []
            for batch in BATCHES:
                torch, own = cases[TORCH][batch], runs[batch]
                row.append(f"{batch / median(own):.1f}")
                row += [f"{f(torch) / f(own):.2f}" for f in (median, min)]
            table.add_row(case, *row)
        yield table


def judge(times: Times) -> list[tuple[str, float]]:
    """Give the speed of each deployed model relative to PyTorch eager, by medians."""
    return [
        (f"{variant}, batch {batch}", median(cases[TORCH][batch]) / median(cases[DEPLOYED][batch]))
        for variant, cases in times.items()
        for batch in BATCHES
    ]


def main() -> None:
    """Measure, print, save and judge."""
    quick = "--quick" in sys.argv[1:]
    variants, rounds = (QUICK, 3) if quick else (FULL, 7)
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    cases = [c for c in CASES if c != "torch.compile" or (compiler and not quick)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    start, others = time.perf_counter(), measure.others()
    times: Times = {}
    with (
        tempfile.TemporaryDirectory(dir=RESULTS) as folder,
        (RESULTS / "throughput.log").open("wb") as log,
    ):
        for variant in variants:
            times[variant] = measured(variant, cases, rounds, Path(folder), log)
    busy = (measure.others() - others) / (time.perf_counter() - start)
    judged = judge(times)
    console = Console(record=True, width=140, highlight=False)
    console.print("A quick run of small models, not judged." if quick else "A full run.")
    console.print(f"{rounds} rounds, {THREADS} threads, float32, images of the model's own size.")
    console.print(f"Other processes used {busy:.2f} of {os.cpu_count()} cores on average.")
    if "torch.compile" not in cases:
        console.print("No torch.compile:", "a quick run." if quick else "found no C++ compiler.")
    versions = [f"{name} {version(name)}" for name in ("numpy", "torch", "paddlepaddle")]
    console.print(platform.platform(), "Python", platform.python_version(), *versions)
    console.print(*tables(times), sep="\n")
    for what, ratio in judged:
        verdict = "met" if ratio >= 1 else "MISSED"
        console.print(f"{what}: deployed {ratio:.2f} times torch eager, at least 1.0: {verdict}")
    data = {"seconds": times, "deployed_times_torch": dict(judged), "others_cores": busy}
    (RESULTS / "throughput.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    (RESULTS / "throughput.md").write_text(console.export_text(), encoding="utf-8")
    sys.exit(not quick and not all(ratio >= 1 for _, ratio in judged))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main()
