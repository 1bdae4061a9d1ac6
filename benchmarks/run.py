"""Measure `vitconvert` beside cp and the usual script; `make bench` runs it.

    python benchmarks/run.py [--quick]

Every command runs in its own process. All take turns, in another order every round, so that other
load on the machine affects all alike; the report says how much there was. Before each command its
target is removed, the disk is synced, and its source is read into the page cache (warm) or removed
from it with posix_fadvise (cold). "Durable" output has been fsynced when the command ends:
vitconvert's always, the others' where the name says so.

Exit status 1 if a full run misses a target. Times are judged by their medians.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import measure
from report import CORES, QUICK, RESULTS, machine, new_table, publish
from rich.table import Table

HERE = Path(__file__).parent
PYTHON = sys.executable
VITCONVERT = str(Path(PYTHON).with_name("vitconvert"))
USUAL, MAKE, MODELS = ((PYTHON, str(HERE / f"{name}.py")) for name in ("usual", "files", "models"))
os.environ["VITCONVERT_TABLES"] = str(HERE / "tables")  # for the commands: the family vit_large
EMPTY = "python -c pass"
WARM, COLD, SMALL = "ViT-L, warm", "ViT-L, cold", "shunted_s"
INSPECT, MEMORY, PARITY = "inspect of 10.9 GB", "memory", "parity of shunted_s"
PLAIN = "plain script, float32 logits"
SIDES = {"torch": "small.pth", "paddle": "small.pdparams"}
ONE = "one tensor of 1.5 GB"
ENDS = ("pth", "safetensors", "pdparams")

Times = dict[str, dict[str, list[float]]]  # group -> case -> seconds of every round
Memories = dict[str, dict[str, int]]  # case -> peaks in bytes


@dataclass(frozen=True)
class Case:
    """A command to measure: its table, its line there, its source and its target."""

    group: str
    name: str
    command: Sequence[str]
    source: Path | None = None
    target: Path | None = None

    def prepare(self) -> None:
        """Remove the target, sync the disk, warm or chill the source."""
        if self.target is not None:
            self.target.unlink(missing_ok=True)
        os.sync()
        if self.source is not None:
            (measure.chill if self.group == COLD else measure.warm)(self.source)


def vitconvert(family: str, source: Path, target: Path, *options: str) -> tuple[str, ...]:
    """Give the command that converts."""
    files = ("--src", str(source), "--dst", str(target))
    return (VITCONVERT, family, *files, "--no-parity", *options)


def conversions(group: str, family: str, source: Path, target: Path) -> Iterator[Case]:
    """Give the ways to convert a PyTorch checkpoint to Paddle, and to copy it."""
    files = (str(source), str(target))
    for name, command in {
        "cp, durable": ("sh", "-c", 'cp "$0" "$1" && sync "$1"', *files),
        "cp": ("cp", *files),
        "vitconvert": vitconvert(family, source, target),
        "vitconvert --no-verify": vitconvert(family, source, target, "--no-verify"),
        "usual script, durable": (*USUAL, "--fsync", *files),
        "usual script": (*USUAL, *files),
    }.items():
        yield Case(group, name, command, source, target)


def timed(folder: Path) -> Iterator[Case]:
    """Give the timed cases; the others of a group are compared with its first."""
    large, back, small = (folder / name for name in ("large.pth", "large.pdparams", "small.pth"))
    out, safe, pth = (folder / f"out.{end}" for end in ("pdparams", "safetensors", "pth"))
    yield from conversions(WARM, "vit_large", large, out)
    yield Case(
        WARM, "vitconvert to .safetensors", vitconvert("vit_large", large, safe), large, safe
    )
    yield Case(WARM, "vitconvert back to .pth", vitconvert("vit_large", back, pth), back, pth)
    yield from conversions(COLD, "vit_large", large, out)
    yield Case(SMALL, EMPTY, (PYTHON, "-c", "pass"))
    yield from conversions(SMALL, "shunted", small, out)
    both = str(small), str(folder / SIDES["paddle"])
    yield Case(PARITY, PLAIN, (*MODELS, "plain", "shunted_s", *both))
    files = ("--torch", both[0], "--paddle", both[1])
    yield Case(PARITY, "vitconvert parity", (VITCONVERT, "parity", "shunted_s", *files))
    yield Case(INSPECT, EMPTY, (PYTHON, "-c", "pass"))
    for end in ENDS:
        yield Case(INSPECT, f".{end}", (VITCONVERT, "inspect", str(folder / f"sparse.{end}")))


def watched(folder: Path) -> Iterator[Case]:
    """Give the cases whose memory is measured."""
    large, back, one = (folder / name for name in ("large.pth", "large.pdparams", "one.pth"))
    out, pth = folder / "out.pdparams", folder / "out.pth"
    idle = (PYTHON, "-c", "import time; time.sleep(0.1)")  # long enough to be sampled
    yield Case(MEMORY, EMPTY, idle)
    yield Case(MEMORY, "vitconvert, ViT-L", vitconvert("vit_large", large, out), large, out)
    yield Case(MEMORY, "vitconvert, ViT-L back", vitconvert("vit_large", back, pth), back, pth)
    yield Case(MEMORY, f"vitconvert, {ONE}", vitconvert("vit_large", one, out), one, out)
    yield Case(MEMORY, "usual script, ViT-L", (*USUAL, str(large), str(out)), large, out)
    yield Case(MEMORY, f"usual script, {ONE}", (*USUAL, str(one), str(out)), one, out)
    for side, name in SIDES.items():
        file = folder / name
        run, trace = ((*MODELS, do, side, "shunted_s", str(file)) for do in ("forward", "trace"))
        feed = (str(folder / "torch"),) if side == "paddle" else ()
        yield Case(MEMORY, f"{side}: model and batch, float64", run, file)
        yield Case(MEMORY, f"{side}: parity worker", (*trace, str(folder / side), *feed), file)


def make_files(folder: Path) -> None:
    """Make all sources, and compare vitconvert's result with the usual script's."""
    large, back, usual = (
        str(folder / n) for n in ("large.pth", "large.pdparams", "usual.pdparams")
    )
    noise = (*MAKE, "noise")
    checkpoint = str(HERE.parent / "tests" / "tools" / "make_checkpoint.py")
    for command in (
        (*noise, "vit_quick" if QUICK else "vit_large_patch16_224", large),
        (*noise, "one_linear", str(folder / "one.pth")),
        (PYTHON, checkpoint, "shunted_s", str(folder / "small.pth")),
        *((*MAKE, "sparse", "ten_gb", str(folder / f"sparse.{end}")) for end in ENDS),
        vitconvert("vit_large", Path(large), Path(back)),
        vitconvert("shunted", folder / SIDES["torch"], folder / SIDES["paddle"]),
        (*USUAL, large, usual),
        (*MAKE, "same", back, usual),
    ):
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=quiet)
    Path(usual).unlink()


def judge(times: Times, memories: Memories) -> Iterator[tuple[str, str, float, float, bool]]:
    """Give each target: name, limit, figure by medians and by minima, whether it is met."""
    for group in (WARM, COLD):
        of = times[group]
        a, b = (f(of["vitconvert"]) / f(of["cp, durable"]) for f in (median, min))
        yield f"{group}: times cp, both durable", "at most 1.5", a, b, a <= 1.5
    for name in ("usual script, durable", "usual script"):
        a, b = (f(times[WARM][name]) / f(times[WARM]["vitconvert"]) for f in (median, min))
        yield f"{WARM}: {name}, times vitconvert", "at least 5", a, b, a >= 5
    a, b = (f(times[SMALL]["vitconvert"]) - f(times[SMALL][EMPTY]) for f in (median, min))
    yield f"{SMALL}: seconds above an empty Python process", "at most 0.5", a, b, a <= 0.5
    for end in ENDS:
        a, b = (f(times[INSPECT][f".{end}"]) for f in (median, min))
        yield f"{INSPECT}, .{end}: seconds", "under 0.5", a, b, a < 0.5
    a, b = (f(times[PARITY]["vitconvert parity"]) / f(times[PARITY][PLAIN]) for f in (median, min))
    yield f"{PARITY}: times the plain script", "at most 3", a, b, a <= 3
    for side in SIDES:
        worker, own = (
            memories[f"{side}: {what}"]["VmHWM"]
            for what in ("parity worker", "model and batch, float64")
        )
        a = worker / own
        yield f"{side}: parity worker, times model and batch", "at most 1.5", a, a, a <= 1.5
    for name, peaks in memories.items():
        if name.startswith("vitconvert"):
            a = (peaks["VmHWM"] - memories[EMPTY]["VmHWM"]) / 1e6
            yield f"{name}: MB above an empty Python process", "at most 150", a, a, a <= 150


def time_table(group: str, cases: dict[str, list[float]]) -> Table:
    """Show the times of a group, compared with its first case."""
    table = new_table(group, "median s", "min s", "ratio of medians", "of minima")
    first = next(iter(cases.values()))
    for name, runs in cases.items():
        a, b = median(runs), min(runs)
        row = (f"{a:.3f}", f"{b:.3f}", f"{a / median(first):.2f}", f"{b / min(first):.2f}")
        table.add_row(name, *row)
    return table


def memory_table(memories: Memories, sizes: dict[str, int]) -> Table:
    """Show the memory, compared with an empty process and with the size of the file."""
    table = new_table(MEMORY, "peak MB", "own MB", "mapped MB", "above python", "of the file")
    for name, peaks in memories.items():
        amounts = (*peaks.values(), peaks["VmHWM"] - memories[EMPTY]["VmHWM"])
        share = f"{peaks['VmHWM'] / sizes[name]:.2f}" if name in sizes else "-"
        table.add_row(name, *(f"{amount / 1e6:.0f}" for amount in amounts), share)
    return table


def main() -> None:
    """Measure, print, save and judge."""
    rounds = 2 if QUICK else 7
    times: Times = {}
    memories: Memories = {}
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        make_files(Path(folder))
        cases, order = list(timed(Path(folder))), random.Random(0)
        for case in cases:
            times.setdefault(case.group, {})[case.name] = []
        others = measure.watch_others()
        for _ in range(rounds):
            for case in order.sample(cases, len(cases)):
                case.prepare()
                times[case.group][case.name].append(measure.seconds(case.command))
        busy = others()
        sizes = {c.name: c.source.stat().st_size for c in watched(Path(folder)) if c.source}
        for case in watched(Path(folder)):
            case.prepare()
            memories[case.name] = measure.memory(case.command)
    judged = list(judge(times, memories))
    targets = new_table("target", "limit", "by medians", "by minima", "verdict")
    for what, limit, a, b, met in judged:
        targets.add_row(what, limit, f"{a:.2f}", f"{b:.2f}", "met" if met else "MISSED")
    publish(
        "result",
        {"seconds": times, "bytes": memories, "targets": judged},
        "A quick run, smaller, not judged." if QUICK else "A full run.",
        f"{rounds} rounds. Other processes used {busy:.2f} of {CORES} cores on average.",
        machine(),
        *(time_table(group, of) for group, of in times.items()),
        memory_table(memories, sizes),
        targets,
        "The .pdparams of vitconvert and of the usual script hold the same arrays.",
        f"All times are in {RESULTS / 'result.json'}, these tables in result.md beside it.",
    )
    sys.exit(not QUICK and not all(target[-1] for target in judged))


if __name__ == "__main__":
    main()
