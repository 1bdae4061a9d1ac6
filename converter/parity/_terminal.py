"""A parity report in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import some
from ..sides import describe_side
from ..terminal import Cell, Style, columns, print_table, say
from ._compare import FLOAT32_FACTOR, FLOAT32_FLOOR, LayerResult
from ._distance import FLOAT64_LIMIT
from ._inputs import spell_shape
from ._lone import checked, not_compared
from ._report import Report

_MOST = 10  # layers that are shown unless all are asked for
_WIDE = 72  # columns that a table with all figures needs
_STYLES: dict[str, Style] = {"same": {"fg": "green"}, "inherits": {"fg": "yellow"}}
_FAULT: Style = {"fg": "red", "bold": True}


def show(report: Report, every_layer: bool = False) -> None:
    """Print the verdict, what was compared, and a table of layers.

    Args:
        report: What was found.
        every_layer: Whether the table has all layers, or the ten that are wrong or furthest off.
    """
    verdict, *facts = summary(report)
    say(verdict, style=_STYLES["same"] if report.verdict != "NOT PROVED" else _FAULT)
    for line in facts:
        say(line)
    say()
    layers = list(report.layers if every_layer else _chosen(report))
    figures = ["alone\nfloat64", "model\nfloat64"]
    if (columns() or _WIDE) >= _WIDE:  # what float32 makes of it is in the lines above
        figures += [f"{label}\nfloat32" for label in report.labels]
    rows = [_row(layer, report, len(figures)) for layer in layers]
    print_table(rows, "layer", "kind", *figures, "verdict", right=figures)
    if left := len(report.layers) - len(layers):
        say(f"{left} of {len(report.layers)} outputs are not shown: --all shows every one")


def _row(layer: LayerResult, report: Report, count: int) -> tuple[str | Cell, ...]:
    """Give the cells of a layer, with so many of its figures."""
    off = dict(zip(("reference", "candidate"), report.labels, strict=True)).get(layer.off)
    verdict = f"{layer.verdict}: {off}" if off else layer.verdict
    figures = (layer.alone, layer.float64, layer.float32_reference, layer.float32_candidate)
    style = _STYLES.get(layer.verdict, _FAULT)
    return (layer.layer, layer.kind, *map(_figure, figures[:count]), Cell(verdict, style))


def _chosen(report: Report) -> list[LayerResult]:
    """Choose the layers to show, in order of execution: the wrong ones, or the furthest off.

    The whole output is always among them.
    """

    def importance(layer: LayerResult) -> tuple[bool, int, float]:
        if layer is report.layers[-1] or layer in (report.culprit, report.first_diverging):
            return False, 0, 0.0
        if layer.verdict != "same":
            return False, 1 + (layer.rank if layer.is_fault else len(_STYLES) + 1), 0.0
        return True, 0, -max(layer.float64 or 0.0, layer.alone or 0.0)

    best = sorted(range(len(report.layers)), key=lambda at: importance(report.layers[at]))
    return [report.layers[at] for at in sorted(best[:_MOST])]


def summary(report: Report) -> list[str]:
    """Say in a few lines what came out, and what was compared."""
    reference, sides = report.reference, describe_sides(report)
    lines = [f"{report.verdict}: {report.claim}", *report.diagnosis]
    lines.append(
        f"{report.model}: {len(report.layers) - 1} layers and the output compared, input "
        f"{spell_shape(report.inputs['shape'])}, {sides[0]}, {sides[1]}, {report.seconds:.1f} s"
    )
    lines += [
        f"the {facts['label']} model is {facts['model']} of {facts['library']}"
        for facts in report.sides
        if "library" in facts
    ]
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
    lines += [one.spell() for one in report.forms]
    lines += [*arranged(report), *lone(report), *_further(report), *backward(report)]
    return lines


def describe_sides(report: Report) -> list[str]:
    """Say what each side ran on."""
    return [describe_side(facts["label"], facts["framework"], facts) for facts in report.sides]


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
        max((f for layer in report.layers if (f := getattr(layer, name)) is not None), default=None)
        for name in ("float32_reference", "float32_candidate")
    ]
    labels, tf32 = report.labels, [bool(facts.get("tf32")) for facts in report.sides]
    for label, error, is_tf32 in zip(labels, errors, tf32, strict=True):
        if error is not None and is_tf32:
            lines.append(f"float32: {label} computes in TF32, error up to {error:.1e}, not judged")
        if error is not None and not report.proves:
            lines.append(f"float32: error of {label} against the float64 truth {error:.1e}")
    if report.proves and None not in errors and not any(tf32):
        factor = max(
            (layer.float32_candidate or 0.0) / max(layer.float32_reference or 0.0, FLOAT32_FLOOR)
            for layer in report.layers
        )
        lines.append(
            f"float32: {labels[1]}'s error is at most {factor:.1f} times {labels[0]}'s own, limit "
            f"{FLOAT32_FACTOR:.0f} either way"
        )
    if report.limits:
        limits = ", ".join(f"{kind} {limit:.0e}" for kind, limit in report.limits.items())
        lines.append(
            f"Paddle computes these in float32, with a limit of their own: {limits}; after them "
            f"the models are compared as float32 ones are"
        )
    if report.weights:
        rounded = [
            f", those of {facts['label']} rounded to {facts['rounded_to']}"
            for facts in report.sides
            if "rounded_to" in facts
        ]
        rounded += [
            f", of which {sum(facts['became_zero'].values())} values became zero"
            for facts in report.sides
            if "became_zero" in facts
        ]
        same = f"weights: all {report.weights} tensors are exactly the same"
        lines.append("".join([same, *rounded]))
    if report.settings:
        lines.append(f"settings: all {len(report.settings)} that both sides have agree")
    return lines


def arranged(report: Report) -> Iterator[str]:
    """Say which layers give the same values otherwise arranged."""
    same = [layer for layer in report.layers if layer.verdict == "same"]
    for way in dict.fromkeys(layer.arranged for layer in same if layer.arranged):
        found = [layer for layer in same if layer.arranged == way]
        first, such = found[0], "such as " if len(found) > 1 else ""
        whose = "1 layer gives" if len(found) == 1 else f"{len(found)} layers give"
        yield (
            f"{way}: {whose} the same values in another shape, {such}{first.layer} "
            f"{list(first.shape)} and {list(first.candidate_shape)}"
        )


def lone(report: Report) -> list[str]:
    """Say what became of the tensors that Paddle alone has, but for what the claim says."""
    left = not_compared(report.paddle_only) if report.verdict == "NOT PROVED" else []
    return [*checked(report.paddle_only), *left]


def backward(report: Report) -> list[str]:
    """Say how the gradients and a training step compare, if they were asked for."""
    lines = []
    if report.gradients:
        wrong = [gradient for gradient in report.gradients if not gradient.same]
        largest = max(gradient.difference or 0.0 for gradient in report.gradients)
        found = f"{len(report.gradients)} compared, largest difference {largest:.1e}"
        if wrong:
            found = f"{len(wrong)} of {len(report.gradients)} are not the same"
        lines.append(f"gradients: {found}, limit {FLOAT64_LIMIT:.0e}")
    return lines + [f"training: {line}" for line in report.training]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def spell_inputs(report: Report) -> str:
    """Count the inputs: "10 (5 seeds x batch 1, 8)"."""
    facts = [report.inputs, *(one.inputs for one in report.further)]
    seeds = len({one.get("seed") for one in facts})
    batches = dict.fromkeys(one["shape"][0] for one in sorted(facts, key=lambda f: f["shape"][0]))
    count = f"{seeds} seed{'s' * (seeds > 1)} x batch {', '.join(map(str, batches))}"
    return f"{len(facts)} ({count})"


def _further(report: Report) -> list[str]:
    """Say how close the outputs are over all inputs, and for which they are not the same."""
    if not report.further:
        return []
    figures = {one.run: one.max for one in report.pooled}
    found = ", ".join(
        f"{'largest ' * (run == 'float32')}{run} difference {_figure(figures.get(run))}"
        for run in ("float32", "float64")
    )
    wrong = [f"{one.name}: {one.note}" for one in report.wrong_inputs]
    return [f"inputs: {spell_inputs(report)}, {found} of {report.layers[-1].layer}", *wrong]
