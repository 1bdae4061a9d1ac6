"""Run models as a plain script or a parity worker does, to measure them side by side.

python benchmarks/models.py plain shunted_s model.pth model.pdparams
python benchmarks/models.py forward|trace torch|paddle shunted_s model.pth [FED_BY]
"""

import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from vitconvert import create_model
from vitconvert.parity import _dump
from vitconvert.running.setup import Setup, Subject
from vitconvert.sides import Side
from vitconvert.tables import reading

SHAPE = (2, 3, 224, 224)


def images() -> np.ndarray:
    """Make a batch, float32 [2, 3, 224, 224]."""
    return np.random.default_rng(0).standard_normal(SHAPE).astype("f4")


def logits(side: Side, variant: str, file: str, dtype: str = "float32") -> np.ndarray:
    """Build, load and run one model."""
    library = import_module(side)
    is_torch = side == "torch"
    library.set_default_dtype(getattr(library, dtype) if is_torch else dtype)
    model = create_model(variant, side, checkpoint=file)
    x = images().astype(dtype)
    to_tensor = library.from_numpy if is_torch else library.to_tensor
    with library.no_grad():
        found: np.ndarray = model(to_tensor(x)).numpy()
    return found


def plain(variant: str, torch_file: str, paddle_file: str) -> None:
    """Import both frameworks, build and load both models, compare float32 logits."""
    expected = logits("torch", variant, torch_file)
    print(np.abs(logits("paddle", variant, paddle_file) - expected).max())


def forward(side: Side, variant: str, file: str) -> None:
    """Run one model in float64: the memory of the model and a batch."""
    logits(side, variant, file, "float64")


def trace(side: Side, variant: str, file: str, out: str, alone: str = "") -> None:
    """Run as a worker does: float64, float32 and, if fed, each layer alone."""
    with tempfile.TemporaryDirectory(dir=Path(out).parent) as folder:
        np.save(Path(folder) / "in.npy", images())
        Path(out).mkdir(exist_ok=True)
        classes = reading.variants()[variant].num_classes
        setup = Setup(side, Subject(variant, classes, output="logits"), file, device="cpu")
        facts = {"shape": list(SHAPE), "sha256": "as made"}
        job = _dump.Job(setup, str(Path(folder) / "in.npy"), out, facts, alone=alone)
        _dump.trace(job, SimpleNamespace(tell=lambda _what: None))


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"plain": plain, "forward": forward, "trace": trace}
    jobs[sys.argv[1]](*sys.argv[2:])
