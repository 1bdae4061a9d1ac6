"""Parity reports as the Markdown table that reviewers of a port ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import some
from ..lines import Lines
from ..markdown import MADE_WITH, code, code_block, details, document, line, table
from ..version import __version__
from ._inputs import spell_shape
from ._report import Report
from ._terminal import arranged, backward, describe_sides, lone, spell_inputs

LIMIT = 1e-4  # of the float32 difference: that of PaddleClas's reviewers

_HEADINGS = (
    *("model", "input", "parameters", "max |Δ| float32", "mean |Δ| float32", "limit", "result"),
    *("max |Δ| float64", "same top-1", "proof"),
)

Result = Literal["PASS", "FAIL", "ERROR", "-"]


@dataclass(frozen=True)
class Row:
    """What the table says of one pair of models; plain data, which can be kept as JSON.

    Attributes:
        model: Its name.
        verdict: That of the proof; empty if there is none.
        claim: What it means; or why the pair could not be compared, or has not been.
        failed: Whether it could not be compared.
        input: Height and width.
        parameters: Trained numbers; 0 if not known.
        float32_max: Largest absolute difference of the output over all inputs, None if not known.
        float32_mean: Mean of it.
        float64_max: The same in float64.
        same_top1: "10/10"; empty if the output is not one row of a sample.
        details: What it was measured on, and what else was compared, a line each.
    """

    model: str
    verdict: str = ""
    claim: str = ""
    failed: bool = False
    input: str = "-"
    parameters: int = 0
    float32_max: float | None = None
    float32_mean: float | None = None
    float64_max: float | None = None
    same_top1: str = ""
    details: tuple[str, ...] = ()

    def result(self, limit: float) -> Result:
        """Tell whether the pair passes: nothing is wrong, and float32 is within the limit."""
        if self.failed:
            return "ERROR"
        if not self.verdict:
            return "-"
        is_near = self.float32_max is not None and self.float32_max < limit
        return "PASS" if is_near and self.verdict != "NOT PROVED" else "FAIL"


def row_of(report: Report, name: str | None = None) -> Row:
    """Reduce a report to its row; `name` is that of the model, if it has one of its own."""
    figures = {one.run: one for one in report.pooled}
    usual = figures.get("float32")

    def known(run: str, name: str) -> float | None:
        value = getattr(figures.get(run), name, None)
        return value if value is not None and math.isfinite(value) else None

    same = ""
    if usual is not None and usual.agreement is not None:
        same = f"{round(usual.agreement * usual.samples)}/{usual.samples}"
    return Row(
        name or report.model,
        report.verdict,
        report.claim,
        input=spell_shape(report.inputs["shape"][2:]),
        parameters=report.parameters,
        float32_max=known("float32", "max"),
        float32_mean=known("float32", "mean"),
        float64_max=known("float64", "max"),
        same_top1=same,
        details=tuple(_details(report)),
    )


def _details(report: Report) -> Iterator[str]:
    """Say what was compared besides the output, on what, and what was not."""
    same = sum(layer.verdict == "same" for layer in report.layers)
    alone = any(layer.alone is not None for layer in report.layers)
    how = "in the model and alone" if alone else "in the model, not alone"
    yield f"layers: {same} of {len(report.layers)} the same, {how}, each element by element"
    differ = sum(not one.same for one in report.settings)
    found = f"{differ} of {len(report.settings)} differ" if differ else "all the same"
    yield f"weights: {report.weights} tensors compared exactly; settings: {found}"
    yield from (one.spell() for one in report.forms)
    yield from arranged(report)
    yield from lone(report)
    yield from backward(report)
    yield from report.diagnosis
    yield _inputs(report)
    yield from _own_errors(report)
    yield from _sides(report)
    yield f"compared on {report.date}, in {report.seconds:.1f} s"
    if report.limits:
        limits = ", ".join(f"{kind} {limit:.0e}" for kind, limit in report.limits.items())
        yield f"Paddle computes these in float32 even here, with a limit of their own: {limits}"
    if report.never_run:
        yield f"not compared, because neither model runs them: {some(report.never_run)}"


def _inputs(report: Report) -> str:
    """Say what both models were given, with the hash of what the layers were compared with."""
    first = report.inputs
    shape, origin = spell_shape(first["shape"]), first.get("file", first.get("noise", ""))
    one = f"{shape} ({code(str(origin))}), sha256 {code(first['sha256'][:12])}"
    if not report.further:
        return f"input: {one}"
    return (
        f"inputs: {spell_inputs(report)} of seeded noise; the layers are compared with {one}, the "
        f"output with all"
    )


def _own_errors(report: Report) -> Iterator[str]:
    for one in report.pooled:
        errors = one.reference_error, one.candidate_error
        if one.run == "float32" and None not in errors:
            spelled = (f"{label} {e:.3g}" for label, e in zip(report.labels, errors, strict=True))
            yield f"largest own float32 error of the output, against float64: {', '.join(spelled)}"


# What was taken of a file, if not all of it as it is: fact of a side -> how it is called.
_CHOSEN = {
    "from": "from",
    "weights_under": "weights under",
    "removed_within_names": "within names, removed",
    "renamed": "renamed",
    "left_out": "left out",
    "head": "head",
}


def _sides(report: Report) -> Iterator[str]:
    """Say which model and file each side had, with which releases, and where it ran."""
    for side, facts in zip(describe_sides(report), report.sides, strict=True):
        tf32 = f", TF32 {'on' if facts.get('tf32') else 'off'}"
        file = code(str(facts["file"])) if "file" in facts else "weights as they were built"
        digest = f" (sha256 {code(str(facts['sha256']))})" if "sha256" in facts else ""
        python = f", Python {facts['python']}" if "python" in facts else ""
        model = f", {code(str(facts['model']))}" if "model" in facts else ""
        model += f" of {code(str(facts['library']))}" if "library" in facts else ""
        chosen = (
            f"{name} {code(str(facts[key]))}" for key, name in _CHOSEN.items() if key in facts
        )
        yield ", ".join([f"{side}{python}{tf32}{model}: {file}{digest}", *chosen])


def page(rows: Sequence[Row], limit: float = LIMIT, command: str = "") -> Lines:
    """Give the table of several pairs.

    Args:
        rows: A row each.
        limit: What the float32 difference must be below.
        command: That made it, as `markdown.command_line` spells it.
    """
    results = [row.result(limit) for row in rows]
    lines = [f"**{results.count('PASS')} of {len(rows)} models PASS**"]
    missing = results.count("-")
    if missing:
        lines[0] += f", {missing} not compared yet"
    lines += ["", *_table(rows, limit), ""]
    for row in rows:
        verdict = f"{row.verdict}, " if row.verdict else ""
        lines.append(f"- **{code(row.model)}**: {line(verdict)}{line(row.claim)}")
        lines += [f"  - {line(detail)}" for detail in row.details]
    return _ended(lines, limit, command)


def markdown(report: Report, limit: float = LIMIT, command: str = "") -> Lines:
    """Give the table of one report, with what it was measured on.

    Args:
        report: What was found.
        limit: What the float32 difference must be below for PASS; the proof is by float64.
        command: That made it, as `markdown.command_line` spells it; left out if empty.
    """
    row = row_of(report)
    lines = [
        f"**{line(row.model)}: {row.verdict}**, {line(row.claim)}",
        "",
        *_table([row], limit),
        "",
    ]
    lines += [f"- {line(detail)}" for detail in row.details]
    output = report.layers[-1].layer if report.layers else ""
    return _ended(lines, limit, command, output, _layers(report))


def _layers(report: Report) -> list[str]:
    """Give the table of all layers, folded."""
    labels = [f"{label} float32" for label in report.labels]
    headings = ("layer", "kind", "verdict", "alone float64", "model float64", *labels)
    rows = [
        (
            *map(code, (layer.layer, layer.kind)),
            layer.verdict,
            *map(_figure, (layer.alone, layer.float64)),
            *map(_figure, (layer.float32_reference, layer.float32_candidate)),
        )
        for layer in report.layers
    ]
    summary = f"{len(rows)} outputs, layer by layer: differences relative to the largest value"
    return details(summary, table(headings, rows, left=3))


def _table(rows: Sequence[Row], limit: float) -> list[str]:
    cells = [
        (
            *(line(row.model), line(row.input), f"{row.parameters:,}" if row.parameters else "-"),
            *(_figure(row.float32_max), _figure(row.float32_mean)),
            *(_spell(limit), row.result(limit), _figure(row.float64_max)),
            *(line(row.same_top1 or "-"), line(row.verdict or "-")),
        )
        for row in rows
    ]
    return table(_HEADINGS, cells)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _spell(limit: float) -> str:
    """Spell a limit as people do: 1e-4."""
    short = f"{limit:.0e}"
    return re.sub(r"e([+-])0", r"e\1", short) if float(short) == limit else f"{limit:g}"


def _ended(
    lines: Sequence[str],
    limit: float,
    command: str,
    output: str = "",
    layers: Sequence[str] = (),
) -> Lines:
    """Add what the table means, the command, and the table of layers."""
    what = code(output) if output else "the output"
    meaning = [
        f"- PASS: nothing is wrong in the proof, and max |Δ| in float32 is below {_spell(limit)}; "
        f"Δ is absolute, over all elements of {what} with all inputs",
        f"- {MADE_WITH} {__version__}",
    ]
    block = ["", *code_block(command)] if command else []
    return document([*lines, *meaning, *([""] * bool(layers)), *layers, *block])
