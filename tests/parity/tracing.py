"""Run one side of a parity check in this process, again and again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import Make, write_paddle
from vitconvert import Report, check_parity, models
from vitconvert.errors import RunError, VitconvertError
from vitconvert.parity import _dump, compare_traces
from vitconvert.parity._options import RunOptions
from vitconvert.running import setup
from vitconvert.running.process import Task
from vitconvert.sides import Side
from vitconvert.tables import reading
from vitconvert.tables.reading import find_variant
from vitconvert.tables.variant import Variant

_NAMES = count()
SMALL = (64, 64)  # pixels; every layer runs, in a twelfth of the time


def parity(variant: str, torch: Path, paddle: Path, **options: Unpack[RunOptions]) -> Report:
    table, found = find_variant(variant)
    size = found.input_size if table.torch and table.fixed_size else SMALL
    usual: RunOptions = {"input_size": size, "device": "cpu"}
    options = usual | options
    return check_parity(variant, torch_checkpoint=torch, paddle_checkpoint=paddle, **options)


@contextmanager
def built_once() -> Iterator[None]:
    """Let the Paddle models be built once for all traces that follow."""
    built: dict[str, tuple[Any, dict[str, float]]] = {}

    def build(side: Side, found: Variant, num_classes: int) -> object:
        import paddle

        key = f"{side} {found.name} {paddle.get_default_dtype()}"
        if side == "torch":
            return models.build(side, found, num_classes)
        if key not in built:
            model = models.build(side, found, num_classes)
            layers = dict(model.named_sublayers())
            built[key] = model, {n: x._epsilon for n, x in layers.items() if hasattr(x, "_epsilon")}
        model, epsilons = built[key]
        as_built(model, paddle.get_default_dtype())
        for name, layer in model.named_sublayers():
            if name in epsilons:
                layer._epsilon = epsilons[name]  # a trace rounds it
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "build", build)
        yield


def as_built(model: Any, dtype: str) -> None:
    """Bring a Paddle model back to the floating type it was built in: a trace casts it."""

    def cast(tensor: Any, device: Any, dtype: Any, blocking: Any) -> Any:
        return model._transform(tensor, device, dtype, blocking)

    model._apply(cast, None, dtype, None, True)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Make images, float32 [B, 3, H, W]."""
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


@contextmanager
def traced_once(variant: str, official: Make, folder: Path, size: int = 32) -> Iterator[Path]:
    """Trace PyTorch once, and let Paddle models be built once for all that follow."""
    np.save(folder / "in.npy", noise((1, 3, size, size)))
    with built_once():
        trace(folder, "torch", official(variant), variant)
        yield folder


class Deaf:
    """Hears nothing of how far a trace is."""

    def tell(self, what: object) -> None:
        """Hear nothing."""


def run_here(tasks: Sequence[Task], _hear: object) -> list[Any]:
    """Stand in for `running.process.run`: carry the tasks out in this process, one by one."""
    try:
        return [import_module(task.program).carry_out(task.job, Deaf()) for task in tasks]
    except VitconvertError as error:
        raise RunError(error) from error


def trace(
    folder: Path,
    side: Side,
    checkpoint: Path,
    variant: str = "shunted_t",
    backward: bool = False,
) -> None:
    """Run one side in this process, as a worker would in its own; Paddle is fed by PyTorch."""
    (folder / side).mkdir(exist_ok=True)
    num_classes = reading.variants()[variant].num_classes
    subject = setup.Subject(variant, num_classes, output="logits" if num_classes else "features")
    job = _dump.Job(
        setup.Setup(side, subject, str(checkpoint), device="cpu"),
        str(folder / "in.npy"),
        str(folder / side),
        {"shape": list(np.load(folder / "in.npy").shape), "sha256": "as made"},
        alone=str(folder / "torch") if side == "paddle" else "",
        backward=backward,
    )
    _dump.trace(job, Deaf())


def compared(
    folder: Path, paddle: Path, variant: str = "shunted_t", backward: bool = False
) -> Report:
    """Run Paddle on a checkpoint, fed by the PyTorch trace, and compare."""
    trace(folder, "paddle", paddle, variant, backward)
    return compare_traces(folder / "torch", folder / "paddle")


def culprit(folder: Path, paddle: Path, variant: str = "shunted_t") -> str | None:
    """Run Paddle on a checkpoint and name the layer that is wrong by itself."""
    found = compared(folder, paddle, variant).culprit
    return found.layer if found else None


def compared_sources(
    folder: Path,
    sources: dict[Side, str],
    states: dict[Side, dict[str, np.ndarray]],
    table: str,
    images: np.ndarray,
    alone: bool = True,
    backward: bool = False,
) -> Report:
    """Trace two models, whose code and weights are given, in this process, and compare.

    Their modules are in `folder`, from which modules can be imported, under a name of their own.
    """
    save_file(states["torch"], folder / "w.safetensors", {"format": "pt"})
    write_paddle(folder / "w.pdparams", states["paddle"])
    (folder / "t.toml").write_text(table)
    np.save(folder / "in.npy", images)
    files: dict[Side, str] = {"torch": "w.safetensors", "paddle": "w.pdparams"}
    for side, file in files.items():
        module = f"{side}_{next(_NAMES)}"
        (folder / f"{module}.py").write_text(sources[side])
        (folder / side).mkdir(exist_ok=True)
        subject = setup.Subject(f"{module}:net", table=str(folder / "t.toml"))
        job = _dump.Job(
            setup.Setup(side, subject, str(folder / file), device="cpu"),
            str(folder / "in.npy"),
            str(folder / side),
            {"shape": list(images.shape), "sha256": "x"},
            alone=str(folder / "torch") if alone and side == "paddle" else "",
            backward=backward,
        )
        _dump.trace(job, Deaf())
    return compare_traces(folder / "torch", folder / "paddle")
