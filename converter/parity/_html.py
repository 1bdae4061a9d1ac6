"""A parity report as one HTML page that needs nothing but a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from ..errors import some
from ..page import NONE, facts, fill, items, plain, rows, section, side_by_side, text, with_code
from ..sides import describe_side
from ._figures import InputResult, OutputFigures
from ._lone import checked
from ._report import Report
from ._terminal import arranged, spell_inputs

_SIGNS = {"PROVED": "\u2713", "NOT PROVED": "\u2717", "MEASURED": "\u2248"}
_MEANINGS = {
    "float64_limit": "largest difference of a float64 output, relative to its largest value",
    "float32_factor": "how many times the other side's float32 error one side's may be",
    "float32_floor": "what a smaller float32 error counts as",
}


def html(report: Report) -> str:
    """Return a report as a page that asks for no other file, from wherever it is opened.

    The verdict, the diagnosis and the figures of the output are in its HTML. The rest is in it as
    JSON, which its own script shows.

    Args:
        report: What was found.

    Returns:
        HTML 5, to be written as UTF-8.
    """
    data = report.to_dict()
    labels = report.labels
    output = report.layers[-1].layer if report.layers else "output"
    values = {
        "model": text(report.model),
        "class": report.verdict.lower().replace(" ", "-"),
        "sign": _SIGNS[report.verdict],
        "verdict": report.verdict,
        "claim": text(report.claim),
        "diagnosis": _diagnosis(report.diagnosis),
        "summary": items(_summary(report)),
        "output": text(output),
        "figures": _figures(report.output, labels),
        "further": section("inputs", "All inputs", _inputs(report)),
        "reference": text(labels[0]),
        "candidate": text(labels[1]),
        "training": section(
            "training",
            "One training step",
            "\n".join(f"<p>{with_code(line)}</p>" for line in report.training),
        ),
        "sides": section(
            "sides",
            "What was compared, and where",
            facts(
                "Files, versions and devices of both sides",
                side_by_side(data["reference"], data["candidate"]),
                ("Fact", f"Reference: {labels[0]}", f"Candidate: {labels[1]}"),
            ),
        ),
        "check": section(
            "check",
            "Input and criteria",
            facts(
                "Input of both models, and what counts as the same",
                _of_check(data),
                ("Fact", "Value"),
            ),
        ),
        # With no "<" in it, nothing in the data can end the script element that it is in.
        "json": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    return fill(files(__package__).joinpath("report.html"), values)


def _diagnosis(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f'<h2>Diagnosis</h2>\n<ul class="diagnosis">\n{items(lines)}\n</ul>'


def _summary(report: Report) -> list[str]:
    """Say in a few words what was compared, on what."""
    same = sum(layer.verdict == "same" for layer in report.layers)
    shape = "\u00d7".join(map(str, report.inputs.get("shape", ())))
    return [
        f"{same} of {len(report.layers)} layer outputs the same",
        *([f"{report.weights} weight tensors compared"] if report.weights else []),
        *(
            describe_side(label, side.get("framework", ""), side)
            for label, side in zip(report.labels, report.sides, strict=True)
        ),
        *([f"input {shape}"] if shape else []),
        *([f"inputs: {spell_inputs(report)}"] if report.further else []),
        *([f"neither model runs {some(report.never_run)}"] if report.never_run else []),
        *arranged(report),
        *(one.spell() for one in report.forms),
        *checked(report.paddle_only),
        f"{report.seconds:.1f} s",
    ]


def _figures(output: Sequence[OutputFigures], labels: tuple[str, str]) -> str:
    """Return the table of the output: a row for each figure, a column for each precision."""
    if not output:
        return "<p>There is no output that both sides gave.</p>"
    names = (
        *("Largest difference", "Mean difference"),
        *(f"Own error of {label}" for label in labels),
        "Same top-1",
    )
    cells = zip(names, *(one.cells(NONE) for one in output), strict=True)
    head = "".join(f'<th scope="col">{text(o.run)}</th>' for o in output)
    return (
        '<table class="figures">\n<caption>Absolute, over all elements; errors are against the '
        f'float64 truth.</caption>\n<thead><tr><th scope="col">Figure</th>{head}</tr></thead>\n'
        f"<tbody>\n{rows(cells)}\n</tbody>\n</table>"
    )


def _inputs(report: Report) -> str:
    """Return a row for each input, if the whole models ran on several."""
    if not report.further:
        return ""
    first = InputResult(report.inputs, report.output, not report.first_diverging)
    cells = []
    for one in (first, *report.further):
        figures = {found.run: found.cells(NONE) for found in one.output}
        exact, usual = (figures.get(run, [NONE] * 5) for run in ("float64", "float32"))
        verdict = "same" if one.same else one.note or "not the same"
        cells.append((one.name, *usual[:2], *exact[:2], usual[4], verdict))
    runs = ("float32", "float64")
    heads = ("Input", *(f"{what}, {run}" for run in runs for what in ("Largest", "Mean")))
    caption = "Differences of the output, absolute, for every input; layers are those of the first"
    return facts(caption, cells, (*heads, "Same top-1", "Verdict"), "facts inputs")


def _of_check(data: dict[str, Any]) -> Iterator[Sequence[str]]:
    """Yield the facts of the input, and by what the sides were judged."""
    for key, value in data["inputs"].items():
        yield f"input {key}", plain(value)
    for key, value in data["criteria"].items():
        meaning = _MEANINGS.get(key, "")
        yield key, f"{value:.3g}{': ' * bool(meaning)}{meaning}"
    for key in ("weights_compared", "seconds", "vitconvert"):
        yield key.replace("_", " "), plain(data[key])
