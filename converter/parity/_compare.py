"""Compare two traces, with NumPy alone, and judge every layer."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import ParityError, listing
from ._arrange import nearest, ways
from ._distance import FLOAT64_LIMIT, Finding, apart, not_finite, spell
from ._settings import differing
from ._structure import RunOf, Value, rows, shape
from ._trace import Layer, Trace, describe_input
from ._weights import differing_weights

Verdict = Literal[
    "same",
    "differs",
    "inherits",
    "imprecise",
    "not finite",
    "shape",
    "missing",
    "weights",
    "settings",
]

# In float32 each side has its own error against float64. One may be this many times the other.
FLOAT32_FACTOR = 8.0
# Where an error happens to be (almost) nothing, this many units in the last place count as it.
FLOAT32_FLOOR = 4 * float(np.finfo(np.float32).eps)

# Without float64 on both sides nothing measures what rounding alone would do. It gave up to 4e-6 in
# the models that come with vitconvert, and TF32 up to a thousand times as much.
ONE_SIDED_LIMIT = 1e-4
ONE_SIDED_TF32_LIMIT = 2e-2

# What errors are measured against: the first of these that there is.
_TRUTHS = ("reference float64", "candidate float64", "reference float32")
_THREADS = 2


@dataclass(frozen=True)
class Worst:
    """Where two float64 outputs are furthest apart."""

    index: tuple[int, ...]
    reference: float
    candidate: float


@dataclass(frozen=True)
class LayerResult:
    """One call of a paired layer, judged. Differences are relative to its largest float64 value.

    Attributes:
        layer: PyTorch name; from the second call on with its number.
        candidate_layer: Name in the candidate.
        kind: Kind of its row; "output" for the whole model.
        shape: Shape of the reference's output.
        verdict: "same", or what is wrong: "differs" (in float64, by itself), "inherits" (what it
            was given differs, it does not), "imprecise" (float32 only), "not finite", "shape",
            "missing", "weights" or "settings" (outputs agree, but not these).
        alone: Float64 difference of this layer alone, given the reference's input; None where
            that was not tried.
        float64: Float64 difference of the two models; None where not comparable.
        float32_reference: Error of the reference's float32 against the float64 truth.
        float32_candidate: The same of the candidate.
        off: Which side's float32 error is too large: "reference", "candidate" or "".
        worst: Where the float64 difference is largest.
        arranged: How the candidate's values were brought to that shape: "reshaped", "channels
            moved" or "batch moved"; "" where they have it.
        candidate_shape: Shape of the candidate's output, where it is arranged otherwise.
        note: What was found and expected, when something is wrong.
    """

    layer: str
    candidate_layer: str
    kind: str
    shape: tuple[int, ...]
    verdict: Verdict
    alone: float | None = None
    float64: float | None = None
    float32_reference: float | None = None
    float32_candidate: float | None = None
    off: str = ""
    worst: Worst | None = None
    arranged: str = ""
    candidate_shape: tuple[int, ...] = ()
    note: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether something is wrong with the layer itself, as far as is known."""
        return self.verdict not in ("same", "inherits")

    @property
    def rank(self) -> int:
        """Its place among faults: 0 if it gives other numbers in the model, 2 if set otherwise.

        In between is what is wrong alone but right in the model, which gives it something else,
        such as a map that is padded already.
        """
        if self.verdict == "settings":
            return 2
        return int(self.float64 is not None and self.float64 <= FLOAT64_LIMIT)


@dataclass(frozen=True)
class SettingResult:
    """One setting of one paired layer, as both sides have it."""

    layer: str
    kind: str
    setting: str
    reference: Any
    candidate: Any
    same: bool


def check_comparable(one: Trace, other: Trace) -> None:
    """Refuse two traces that are not of one model and one input.

    Raises:
        ParityError: With what both are.
    """
    if one.facts.input["sha256"] != other.facts.input["sha256"]:
        described = [f"{t.folder}: {describe_input(t.facts.input)}" for t in (one, other)]
        heading = (
            "the traces were made from different inputs. Make one again with the same --input and "
            "--batch:"
        )
        raise ParityError(listing(heading, described))
    if not set(one.facts.layers) & set(other.facts.layers):
        raise ParityError(
            f"{one.folder} is of {one.facts.model}, {other.folder} of {other.facts.model}: they "
            f"have no layer in common."
        )


def settings_of(reference: Trace, candidate: Trace) -> Iterator[SettingResult]:
    """Put the settings of all paired layers of two traces side by side."""
    for name, layer in reference.facts.layers.items():
        other = candidate.facts.layers.get(name)
        if other is not None:
            wrong = differing(layer.settings, other.settings)
            idle = set(layer.idle) & set(other.idle)
            for setting in [s for s in layer.settings if s in other.settings and s not in idle]:
                pair = layer.settings[setting], other.settings[setting]
                yield SettingResult(name, layer.kind, setting, *pair, setting not in wrong)


class Comparison:
    """Judges the calls of a candidate by those of a reference."""

    def __init__(self, reference: Trace, candidate: Trace) -> None:
        self.reference, self.candidate = reference, candidate
        one, other = reference.runs, candidate.runs
        self.proves = "float64" in one and "float64" in other
        tf32 = [trace.facts.environment.get("tf32") for trace in (reference, candidate)]
        self.judges_float32 = "float32" in one and "float32" in other and not any(tf32)
        self.one_sided_limit = ONE_SIDED_TF32_LIMIT if any(tf32) else ONE_SIDED_LIMIT
        # What each layer alone made of the inputs of another trace says nothing here.
        is_against = candidate.facts.alone_against == reference.facts.id
        self.findings = (candidate.facts.alone or {}) if is_against else {}
        self.never_run: list[str] = []
        self.keys = self._keys()
        # From the first layer on that Paddle computes in float32, the model is as accurate as that.
        layers, names = reference.facts.layers, [key.partition("#")[0] for key in self.keys]
        limited = [n for n, name in enumerate(names) if name in layers and layers[name].limit]
        self.loose = set(self.keys[min(limited, default=len(names)) :])

    def layers(self, progress: Callable[[int, int], None]) -> Iterator[LayerResult]:
        """Judge every paired layer, in the order in which the reference runs them.

        Args:
            progress: Called with the number of layers done and of all.
        """
        ran = {key.partition("#")[0] for key in self.keys}
        paired = {**self.reference.facts.layers, **self.candidate.facts.layers}
        wrong: dict[Verdict, dict[str, str]] = {
            "weights": differing_weights(self.reference, self.candidate),
            "settings": self._settings(),
        }
        # A tensor that is not in a layer is wrong before anything runs with it.
        for verdict, found in wrong.items():
            for name in [name for name in found if name not in ran]:
                kind = paired[name].kind if name in paired else ""
                yield LayerResult(name, self._own(name), kind, (), verdict, note=found[name])
        pool = ThreadPoolExecutor(_THREADS)  # NumPy lets go of the interpreter while it computes
        try:
            for done, result in enumerate(pool.map(self._call, self.keys), 1):
                name = result.layer.partition("#")[0]
                for verdict, found in wrong.items():
                    if name in found:
                        result = _also(result, verdict, found[name])
                yield result
                progress(done, len(self.keys))
        finally:
            pool.shutdown(cancel_futures=True)

    def settings(self) -> Iterator[SettingResult]:
        """Put the settings of all paired layers side by side."""
        return settings_of(self.reference, self.candidate)

    def _settings(self) -> dict[str, str]:
        labels = self.reference.label, self.candidate.label
        found: dict[str, list[str]] = {}
        for one in self.settings():
            if not one.same:
                own = self.candidate.facts.layers[one.layer].spelled.get(one.setting)
                note = f"{one.setting} is {spell_value(one.reference)} in {labels[0]}, "
                note += f"{spell_value(one.candidate)} in {labels[1]}{f' ({own})' if own else ''}"
                found.setdefault(one.layer, []).append(note)
        return {name: "; ".join(notes) for name, notes in found.items()}

    def _own(self, name: str) -> str:
        layer = self.candidate.facts.layers.get(name)
        return layer.own if layer else name

    def _keys(self) -> list[str]:
        """List every call in order of execution, and what should have been called."""
        traces = self.reference, self.candidate
        runs = [trace.runs.get("float64") or trace.runs["float32"] for trace in traces]
        keys = list(dict.fromkeys(key for run in runs for key in run.calls))
        ran = {key.partition("#")[0] for key in keys}
        sides = [trace.facts.layers for trace in traces]
        left = [n for n, one in {**sides[0], **sides[1]}.items() if one.traced and n not in ran]
        # What both models have and neither runs does not take part in what they compute here.
        outputs = {trace.facts.output for trace in traces}
        both = [name for name in left if all(name in layers for layers in sides)]
        self.never_run = [name for name in both if name not in outputs]
        return keys + [name for name in left if name not in self.never_run]

    def _call(self, key: str) -> LayerResult:
        """Judge one call by the outputs of all runs."""
        name = key.partition("#")[0]
        layer = self.reference.facts.layers.get(name) or self.candidate.facts.layers.get(name)
        kind = layer.kind if layer else "output"
        runs = {
            (trace, dtype): run.calls.get(key)
            for trace in (self.reference, self.candidate)
            for dtype, run in trace.runs.items()
        }
        shapes = (shape(*one) for one in runs.items())
        first = next((found for found in shapes if found is not None), ())
        result = LayerResult(key, self._own(name), kind, first, "same")
        if absent := {trace.label for (trace, _), call in runs.items() if call is None}:
            sides = " and ".join(sorted(absent))
            note = f"the {sides} model did not run this layer"
            if "#" in key:
                note = f"the {sides} model ran this layer less often"
            return replace(result, verdict="missing", note=note)
        calls = {run: call for run, call in runs.items() if call is not None}
        found, note = rows(calls, kind == "output")
        if not note:
            return self._values(result, found, layer)
        result = replace(result, verdict="shape", note=note)
        return result if found else self._inherited(result, layer)

    def _values(
        self, result: LayerResult, found: list[dict[RunOf, Value]], layer: Layer | None
    ) -> LayerResult:
        """Judge the values of a call, which stand side by side."""
        errors, worst = dict[str, float](), Finding(-1.0)
        for row in found:
            arrays, result = self._arranged(result, row)
            truth = next(arrays[run] for run in _TRUTHS if run in arrays)
            for run, array in arrays.items():
                if note := not_finite(array):
                    result = replace(result, verdict="not finite", note=f"{run} {note}")
                    return result if "float32" in run else self._inherited(result, layer)
            for side in ("reference", "candidate"):
                if (run := f"{side} float32") in arrays:
                    error = apart(truth, arrays[run]).difference
                    errors[side] = max(errors.get(side, 0.0), error)
            if self.proves:
                other = apart(truth, arrays["candidate float64"])
                worst = max(worst, other, key=lambda one: one.difference)
        result = replace(
            result,
            float32_reference=errors.get("reference"),
            float32_candidate=errors.get("candidate"),
        )
        if worst.difference >= 0:
            where = Worst(worst.index, worst.reference, worst.candidate)
            result = replace(result, float64=worst.difference, worst=where)
        return self._judge(result, worst, layer)

    def _arranged(
        self, result: LayerResult, row: dict[RunOf, Value]
    ) -> tuple[dict[str, np.ndarray], LayerResult]:
        """Read one value in every run, the candidate's in the reference's shape."""
        arrays, own = dict[str, np.ndarray](), list[str]()
        for (trace, dtype), value in row.items():
            run = f"{'reference' if trace is self.reference else 'candidate'} {dtype}"
            own += [run] if trace is self.candidate else []
            stored = trace.runs[dtype].arrays
            arrays[run] = stored[value] if isinstance(value, int) else np.array(value)
        truth, found = arrays[next(iter(arrays))], arrays[own[0]]
        choices = ways(found.shape, truth.shape, result.kind == "output")
        way = choices[0] if len(choices) == 1 else nearest(truth, found, choices, FLOAT64_LIMIT)[0]
        arrays |= {run: way.bring(arrays[run], truth.shape) for run in own}
        if (name := way.spell(found.shape, truth.shape)) and not result.arranged:
            result = replace(result, arranged=name, shape=truth.shape)
            result = replace(result, candidate_shape=found.shape)
        return arrays, result

    def _inherited(self, result: LayerResult, layer: Layer | None) -> LayerResult:
        """Distinguish what is wrong with a layer from what is wrong with its input alone."""
        finding = self.findings.get(result.layer)
        if finding is None:
            return result
        result = replace(result, alone=finding.difference)
        if finding.difference > ((layer and layer.limit) or FLOAT64_LIMIT):
            return replace(result, note=self._note(finding))
        return replace(result, verdict="inherits")

    def _judge(self, result: LayerResult, worst: Finding, layer: Layer | None) -> LayerResult:
        """Reach the verdict from figures that are complete."""
        limit, finding = (layer and layer.limit) or FLOAT64_LIMIT, self.findings.get(result.layer)
        if finding is not None:
            result = replace(result, alone=finding.difference)
            if finding.difference > limit:
                return replace(result, verdict="differs", note=self._note(finding))
        if not self.proves:
            return self._judge_one_sided(result)
        off, note = self._too_imprecise(result)
        if result.layer in self.loose:
            error = max(result.float32_reference or 0.0, FLOAT32_FLOOR)
            limit = max(limit, FLOAT32_FACTOR * error)
        if result.float64 is not None and result.float64 > limit:
            if finding is not None:
                note = "what it is given differs; by itself it is the same"
                return replace(result, verdict="inherits", note=note)
            return replace(result, verdict="differs", note=self._note(worst))
        if off:
            return replace(result, verdict="imprecise", off=off, note=note)
        return result

    def _judge_one_sided(self, result: LayerResult) -> LayerResult:
        """Judge a layer that did not run in float64 on both sides: by what rounding could do."""
        errors = result.float32_reference or 0.0, result.float32_candidate or 0.0
        if max(errors) <= self.one_sided_limit:
            return result
        off = "candidate" if errors[1] > errors[0] else "reference"
        note = f"apart by {max(errors):.1e}, more than rounding gives ({self.one_sided_limit:.0e})"
        return replace(result, verdict="differs", off=off, note=note)

    def _note(self, finding: Finding) -> str:
        """Say what is wrong with a layer, in a few words."""
        if finding.note:
            return finding.spell(finding.note)
        one, other = spell(finding.reference, finding.candidate)
        note = finding.spell(
            f"differs, most at {list(finding.index)}: {self.reference.label} {one}, "
            f"{self.candidate.label} {other}"
        )
        return f"{note}; what it is given is {finding.given}" if finding.given else note

    def _too_imprecise(self, result: LayerResult) -> tuple[str, str]:
        """Name the side whose float32 error is out of proportion with the other's, and say so."""
        one, other = result.float32_reference, result.float32_candidate
        if not self.judges_float32 or one is None or other is None:
            return "", ""
        for off, error, measure in (("candidate", other, one), ("reference", one, other)):
            allowed = FLOAT32_FACTOR * max(measure, FLOAT32_FLOOR)
            if error > allowed:
                label = getattr(self, off).label
                return off, f"float32 error of {label} {error:.1e}, allowed {allowed:.1e}"
        return "", ""


def spell_value(value: Any) -> str:
    """Spell a setting; 1 - 0.9 is 0.1 to everybody."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _also(result: LayerResult, verdict: Verdict, note: str) -> LayerResult:
    """Add to a result what else is wrong; it is the verdict where nothing else is."""
    notes = filter(None, ["" if result.verdict == "inherits" else result.note, note])
    kept = result.verdict if result.is_fault else verdict
    return replace(result, verdict=kept, note="; ".join(notes))
