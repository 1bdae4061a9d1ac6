"""The result of a parity check, as data: for people, for scripts and for other programs."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ._compare import FLOAT32_FACTOR, FLOAT32_FLOOR, LayerResult, SettingResult
from ._distance import FLOAT64_LIMIT
from ._gradients import GradientResult
from ._trace import Trace, array_of, leaves

Verdict = Literal["PROVED", "NOT PROVED", "MEASURED"]


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

        What is not finite is not known, either: compared with itself it is not the same.
        """
        numbers = (self.max, self.mean, self.reference_error, self.candidate_error)
        cells = [none if n is None or not math.isfinite(n) else f"{n:.3g}" for n in numbers]
        same = self.agreement
        return [*cells, none if same is None else f"{round(same * self.samples)} of {self.samples}"]


@dataclass(frozen=True)
class Report:
    """What a parity check found.

    Attributes:
        model: The model.
        reference: File, its hash, who read it, versions and device of the side held to be right.
        candidate: The same of the other.
        inputs: Shape, origin and hash of the input batch.
        layers: Every call of a paired layer in order of execution, the whole model last.
        settings: Every setting of the paired layers, side by side.
        gradients: Every gradient; empty if not asked for.
        training: What one training step made of the norms, in words.
        training_differs: Whether that is more than the known difference.
        output: Figures of the whole model's output, by precision.
        proves: Whether both sides ran in float64: then the verdict is on the function itself.
        weights: How many tensors were compared, exactly.
        diagnosis: What is wrong and what its cause is likely to be, in words; empty if nothing is.
        never_run: Paired layers that neither model runs on this input: only weights and settings
            of these are compared.
        limits: Kinds of layers with a float64 limit of their own -> that limit.
        seconds: Wall time of the whole check.
    """

    model: str
    reference: dict[str, Any]
    candidate: dict[str, Any]
    inputs: dict[str, Any]
    layers: tuple[LayerResult, ...]
    seconds: float
    settings: tuple[SettingResult, ...] = ()
    gradients: tuple[GradientResult, ...] = ()
    training: tuple[str, ...] = ()
    training_differs: bool = False
    output: tuple[OutputFigures, ...] = ()
    proves: bool = True
    weights: int = 0
    diagnosis: tuple[str, ...] = ()
    never_run: tuple[str, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """PROVED, NOT PROVED, or MEASURED where nothing is wrong that float32 alone could show."""
        wrong = self.first_diverging is not None or self.training_differs
        has_output = any(layer.kind == "output" for layer in self.layers)
        if not has_output or wrong or not all(g.same for g in self.gradients):
            return "NOT PROVED"
        return "PROVED" if self.proves else "MEASURED"

    @property
    def proved(self) -> bool:
        """Whether every layer and the output are the same on both sides."""
        return self.verdict == "PROVED"

    @property
    def first_diverging(self) -> LayerResult | None:
        """The first layer, in order of execution, that is not the same."""
        return next((layer for layer in self.layers if layer.verdict != "same"), None)

    @property
    def culprit(self) -> LayerResult | None:
        """The first layer that is wrong by itself, not for what it was given."""
        return next((layer for layer in self.layers if layer.is_fault), self.first_diverging)

    @property
    def claim(self) -> str:
        """What the verdict says, in one sentence."""
        return claim(self)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, for JSON; what is not finite becomes None."""
        first, culprit = self.first_diverging, self.culprit
        from ..version import __version__

        data = {
            "vitconvert": __version__,
            "model": self.model,
            "verdict": self.verdict,
            "proved": self.proved,
            "claim": self.claim,
            "first_diverging": first.layer if first else None,
            "culprit": culprit.layer if culprit else None,
            "diagnosis": list(self.diagnosis),
            "criteria": {
                "float64_limit": FLOAT64_LIMIT,
                "float32_factor": FLOAT32_FACTOR,
                "float32_floor": FLOAT32_FLOOR,
            },
            "reference": self.reference,
            "candidate": self.candidate,
            "inputs": self.inputs,
            "output": [dataclasses.asdict(figures) for figures in self.output],
            "weights_compared": self.weights,
            "seconds": round(self.seconds, 2),
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "settings": [dataclasses.asdict(setting) for setting in self.settings],
            "gradients": [dataclasses.asdict(gradient) for gradient in self.gradients],
            "training": list(self.training),
            "never_run": list(self.never_run),
            "limits": dict(self.limits),
        }
        finite: dict[str, Any] = _finite(data)
        return finite

    def to_json(self) -> str:
        """Give the report as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a report; an older one is replaced in one step."""
    from ..files import write_whole

    write_whole(path, text.encode())


def claim(report: Report) -> str:
    """Say what the verdict means; docs/parity.md says what it does not."""
    if report.verdict == "PROVED":
        compared = "checkpoints" if "sha256" in report.reference else "models"
        return f"both {compared} compute the same function."
    if report.verdict == "MEASURED":
        return (
            "no layer is further off than float32 rounding may be; without a float64 run of both "
            "sides that does not prove that the function is the same."
        )
    first, culprit = report.first_diverging, report.culprit
    if first is None or culprit is None:
        if not report.layers:
            return "no layer was compared."
        wrong = first_wrong_gradient(report)
        if wrong is not None:
            told = f"the gradient of {wrong.key} differs, the first on the way back from the output"
            return f"{told}: {wrong.note}."
        return "a training step differs."
    name = culprit.layer
    if culprit.kind == "output":
        name = f"the code of the model itself ({name})"
    note = culprit.note.removesuffix(".")
    told = f"first wrong layer: {name} ({culprit.kind}): {culprit.verdict}; {note}."
    if first.layer != culprit.layer:
        told += f" It shows first in {first.layer}."
    if culprit.candidate_layer != culprit.layer.partition("#")[0]:
        told += f" In {report.candidate['label']} it is called {culprit.candidate_layer}."
    return told


def first_wrong_gradient(report: Report) -> GradientResult | None:
    """Give the wrong gradient of the layer that runs last: gradients come from the output."""
    places = {layer.layer: place for place, layer in enumerate(report.layers)}

    def place(gradient: GradientResult) -> int:
        key = gradient.key.rpartition(" ")[2]
        return places.get(key.rpartition(".")[0], places.get(key, -1))

    return max((g for g in report.gradients if not g.same), key=place, default=None)


def figures_of_output(reference: Trace, candidate: Trace) -> tuple[OutputFigures, ...]:
    """Compare what the whole models give, in each precision that any side ran in."""
    outputs = {
        (side, dtype): _output(trace, dtype)
        for side, trace in (("reference", reference), ("candidate", candidate))
        for dtype in trace.runs
    }
    truth = outputs.get(("reference", "float64"), outputs.get(("candidate", "float64")))
    return tuple(
        _figures(dtype, truth, outputs.get(("reference", dtype)), outputs.get(("candidate", dtype)))
        for dtype in ("float64", "float32")
        if any(run == dtype for _, run in outputs)
    )


def _output(trace: Trace, dtype: str) -> np.ndarray | None:
    run = trace.runs[dtype]
    call = run.calls.get(trace.facts.output)
    if call is None:
        return None
    indices = (array_of(leaf) for leaf in leaves(call.outputs))
    return next((run.arrays[index] for index in indices if index is not None), None)


def _figures(
    dtype: str,
    truth: np.ndarray | None,
    one: np.ndarray | None,
    other: np.ndarray | None,
) -> OutputFigures:
    def error(found: np.ndarray | None) -> float | None:
        if found is None or truth is None or found.shape != truth.shape or not found.size:
            return None
        return float(np.abs(found.astype(np.float64) - truth).max())

    if one is None or other is None or one.shape != other.shape or not one.size:
        return OutputFigures(dtype, None, None, error(one), error(other), None, 0)
    with np.errstate(invalid="ignore"):
        apart = np.abs(one.astype(np.float64) - other)
    agreement, samples = None, len(one) if one.ndim else 0
    if one.ndim == 2:
        agreement = float((one.argmax(1) == other.argmax(1)).mean())
    figures = float(apart.max()), float(apart.mean())
    return OutputFigures(dtype, *figures, error(one), error(other), agreement, samples)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
