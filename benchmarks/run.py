"""Measure speed and memory of `vitconvert` beside cp and the usual script; `make bench` runs it.

    python benchmarks/run.py [--quick]

Every command runs in a process of its own. All take turns, round by round, so that whatever else
the machine does hits all alike. Before each its target is removed, the disk is synced, and its
source is read into the page cache (warm) or taken out of it with posix_fadvise (cold). "Durable"
is what has been fsynced when the command ends: ours always, the others where it says so.

Exit status 1 if a full run misses a target. Times are judged by their medians.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import measure
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = HERE.parent / "build" / "bench"
PYTHON = sys.executable
VITCONVERT = str(Path(PYTHON).with_name("vitconvert"))
LARGE, SMALL, INSPECT = "ViT-L", "shunted_s", "inspect of 10.9 GB"
MB = 1e6


@dataclass(frozen=True)
class Case:
    """One command to measure.

    Attributes:
        group: The table it stands in, with `reference` as its first.
        name: Its line there.
        command: What to run.
        source: The file it reads; None if none.
        target: The file it writes; None if none.
        cold: Whether the source is taken out of the page cache before.
    """

    group: str
    name: str
    command: tuple[str, ...]
    source: Path | None = None
    target: Path | None = None
    cold: bool = False

    def prepare(self) -> None:
        """Remove the target, let the disk come to rest, warm or chill the source."""
        if self.target is not None:
            self.target.unlink(missing_ok=True)
        os.sync()
        if self.source is not None and self.group != INSPECT:
            (measure.chill if self.cold else measure.warm)(self.source)


@dataclass(frozen=True)
class Target:
    """What the project promises of a number."""

    what: str
    value: float
    by_minima: float | None
    limit: str
    met: bool


EMPTY = (PYTHON, "-c", "pass")


def ours(family: str, source: Path, target: Path, *options: str) -> tuple[str, ...]:
    """Give the command that converts; the benchmark's own family needs its driver."""
    start = (VITCONVERT,) if family != "vit_large" else (PYTHON, str(HERE / "convert.py"))
    files = ("--src", str(source), "--dst", str(target))
    return (*start, family, *files, "--no-parity", *options)


def conversions(
    group: str, family: str, source: Path, target: Path, cold: bool = False
) -> list[Case]:
    """Give the ways to bring a PyTorch checkpoint to Paddle, and copies of it."""
    copy, usual = f"cp {source} {target}", (PYTHON, str(HERE / "usual.py"))
    files = (str(source), str(target))
    commands = {
        "cp, durable": ("sh", "-c", f"{copy} && sync {target}"),
        "cp": ("sh", "-c", copy),
        "vitconvert": ours(family, source, target),
        "vitconvert --no-verify": ours(family, source, target, "--no-verify"),
        "usual script, durable": (*usual, "--fsync", *files),
        "usual script": (*usual, *files),
    }
    return [Case(group, name, c, source, target, cold) for name, c in commands.items()]


def make_files(folder: Path, quick: bool) -> dict[str, Path]:
    """Make all sources; the converted ones are those of the way back."""
    names = ("large.pth", "large.pdparams", "usual.pdparams", "small.pth", "one.pth")
    files = {name: folder / name for name in names}
    make, variant = str(HERE / "files.py"), "vit_quick" if quick else "vit_large_patch16_224"
    tool = HERE.parent / "tests" / "tools" / "make_checkpoint.py"
    commands = [
        (make, "noise", variant, str(files["large.pth"])),
        (make, "noise", "one_linear", str(files["one.pth"])),
        (str(tool), "shunted_s", str(files["small.pth"])),
        ours("vit_large", files["large.pth"], files["large.pdparams"])[1:],
        (str(HERE / "usual.py"), str(files["large.pth"]), str(files["usual.pdparams"])),
        (make, "same", str(files["large.pdparams"]), str(files["usual.pdparams"])),
    ]
    for end in ("pth", "safetensors", "pdparams"):
        files[f"sparse.{end}"] = folder / f"sparse.{end}"
        commands.append((make, "sparse", "ten_gb", str(files[f"sparse.{end}"])))
    for command in commands:
        subprocess.run((PYTHON, *command), check=True, capture_output=True)
    files["usual.pdparams"].unlink()
    return files


def timed_cases(files: dict[str, Path]) -> list[Case]:
    """List what is timed."""
    large, small, back = files["large.pth"], files["small.pth"], files["large.pdparams"]
    folder = large.parent
    out, safe, pth = folder / "out.pdparams", folder / "out.safetensors", folder / "out.pth"
    cold = conversions(f"{LARGE}, cold", "vit_large", large, out, cold=True)
    return [
        *conversions(f"{LARGE}, warm", "vit_large", large, out),
        Case(f"{LARGE}, warm", "to .safetensors", ours("vit_large", large, safe), large, safe),
        Case(f"{LARGE}, warm", "back to .pth", ours("vit_large", back, pth), back, pth),
        *(case for case in cold if case.name in ("cp, durable", "cp", "vitconvert")),
        Case(SMALL, "python -c pass", EMPTY),
        *conversions(SMALL, "shunted", small, out),
        Case(INSPECT, "python -c pass", EMPTY),
        *(
            Case(INSPECT, f".{end}", (VITCONVERT, "inspect", str(files[f"sparse.{end}"])))
            for end in ("pth", "safetensors", "pdparams")
        ),
    ]


def watched_cases(files: dict[str, Path]) -> list[Case]:
    """List what is watched for its memory: the files for which it could be large."""
    large, one, back = files["large.pth"], files["one.pth"], files["large.pdparams"]
    out, pth = large.with_name("out.pdparams"), large.with_name("out.pth")
    usual = (PYTHON, str(HERE / "usual.py"))
    commands = [
        (f"vitconvert, {LARGE}", ours("vit_large", large, out), large, out),
        (f"vitconvert, {LARGE} back to .pth", ours("vit_large", back, pth), back, pth),
        ("vitconvert, one tensor of 1.5 GB", ours("vit_large", one, out), one, out),
        (f"usual script, {LARGE}", (*usual, str(large), str(out)), large, out),
        ("usual script, one tensor of 1.5 GB", (*usual, str(one), str(out)), one, out),
    ]
    idle = (PYTHON, "-c", "import time; time.sleep(0.1)")  # time enough to be looked at
    return [Case("memory", "python", idle), *(Case("memory", *entry) for entry in commands)]


def judge(
    times: dict[str, dict[str, list[float]]], memories: dict[str, measure.Memory]
) -> list[Target]:
    """Compare with what the project promises."""

    def ratio(group: str, one: str, other: str) -> tuple[float, float]:
        of = times[group]
        return median(of[one]) / median(of[other]), min(of[one]) / min(of[other])

    targets = []
    for cache in ("warm", "cold"):
        found = ratio(f"{LARGE}, {cache}", "vitconvert", "cp, durable")
        what = f"{LARGE}, {cache}: times cp, both durable"
        targets.append(Target(what, *found, "at most 1.5", found[0] <= 1.5))
    for name in ("usual script, durable", "usual script"):
        found = ratio(f"{LARGE}, warm", name, "vitconvert")
        what = f"{LARGE}, warm: {name}, times vitconvert"
        targets.append(Target(what, *found, "at least 5", found[0] >= 5))
    small = times[SMALL]
    own, empty = small["vitconvert"], small["python -c pass"]
    above = median(own) - median(empty), min(own) - min(empty)
    what = f"{SMALL}: seconds above an empty Python process"
    targets.append(Target(what, *above, "at most 0.5", above[0] <= 0.5))
    for name, peak in memories.items():
        if name.startswith("vitconvert"):
            more = (peak.resident - memories["python"].resident) / MB
            what = f"{name}: MB above an empty Python process"
            targets.append(Target(what, more, None, "at most 150", more <= 150))
    for name, runs in times[INSPECT].items():
        if name.startswith("."):
            what = f"{INSPECT}, {name}: seconds"
            targets.append(Target(what, median(runs), min(runs), "under 0.5", median(runs) < 0.5))
    return targets


def tables(
    times: dict[str, dict[str, list[float]]],
    memories: dict[str, measure.Memory],
    sizes: dict[str, int],
    targets: list[Target],
) -> list[Table]:
    """Show the numbers; ratios are those to the first line of each table."""
    made = []
    for group, cases in times.items():
        made.append(_table(group, "median s", "min s", "ratio of medians", "of minima"))
        first = next(iter(cases.values()))
        for name, runs in cases.items():
            middle, least = median(runs), min(runs)
            ratios = (f"{middle / median(first):.2f}", f"{least / min(first):.2f}")
            made[-1].add_row(name, f"{middle:.3f}", f"{least:.3f}", *ratios)
    made.append(_table("memory", "peak MB", "own MB", "mapped MB", "above python", "of the file"))
    for name, peak in memories.items():
        amounts = (
            peak.resident,
            peak.own,
            peak.mapped,
            peak.resident - memories["python"].resident,
        )
        part = f"{peak.resident / sizes[name]:.2f}" if name in sizes else "-"
        made[-1].add_row(name, *(f"{amount / MB:.0f}" for amount in amounts), part)
    made.append(_table("target", "limit", "by medians", "by minima", "verdict"))
    for t in targets:
        by_minima = "-" if t.by_minima is None else f"{t.by_minima:.2f}"
        verdict = "met" if t.met else "MISSED"
        made[-1].add_row(t.what, t.limit, f"{t.value:.2f}", by_minima, verdict)
    return made


def _table(first: str, *others: str) -> Table:
    table = Table(box=MARKDOWN)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def main() -> None:
    """Measure, show, write down, judge."""
    quick = "--quick" in sys.argv[1:]
    rounds = 2 if quick else 7
    RESULTS.mkdir(parents=True, exist_ok=True)
    console = Console(record=True, width=140, highlight=False)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "paddlepaddle"))
    console.print(
        f"{'A QUICK TRY, not judged: ' * quick}{rounds} rounds, {os.cpu_count()} cores, "
        f"{platform.platform()}, Python {platform.python_version()}, {versions}"
    )
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        files = make_files(Path(folder), quick)
        cases = timed_cases(files)
        times: dict[str, dict[str, list[float]]] = {}
        for _ in range(rounds):
            for case in cases:
                case.prepare()
                runs = times.setdefault(case.group, {}).setdefault(case.name, [])
                runs.append(measure.seconds(case.command))
        memories, sizes = {}, {}
        for case in watched_cases(files):
            case.prepare()
            memories[case.name] = measure.memory(case.command)
            if case.source is not None:
                sizes[case.name] = case.source.stat().st_size
    targets = judge(times, memories)
    for table in tables(times, memories, sizes, targets):
        console.print(table)
    console.print("Our .pdparams and that of the usual script hold the same arrays (paddle.load).")
    numbers = {
        "seconds": times,
        "memory": {name: asdict(peak) for name, peak in memories.items()},
        "targets": [asdict(target) for target in targets],
    }
    (RESULTS / "result.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    console.print(f"{RESULTS / 'result.json'} and result.md beside it hold this.")
    (RESULTS / "result.md").write_text(console.export_text(), encoding="utf-8")
    if not quick and not all(target.met for target in targets):
        sys.exit(1)


if __name__ == "__main__":
    main()
