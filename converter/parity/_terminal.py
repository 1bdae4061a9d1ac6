"""A parity report in the terminal, and as the Markdown table that reviewers of a port ask for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from ..errors import some
from ..sides import describe_side
from ._compare import FLOAT32_FACTOR, FLOAT32_FLOOR, LayerResult
from ._distance import FLOAT64_LIMIT
from ._report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

_FOLDED = ("same", "inherits")  # verdicts of innocent layers
_MOST_ALIKE = 4


def show(report: Report, console: Console) -> None:
    """Print the table of all layers and the verdict."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    labels = report.reference["label"], report.candidate["label"]
    headings = ["alone\nfloat64", "model\nfloat64", *(f"{label}\nfloat32" for label in labels)]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for layer in _folded(report):
        if isinstance(layer, int):
            table.add_row(Text("  ⋮"), "", "", "", "", "", Text(f"{layer} more", "dim"))
            continue
        style = {"same": "green", "inherits": "yellow"}.get(layer.verdict, "bold red")
        off = {"reference": labels[0], "candidate": labels[1]}.get(layer.off)
        verdict = f"{layer.verdict}: {off}" if off else layer.verdict
        row = (layer.layer, layer.kind, *map(_figure, _figures(layer)), verdict)
        table.add_row(*map(Text, row[:-1]), Text(row[-1], style))
    console.print(table)
    console.print()
    for line in summary(report):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _folded(report: Report) -> Iterator[LayerResult | int]:
    """Give the layers to show: where something is wrong, of many alike the first and the last.

    Between them stands how many are left out. The reports have them all.
    """
    for verdict, group in groupby(report.layers, lambda layer: layer.verdict):
        run = list(group)
        if report.first_diverging is None or len(run) <= _MOST_ALIKE or verdict not in _FOLDED:
            yield from run
        else:
            yield run[0]
            yield len(run) - 2
            yield run[-1]


def _figures(layer: LayerResult) -> tuple[float | None, ...]:
    return layer.alone, layer.float64, layer.float32_reference, layer.float32_candidate


def summary(report: Report) -> list[str]:
    """Say in a few lines what was compared and what came out."""
    lines = [_what(report)]
    reference = report.reference
    if (reference["framework"], reference.get("read_by")) == ("torch", "vitconvert"):
        lines.append("torch.load refuses this file: vitconvert's own reader read both sides.")
    faults = [layer for layer in report.layers if layer.verdict != "same"]
    if not faults:
        lines += _measured(report)
    else:
        wrong = sum(layer.is_fault for layer in faults)
        lines.append(
            f"{len(faults)} of {len(report.layers)} outputs are not the same; wrong by themselves: "
            f"{wrong}."
        )
    if report.never_run:
        lines.append(
            f"neither model runs {some(report.never_run)}: only weights and settings are compared"
        )
    lines += _backward(report)
    return [*lines, f"{report.verdict}: {report.claim}", *report.diagnosis]


def _what(report: Report) -> str:
    images = "x".join(map(str, report.inputs["shape"]))
    sides = [
        describe_side(facts["label"], facts["framework"], facts)
        for facts in (report.reference, report.candidate)
    ]
    return (
        f"{report.model}: {len(report.layers) - 1} layers and the output compared, input {images}, "
        f"{sides[0]}, {sides[1]}, {report.seconds:.1f} s"
    )


def _measured(report: Report) -> list[str]:
    """Say how close the two sides are, when nothing is wrong."""
    lines, output = [], report.layers[-1]
    if report.proves:
        worst = max(layer.float64 or 0.0 for layer in report.layers)
        figures = [layer.alone for layer in report.layers if layer.alone is not None]
        alone = f", each layer alone {max(figures):.1e}" if figures else ""
        if not figures:
            lines.append(
                "each layer alone: not compared; `vitconvert dump --alone` with the other does"
            )
        lines.append(
            f"float64: largest difference {worst:.1e} of a layer's largest value{alone}, limit "
            f"{FLOAT64_LIMIT:.0e}; {output.layer} {_figure(output.float64)}"
        )
    errors = [
        max(found)
        if (found := [f for layer in report.layers if (f := getattr(layer, name)) is not None])
        else None
        for name in ("float32_reference", "float32_candidate")
    ]
    labels = report.reference["label"], report.candidate["label"]
    for label, facts, error in zip(
        labels, (report.reference, report.candidate), errors, strict=True
    ):
        if error is not None and facts.get("tf32"):
            lines.append(f"float32: {label} computes in TF32, error up to {error:.1e}, not judged")
    if report.proves and None not in errors and not _has_tf32(report):
        lines.append(
            f"float32: {labels[1]}'s error is at most {_factor(report):.1f} times {labels[0]}'s "
            f"own, limit {FLOAT32_FACTOR:.0f} either way"
        )
    elif not report.proves:
        for label, error in zip(labels, errors, strict=True):
            if error is not None:
                lines.append(f"float32: error of {label} against the float64 truth {error:.1e}")
    if report.limits:
        told = ", ".join(f"{kind} {limit:.0e}" for kind, limit in report.limits.items())
        lines.append(
            f"Paddle computes these in float32, with a limit of their own: {told}; after them the "
            f"models are compared as float32 ones are"
        )
    if report.weights:
        lines.append(
            f"weights: all {report.weights} tensors are exactly the same{_rounded(report)}"
        )
    if report.settings:
        lines.append(f"settings: all {len(report.settings)} that both sides have agree")
    return lines


def _backward(report: Report) -> list[str]:
    lines = []
    if report.gradients:
        wrong = [gradient for gradient in report.gradients if not gradient.same]
        largest = max(gradient.difference or 0.0 for gradient in report.gradients)
        told = f"{len(report.gradients)} compared, largest difference {largest:.1e}"
        if wrong:
            told = f"{len(wrong)} of {len(report.gradients)} are not the same"
        lines.append(f"gradients: {told}, limit {FLOAT64_LIMIT:.0e}")
    return lines + [f"training: {line}" for line in report.training]


def _has_tf32(report: Report) -> bool:
    return any(facts.get("tf32") for facts in (report.reference, report.candidate))


def _rounded(report: Report) -> str:
    """Say which side's weights were rounded to what the other file holds."""
    found = [
        f"those of {facts['label']} rounded to {facts['rounded_to']}"
        for facts in (report.reference, report.candidate)
        if "rounded_to" in facts
    ]
    return ", " + ", ".join(found) if found else ""


def _factor(report: Report) -> float:
    return max(
        (layer.float32_candidate or 0.0) / max(layer.float32_reference or 0.0, FLOAT32_FLOOR)
        for layer in report.layers
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def markdown(report: Report) -> str:
    """Give the table that reviewers of a port ask for, with what it was measured on."""
    labels = report.reference["label"], report.candidate["label"]
    output = report.layers[-1].layer if report.layers else "output"
    headings = [
        *("precision", f"max \\|Δ {output}\\|", f"mean \\|Δ {output}\\|"),
        *(f"{label}'s own error" for label in labels),
        "same top-1",
    ]
    rows = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    rows += [[figures.run, *figures.cells("-")] for figures in report.output]
    sides = [
        f"{describe_side(facts['label'], facts['framework'], facts)}, "
        f"`{facts.get('file', '-')}` (sha256 `{str(facts.get('sha256', '-'))[:12]}`)"
        for facts in (report.reference, report.candidate)
    ]
    images = "x".join(map(str, report.inputs["shape"]))
    origin = report.inputs.get("file", report.inputs.get("noise", ""))
    same = sum(layer.verdict == "same" for layer in report.layers)
    return "\n".join(
        [
            f"**{report.model}: {report.verdict}**, {report.claim}",
            "",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            f"- layers: {same} of {len(report.layers)} the same, each compared element by element",
            *(f"- {line}" for line in (*_backward(report), *report.diagnosis)),
            f"- input: {images} ({origin}), sha256 `{report.inputs['sha256'][:12]}`",
            *(f"- {side}" for side in sides),
            "- errors are against the float64 truth; made with vitconvert",
            "",
        ]
    )
