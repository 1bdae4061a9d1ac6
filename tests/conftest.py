"""Shared fixtures: checkpoints of every variant, made once per run, and their conversions."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

# Several tests run at once, each with a process for each framework: with one thread each they are
# fastest, and threads that wait must not spin. Set before NumPy or a framework is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and their children too.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden import rule
from vitconvert import Conversion, Report, convert
from vitconvert.checkpoints import held, open_checkpoint, pdparams
from vitconvert.checkpoints.writing import Layout, write
from vitconvert.running import process
from vitconvert.tables import reading

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
TOOLS = Path(__file__).parent / "tools"
OLD_TORCH = Path(__file__).parent / "data" / "old_torch"

Make = Callable[[str], Path]
T = TypeVar("T")


def golden_variants() -> list[str]:
    """Name the variants there is golden data for."""
    return sorted(f.stem for f in GOLDEN.glob("*.json") if "entries" in json.loads(f.read_text()))


def every_golden() -> list[Any]:
    """Give every golden file as a parameter; only the smallest of each family is not slow."""
    names = {name: reading.find_variant(model_name(name)) for name in golden_variants()}
    names = dict(sorted(names.items(), key=lambda item: item[1][0].parameters(item[1][1])))
    quick = {table.family: name for name, (table, _variant) in reversed(names.items())}
    slow = [pytest.mark.slow]
    return [pytest.param(n, marks=slow * (quick[t.family] != n)) for n, (t, _v) in names.items()]


def golden_facts(name: str) -> dict[str, Any]:
    """Read what the golden data says of a variant."""
    facts: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return facts


def every_variant() -> list[Any]:
    """Give every variant as a parameter; to keep the default run short many are slow tests.

    Those are the large ones, and those that use the same rows of their table as a smaller one. Of a
    family whose PyTorch models are timm's those are left out: test_timm_families has them all.
    """
    params, seen = [], set[tuple[str, frozenset[str]]]()
    found = [(reading.load_table(v.family), v) for v in reading.variants().values()]
    for table, variant in sorted(found, key=lambda pair: pair[0].parameters(pair[1])):
        rows = frozenset(c.row.torch for key in variant.shapes for c in table.claims(key))
        is_slow = (table.family, rows) in seen or is_large(variant.name, 20e6)
        if table.torch:
            if is_slow:
                continue
            is_slow = any(table.family == family for family, _rows in seen)
        seen.add((table.family, rows))
        params.append(pytest.param(variant.name, marks=[pytest.mark.slow] * is_slow))
    return params


def is_large(variant: str, parameters: float) -> bool:
    """Tell whether a variant has more parameters than that."""
    table, found = reading.find_variant(variant)
    return table.parameters(found) > parameters


def model_name(golden_name: str) -> str:
    """Give the variant of a golden file, which may add an input size: shunted_s_256x192."""
    return max((v for v in reading.variants() if golden_name.startswith(v)), key=len)


@pytest.fixture(scope="session", autouse=True)
def shared_workers() -> Iterator[None]:
    """Let all tests share one process for each framework: to start one takes seconds."""
    with process.keep_workers():
        yield


@pytest.fixture(autouse=True)
def own_workers(request: pytest.FixtureRequest) -> None:
    """Let a test that is marked `own_process` start and end its workers, as users' programs do."""
    if request.node.get_closest_marker("own_process"):
        request.getfixturevalue("monkeypatch").setattr(process, "_pools", [])


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a .safetensors with the PyTorch weights of a variant; needs no framework."""
    folder, made = tmp_path_factory.mktemp("plain"), {}

    def make(variant: str) -> Path:
        if variant not in made:
            found = reading.variants()[variant]
            state = {
                key: rule.weight(key, found.resolve(shape, found.num_classes), _dtype(key))
                for key, shape in found.shapes.items()
                if found.num_classes or "num_classes" not in shape
            }
            made[variant] = folder / f"{variant}.safetensors"
            save_file(state, made[variant])
        return made[variant]

    return make


def _dtype(key: str) -> str:
    return "int64" if key.endswith("num_batches_tracked") else "float32"


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a training checkpoint of a variant as the official script saves it; needs torch."""
    folder = tmp_path_factory.mktemp("official")

    def make(variant: str) -> Path:
        path = folder / f"{variant}.pth"
        if not path.exists():
            import torch

            from tools.make_checkpoint import make_checkpoint

            torch.save(make_checkpoint(variant), path)
            for stand_in in ("yacs", "yacs.config"):  # tests read as if it were not installed
                sys.modules.pop(stand_in, None)
        return path

    return make


@pytest.fixture(scope="session")
def converted(plain: Make, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Convert the weights of a variant, without parity; needs no framework."""
    folder = tmp_path_factory.mktemp("converted")

    def make(variant: str) -> Path:
        path = folder / f"{variant}.pdparams"
        if not path.exists():
            family = reading.variants()[variant].family
            convert(plain(variant), path, family, parity=False)
        return path

    return make


def known(value: T | None) -> T:
    """Give a value that must be there."""
    assert value is not None
    return value


def proof(done: Conversion) -> Report:
    """Give the report of a conversion that was to be proved."""
    return known(done.report)


@contextmanager
def paddle_in_float64() -> Iterator[None]:
    """Let Paddle models that are built meanwhile be in float64."""
    import paddle

    paddle.set_default_dtype("float64")
    try:
        yield
    finally:
        paddle.set_default_dtype("float32")


def left(folder: Path) -> list[str]:
    """List what is in a folder, hidden files too, but for Python's own of compiled modules."""
    return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a whole checkpoint into arrays of its own."""
    return {n: np.array(t.read()) for n, t in open_checkpoint(path).tensors.items()}


def write_paddle(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """Write arrays as a .pdparams."""
    return write_tensors(path, pdparams.layout({name: held(v) for name, v in state.items()}))


def write_tensors(path: Path, layout: Layout) -> Path:
    """Write what is laid out."""
    with path.open("w+b") as file:
        sum(write(file.fileno(), layout))
    return path
