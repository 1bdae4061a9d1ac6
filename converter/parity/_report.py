"""The result of a parity check, as data: for people, for scripts and for other programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..page import without_nan
from ..version import __version__, now
from ._compare import FLOAT32_FACTOR, FLOAT32_FLOOR, LayerResult, SettingResult
from ._distance import FLOAT64_LIMIT
from ._figures import InputResult, OutputFigures, name_of_input, pooled
from ._gradients import GradientResult
from ._lone import Lone, checked, not_compared
from ._trace import Likeness

Verdict = Literal["PROVED", "NOT PROVED", "MEASURED"]


@dataclass(frozen=True)
class Report:
    """What a parity check found.

    Attributes:
        model: The model.
        reference: File, its hash, who read it, versions and device of the side held to be right.
        candidate: The same of the other.
        inputs: Shape, origin and hash of the input batch that the layers were compared with.
        layers: Every call of a paired layer in order of execution, the whole model last.
        settings: Every setting of the paired layers, side by side.
        gradients: Every gradient; empty if not asked for.
        training: What one training step made of the norms, in words.
        training_differs: Whether that is more than the known difference.
        output: Figures of the whole model's output, by precision.
        further: What the whole models make of further inputs; empty if none were asked for.
        parameters: How many numbers of the reference are trained.
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
        date: When it ended, in UTC: "2026-02-01 12:34 UTC".
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
    further: tuple[InputResult, ...] = ()
    parameters: int = 0
    proves: bool = True
    weights: int = 0
    diagnosis: tuple[str, ...] = ()
    never_run: tuple[str, ...] = ()
    forms: tuple[Likeness, ...] = ()
    paddle_only: tuple[Lone, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)
    date: str = field(default_factory=now)

    @property
    def verdict(self) -> Verdict:
        """PROVED, NOT PROVED, or MEASURED where nothing is wrong that float32 alone could show."""
        wrong = self.first_diverging is not None or self.training_differs
        has_output = any(layer.kind == "output" for layer in self.layers)
        wrong = wrong or bool(self.wrong_inputs)
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
    def wrong_inputs(self) -> list[InputResult]:
        """Further inputs for which the outputs of both models are not the same."""
        return [one for one in self.further if not one.same]

    @property
    def pooled(self) -> tuple[OutputFigures, ...]:
        """Figures of the output over all inputs, by precision."""
        return pooled([self.output, *(one.output for one in self.further)])

    @property
    def culprit(self) -> LayerResult | None:
        """The first layer that is wrong by itself, not for what it was given.

        Those that give other numbers in the model come first, see `LayerResult.rank`.
        """
        faults = [layer for layer in self.layers if layer.is_fault]
        return min(faults, key=lambda layer: layer.rank, default=self.first_diverging)

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
            if wrong_inputs := self.wrong_inputs:
                return _claim_of_inputs(self, wrong_inputs)
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
            "output_of_all_inputs": [asdict(one) for one in self.pooled],
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


def _claim_of_inputs(report: Report, wrong: list[InputResult]) -> str:
    """Say for which further inputs the outputs differ."""
    first, name = wrong[0], name_of_input(report.inputs)
    count = f"{len(wrong)} of {len(report.further)} further inputs"
    return (
        f"the layers are the same with {name}, but the outputs of {count} are not. With "
        f"{first.name}: {first.note.removesuffix('.')}."
    )
