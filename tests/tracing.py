"""Run one side of a parity check in this process, again and again."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from conftest import Make
from vitconvert import Report, _models, _table, check_parity
from vitconvert.parity import _compare, _trace

SMALL = (64, 64)  # pixels; every layer runs, in a twelfth of the time


def parity(variant: str, torch: Path, paddle: Path) -> Report:
    return check_parity(
        variant, torch_checkpoint=torch, paddle_checkpoint=paddle, input_size=SMALL, device="cpu"
    )


@contextmanager
def traced_once(variant: str, official: Make, folder: Path, size: int = 32) -> Iterator[Path]:
    """Trace PyTorch once, and let Paddle models be built once for all that follow."""
    images = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype("f4")
    np.save(folder / "in.npy", images)
    built: dict[str, object] = {}

    def build_once(side: _table.Side, found: _table.Variant, num_classes: int) -> object:
        import paddle

        key = f"{side} {paddle.get_default_dtype()}"
        if side == "torch" or key not in built:
            built[key] = _models.build(side, found, num_classes)
        return built[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_trace, "build", build_once)
        trace(folder, "torch", official(variant), variant)
        yield folder


def trace(folder: Path, side: _table.Side, checkpoint: Path, variant: str = "shunted_t") -> None:
    """Run one side in this process, as a worker would in its own."""
    import paddle
    import torch

    (folder / side).mkdir(exist_ok=True)
    job = _trace.Job(
        framework=side,
        variant=variant,
        checkpoint=str(checkpoint),
        weights=None,
        num_classes=_table.variants()[variant].num_classes,
        device="cpu",
        inputs=str(folder / "in.npy"),
        out=str(folder / side),
    )
    try:
        _trace.trace(job, io.StringIO())
    finally:
        torch.set_default_dtype(torch.float32)
        paddle.set_default_dtype("float32")


def first_diverging(folder: Path, paddle: Path, variant: str = "shunted_t") -> str | None:
    """Run Paddle on a checkpoint and name the first layer that is not the same."""
    trace(folder, "paddle", paddle, variant)
    sides = (_compare.Trace(folder / side) for side in ("torch", "paddle"))
    results = _compare.compare(*sides, {}, lambda *_: None)
    return next((result.layer for result in results if result.verdict != "same"), None)
