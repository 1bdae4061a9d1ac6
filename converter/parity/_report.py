"""The result of a parity check, as data: for people, for scripts and for other programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from ..page import without_nan
from ._compare import FLOAT32_FACTOR, FLOAT32_FLOOR, LayerResult, SettingResult
from ._distance import FLOAT64_LIMIT
from ._gradients import GradientResult
from ._lone import Lone, checked, not_compared
from ._structure import rows
from ._trace import DTYPES, Likeness, Trace
from ._values import arrays_in

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

        A figure that is not finite is not known, either: compared with itself it is not the same.
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
        forms: Classes of either side that no kind names and that compute what a class of a kind
            does; those of the reference first.
        paddle_only: Tensors that Paddle alone has, by the table, and what each was compared with.
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
    forms: tuple[Likeness, ...] = ()
    paddle_only: tuple[Lone, ...] = ()
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
        """The first layer that is wrong by itself, not for what it was given.

        One of which only settings differ comes behind those that give other numbers.
        """
        faults = [layer for layer in self.layers if layer.is_fault]
        faults.sort(key=lambda layer: layer.verdict == "settings")
        return next(iter(faults), self.first_diverging)

    @property
    def claim(self) -> str:
        """What the verdict means, in one sentence; docs/parity.md says what it does not."""
        if self.verdict == "PROVED":
            compared = "checkpoints" if "sha256" in self.reference else "models"
            return f"both {compared} compute the same function.{self._left_out()}"
        if self.verdict == "MEASURED":
            return (
                "no layer is further off than float32 rounding may be; without a float64 run of "
                "both sides that does not prove that the function is the same."
                f"{self._left_out()}"
            )
        first, culprit = self.first_diverging, self.culprit
        if first is None or culprit is None:
            if not self.layers:
                return "no layer was compared."
            if (wrong := first_wrong_gradient(self)) is None:
                return "a training step differs."
            return (
                f"the gradient of {wrong.key} differs, the first on the way back from the output: "
                f"{wrong.note}."
            )
        name, note = culprit.layer, culprit.note.removesuffix(".")
        if culprit.kind == "output":
            name = f"the code of the model itself ({name})"
        claim = f"first wrong layer: {name} ({culprit.kind}): {culprit.verdict}; {note}."
        if first.layer != culprit.layer and first.verdict != "settings":
            claim += f" It shows first in {first.layer}."
        if culprit.candidate_layer != culprit.layer.partition("#")[0]:
            claim += f" In {self.candidate['label']} it is called {culprit.candidate_layer}."
        return claim

    @property
    def lone(self) -> list[str]:
        """What became of the tensors that Paddle alone has, in words."""
        return [*checked(self.paddle_only), *not_compared(self.paddle_only)]

    def _left_out(self) -> str:
        """Say what the verdict does not cover, behind it."""
        return "".join(f" {line[0].upper()}{line[1:]}." for line in not_compared(self.paddle_only))

    @property
    def sides(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The facts of both sides, the reference first."""
        return self.reference, self.candidate

    @property
    def labels(self) -> tuple[str, str]:
        """What people call both sides."""
        return self.reference["label"], self.candidate["label"]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON; what is not finite becomes None."""
        from ..version import __version__

        first, culprit = self.first_diverging, self.culprit
        own = asdict(self)
        for name in ("proves", "training_differs"):  # the verdict has them
            del own[name]
        data = {
            "vitconvert": __version__,
            "model": self.model,
            "verdict": self.verdict,
            "proved": self.proved,
            "claim": self.claim,
            "first_diverging": first.layer if first else None,
            "culprit": culprit.layer if culprit else None,
            "criteria": {
                "float64_limit": FLOAT64_LIMIT,
                "float32_factor": FLOAT32_FACTOR,
                "float32_floor": FLOAT32_FLOOR,
            },
            "weights_compared": own.pop("weights"),
            **own,
            "seconds": round(self.seconds, 2),
        }
        finite: dict[str, Any] = without_nan(data)
        return finite

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


def first_wrong_gradient(report: Report) -> GradientResult | None:
    """Return the wrong gradient of the layer that runs last: gradients come from the output."""
    places = {layer.layer: place for place, layer in enumerate(report.layers)}

    def place(gradient: GradientResult) -> int:
        key = gradient.key.rpartition(" ")[2]
        return places.get(key.rpartition(".")[0], places.get(key, -1))

    return max((g for g in report.gradients if not g.same), key=place, default=None)


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
