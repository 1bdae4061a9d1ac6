"""Run models as a plain script or a parity worker does, to measure them side by side.

python benchmarks/models.py plain shunted_s model.pth model.pdparams
python benchmarks/models.py forward|trace torch|paddle shunted_s model.pth [FED_BY]
"""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from vitconvert import create_model
from vitconvert.parity import _dump
from vitconvert.running.setup import Setup, Subject
from vitconvert.tables import reading

SHAPE = (2, 3, 224, 224)


def images() -> np.ndarray:
    """Make a batch, float32 [2, 3, 224, 224]."""
    return np.random.default_rng(0).standard_normal(SHAPE).astype("f4")


def plain(variant: str, torch_file: str, paddle_file: str) -> None:
    """Import both frameworks, build and load both models, compare float32 logits."""
    import paddle
    import torch

    torch_model = create_model(variant, "torch", checkpoint=torch_file)
    paddle_model = create_model(variant, "paddle", checkpoint=paddle_file)
    with torch.no_grad():
        expected = torch_model(torch.from_numpy(images())).numpy()
    with paddle.no_grad():
        found = paddle_model(paddle.to_tensor(images())).numpy()
    print(np.abs(found - expected).max())


def forward(side: str, variant: str, file: str) -> None:
    """Build, load and run one model in float64: the memory of the model and a batch."""
    x = images().astype("f8")
    if side == "torch":
        import torch

        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            create_model(variant, "torch", checkpoint=file)(torch.from_numpy(x))
    else:
        import paddle

        paddle.set_default_dtype("float64")
        with paddle.no_grad():
            create_model(variant, "paddle", checkpoint=file)(paddle.to_tensor(x))


def trace(side: str, variant: str, file: str, out: str, alone: str = "") -> None:
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
    {"plain": plain, "forward": forward, "trace": trace}[sys.argv[1]](*sys.argv[2:])
