"""Figures of the whole models' outputs: of each input, and of all together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._structure import rows
from ._trace import DTYPES, Trace
from ._values import arrays_in


@dataclass(frozen=True)
class OutputFigures:
    """How the outputs of the whole models compare in one precision, as reviewers ask.

    Attributes:
        run: "float64" or "float32".
        max: Largest absolute difference between both sides; None where only one side ran so.
        mean: Mean absolute difference.
        reference_error: Largest absolute error of the reference against the float64 truth.
        candidate_error: The same of the candidate.
        agreement: Share of the samples whose largest output is the same one on both sides; None
            where the output is not one row per sample.
        samples: Their number.
    """

    run: str
    max: float | None
    mean: float | None
    reference_error: float | None
    candidate_error: float | None
    agreement: float | None
    samples: int

    def cells(self, none: str) -> list[str]:
        """Spell both differences, both errors and the agreement; `none` for what is not known.

        A figure that is not finite is not known, either: compared with itself it is not the same.
        """
        numbers = (self.max, self.mean, self.reference_error, self.candidate_error)
        cells = [none if n is None or not math.isfinite(n) else f"{n:.3g}" for n in numbers]
        same = self.agreement
        return [*cells, none if same is None else f"{round(same * self.samples)} of {self.samples}"]


@dataclass(frozen=True)
class InputResult:
    """What the whole models make of one input.

    Attributes:
        inputs: Shape, origin and hash of the input batch.
        output: Figures of the output, by precision.
        same: Whether the output is the same on both sides, by the limit that the model has.
        float64: Float64 difference, relative to the largest value; None if it is not known.
        note: What was found and expected, if it is not the same.
    """

    inputs: dict[str, Any]
    output: tuple[OutputFigures, ...]
    same: bool
    float64: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """How people call the input."""
        return name_of_input(self.inputs)


def name_of_input(facts: dict[str, Any]) -> str:
    """Say which input this is: "seed 3, batch 8"; of a file its name."""
    if "noise" not in facts:
        return str(facts.get("file", "the input"))
    return f"seed {facts.get('seed', 0)}, batch {facts['shape'][0]}"


def pooled(results: Sequence[tuple[OutputFigures, ...]]) -> tuple[OutputFigures, ...]:
    """Put the figures of several inputs together: largest of all, mean and agreement over all.

    A figure that one input does not have, all of them together do not have, either.
    """
    by_run: dict[str, list[OutputFigures]] = {}
    for one in (figures for output in results for figures in output):
        by_run.setdefault(one.run, []).append(one)
    return tuple(_pooled(run, found, len(results)) for run, found in by_run.items())


def _pooled(run: str, found: list[OutputFigures], wanted: int) -> OutputFigures:
    samples = sum(one.samples for one in found)

    def all_of(name: str) -> list[float] | None:
        values = [getattr(one, name) for one in found]
        return None if None in values or len(values) < wanted else values

    def largest(name: str) -> float | None:
        values = all_of(name)
        # max() would lose a NaN that comes second
        return None if values is None else float(np.max(values))

    def mean(name: str) -> float | None:
        values = all_of(name)
        if values is None:
            return None
        weights = [one.samples or 1 for one in found]  # an output without samples counts as one
        return float(np.average(values, weights=weights))

    return OutputFigures(
        run,
        largest("max"),
        mean("mean"),
        largest("reference_error"),
        largest("candidate_error"),
        mean("agreement"),
        samples,
    )


def figures_of_output(reference: Trace, candidate: Trace) -> tuple[OutputFigures, ...]:
    """Compare what the whole models give, in each precision that any side ran in."""
    outputs = _outputs(reference, candidate)
    truth = outputs[0].get("float64", outputs[1].get("float64"))
    return tuple(
        _figures(dtype, truth, outputs[0].get(dtype), outputs[1].get(dtype))
        for dtype in DTYPES
        if dtype in outputs[0] or dtype in outputs[1]
    )


def _outputs(reference: Trace, candidate: Trace) -> list[dict[str, np.ndarray]]:
    """Return the first array that both models give, by precision, in the reference's shape."""
    traces = reference, candidate
    calls = {
        (trace, dtype): call
        for trace in traces
        for dtype, run in trace.runs.items()
        if (call := run.calls.get(trace.facts.output)) is not None
    }
    found = rows(calls, whole=True)[0] if calls else []
    row = next((row for row in found if isinstance(next(iter(row.values())), int)), {})
    outputs: list[dict[str, np.ndarray]] = [{}, {}]
    shape = None
    for run, call in calls.items():
        trace, dtype = run
        index = row.get(run, next((index for _, index in arrays_in(call.outputs)), None))
        if isinstance(index, int):
            array = trace.runs[dtype].arrays[index]
            shape = shape or array.shape
            outputs[traces.index(trace)][dtype] = array.reshape(shape) if row else array
    return outputs


def _figures(
    dtype: str, truth: np.ndarray | None, one: np.ndarray | None, other: np.ndarray | None
) -> OutputFigures:
    apart = _differences(one, other)
    pairs = (one, other), (one, truth), (other, truth)
    by, *errors = (
        None if (found := _differences(*pair)) is None else float(found.max()) for pair in pairs
    )
    agreement, samples = None, 0
    if apart is not None and one is not None and other is not None:
        samples = len(one) if one.ndim else 0
        if one.ndim == 2:
            agreement = float((one.argmax(1) == other.argmax(1)).mean())
    mean = None if apart is None else float(apart.mean())
    return OutputFigures(dtype, by, mean, errors[0], errors[1], agreement, samples)


def _differences(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Return the absolute differences; None where there is nothing to compare."""
    if one is None or other is None or one.shape != other.shape or not one.size:
        return None
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(one.astype(np.float64) - other))
