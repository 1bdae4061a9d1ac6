"""Compare two traces, with NumPy alone, and judge every layer."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ._trace import DTYPES, Record

Verdict = Literal["same", "differs", "imprecise", "not finite", "shape", "missing", "weights"]

# Two float64 runs of one function differ by rounding alone, about 1e-13 of the largest value, once
# PyTorch has Paddle's float32 epsilons. A real difference of function or weights is larger.
FLOAT64_LIMIT = 1e-10

# In float32 each side has its own error against float64. Paddle's may be this many times torch's.
FLOAT32_FACTOR = 8.0
# Where torch's error happens to be (almost) nothing, this many units in the last place count as it.
FLOAT32_FLOOR = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Worst:
    """Where two float64 outputs are furthest apart."""

    index: tuple[int, ...]
    torch: float
    paddle: float


@dataclass(frozen=True)
class LayerResult:
    """One paired layer, judged. Differences are relative to the layer's largest float64 value.

    Attributes:
        layer: PyTorch name.
        paddle_layer: Paddle name.
        kind: Kind of its row; "output" for the logits.
        shape: Shape of the PyTorch output.
        verdict: "same", or what is wrong: "differs" (float64), "imprecise" (float32 only),
            "not finite", "shape", "missing", "weights" (outputs agree, but not the tensors).
        float64: Largest float64 difference between the two; None where not comparable.
        float32_torch: Largest error of torch's float32 against its own float64.
        float32_paddle: Largest error of Paddle's float32 against torch's float64.
        worst: Where the float64 difference is largest.
        note: What was found and expected, when something is wrong.
    """

    layer: str
    paddle_layer: str
    kind: str
    shape: tuple[int, ...]
    verdict: Verdict
    float64: float | None = None
    float32_torch: float | None = None
    float32_paddle: float | None = None
    worst: Worst | None = None
    note: str = ""


class Trace:
    """A trace folder: records by layer, arrays on demand."""

    def __init__(self, folder: Path) -> None:
        facts: dict[str, Any] = json.loads((folder / "trace.json").read_text())
        self.folder = folder
        self.environment: dict[str, Any] = facts["environment"]
        self.reader: str = facts["reader"]
        self.layers: dict[str, str] = facts["layers"]  # PyTorch name -> own name
        self.records: dict[str, dict[str, Record]] = {
            dtype: {r["layer"]: Record(**r | {"shape": tuple(r["shape"])}) for r in facts[dtype]}
            for dtype in DTYPES
        }

    def shape_of(self, dtype: str, layer: str) -> tuple[int, ...] | None:
        """Give the shape of one output; None if the layer did not run."""
        record = self.records[dtype].get(layer)
        return record.shape if record else None

    def array(self, dtype: str, layer: str) -> np.ndarray:
        """Read one output."""
        record = self.records[dtype][layer]
        count = int(np.prod(record.shape, dtype=np.int64))
        data = np.fromfile(self.folder / f"{dtype}.bin", dtype, count, offset=record.offset)
        return data.reshape(record.shape)


def compare(
    torch: Trace,
    paddle: Trace,
    differing: Mapping[str, str],
    progress: Callable[[int, int], None],
) -> Iterator[LayerResult]:
    """Judge every paired layer, in the order in which the PyTorch model runs them.

    Args:
        torch: The trace of the PyTorch side.
        paddle: The trace of the Paddle side.
        differing: PyTorch layer -> which of its tensors are not the same in both files.
        progress: Called with the number of layers done and of all.
    """
    names = list(torch.records["float64"])
    names += [n for n in paddle.records["float64"] if n not in torch.records["float64"]]
    ran = {name.partition("#")[0] for name in names}
    names += [name for name in {**torch.layers, **paddle.layers} if name not in ran]
    for done, name in enumerate(names, 1):
        result = _judge(name, torch, paddle)
        if name in differing:
            told = f"the files differ here: {differing[name]}"
            verdict = "weights" if result.verdict == "same" else result.verdict
            note = "; ".join(filter(None, [result.note, told]))
            result = replace(result, verdict=verdict, note=note)
        yield result
        progress(done, len(names))
    for name in sorted(differing.keys() - set(names)):
        yield LayerResult(name, name, "", (), "weights", note=differing[name])


def _judge(name: str, torch: Trace, paddle: Trace) -> LayerResult:
    ours, theirs = torch.records["float64"].get(name), paddle.records["float64"].get(name)
    if ours is None or theirs is None:
        known: Mapping[str, Any] = {"torch": ours, "Paddle": theirs}
        sides = " and ".join(side for side, record in known.items() if record is None)
        one = ours or theirs
        own = theirs.own_name if theirs else paddle.layers.get(name, name)
        kind, shape = (one.kind, one.shape) if one else ("", ())
        note = f"the {sides} model did not run this layer"
        return LayerResult(name, own, kind, shape, "missing", note=note)
    shapes = [side.shape_of(dtype, name) for dtype in DTYPES for side in (torch, paddle)]
    if shapes != [ours.shape] * len(shapes):
        note = "torch and Paddle give " + " and ".join(str(list(s)) for s in shapes[:2] if s)
        return LayerResult(name, theirs.own_name, ours.kind, ours.shape, "shape", note=note)
    return _judge_values(ours, theirs, *(t.array(d, name) for d in DTYPES for t in (torch, paddle)))


def _judge_values(
    ours: Record,
    theirs: Record,
    torch64: np.ndarray,
    paddle64: np.ndarray,
    torch32: np.ndarray,
    paddle32: np.ndarray,
) -> LayerResult:
    """Judge the values of a layer that both sides ran and whose shapes agree."""

    def result(verdict: Verdict, note: str = "", **figures: Any) -> LayerResult:
        return LayerResult(
            ours.layer, theirs.own_name, ours.kind, ours.shape, verdict, note=note, **figures
        )

    runs = {"torch float64": torch64, "Paddle float64": paddle64}
    runs |= {"torch float32": torch32, "Paddle float32": paddle32}
    for run, values in runs.items():
        if count := values.size - int(np.isfinite(values).sum()):
            return result("not finite", f"{run} has {count} values that are not finite")
    scale = float(np.abs(torch64).max(initial=0.0)) or 1.0
    apart = np.abs(paddle64 - torch64)
    index = np.unravel_index(int(apart.argmax()), apart.shape)
    figures: dict[str, Any] = {
        "float64": float(apart[index]) / scale,
        "float32_torch": float(np.abs(torch32 - torch64).max(initial=0.0)) / scale,
        "float32_paddle": float(np.abs(paddle32 - torch64).max(initial=0.0)) / scale,
    }
    where = Worst(tuple(map(int, index)), float(torch64[index]), float(paddle64[index]))
    if figures["float64"] > FLOAT64_LIMIT:
        place = list(where.index)
        note = f"largest at {place}: torch {where.torch:.17g}, Paddle {where.paddle:.17g}"
        return result("differs", note, worst=where, **figures)
    allowed = FLOAT32_FACTOR * max(figures["float32_torch"], FLOAT32_FLOOR)
    if figures["float32_paddle"] > allowed:
        note = f"float32 error {figures['float32_paddle']:.1e}, allowed {allowed:.1e}"
        return result("imprecise", note, worst=where, **figures)
    return result("same", worst=where, **figures)
