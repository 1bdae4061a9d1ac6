"""Drawings of the page, made here so that it needs no script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil

from ...page import text
from ._phrases import interval, percent
from ._published import Published
from ._result import Evaluation

_ROW = 46  # pixels from one side to the next
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # between ticks, shares


def draw_intervals(evaluation: Evaluation, published: Sequence[Published]) -> str:
    """Draw the top-1 accuracy of every side with its interval, and what was published.

    Places are percentages of the width, so that text keeps its size on a narrow screen.

    Returns:
        HTML; nothing where no image was evaluated.
    """
    if not evaluation.count:
        return ""
    shares = [evaluation.top1(side) for side in evaluation.sides]
    marks = [one.top1 / 100 for one in published if one.inside is not None]
    ends = [end for share in shares for end in share.interval] + marks
    spread = max(max(ends) - min(ends), 0.004)
    low, high = max(0.0, min(ends) - spread / 4), min(1.0, max(ends) + spread / 4)
    floor = len(shares) * _ROW + 10

    def x(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    parts = list(_axis(low, high, floor, x))
    for mark in dict.fromkeys(marks):
        parts.append(f'<line class="mark" x1="{x(mark)}" x2="{x(mark)}" y1="0" y2="{floor}"/>')
    for number, (side, share) in enumerate(zip(evaluation.sides, shares, strict=True)):
        y = number * _ROW + 34
        ends_at = [x(end) for end in share.interval]
        told = f"{side.label}: {percent(share.value)}, {interval(share.interval)}"
        parts.append(
            f'<g class="series-{number}"><text x="0" y="{y - 14}">{text(told)}</text>'
            f'<line class="bar" x1="{ends_at[0]}" x2="{ends_at[1]}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{x(share.value)}" cy="{y}" r="6"/></g>'
        )
    drawn = "\n".join(parts)
    dashed = "; dashed: published" if marks else ""
    return (
        f'<div><p class="hint">Top-1 accuracy with its 95% interval{dashed}.</p>\n'
        f'<svg class="intervals" width="100%" height="{floor + 22}" role="img" '
        f'aria-labelledby="intervals-title"><title id="intervals-title">Top-1 accuracy with 95% '
        f"intervals</title>\n{drawn}\n</svg></div>"
    )


def _axis(low: float, high: float, floor: int, x: Callable[[float], str]) -> Iterator[str]:
    """Draw a line and a number wherever the scale is round."""
    step = next((step for step in _STEPS if (high - low) / step <= 5), _STEPS[-1])
    first, last = ceil(low / step), int(high / step)
    for tick in range(first, last + 1):
        place, decimals = x(tick * step), 1 if step < 0.01 else 0
        yield f'<line class="grid" x1="{place}" x2="{place}" y1="0" y2="{floor}"/>'
        yield (
            f'<text class="tick" x="{place}" y="{floor + 16}">{100 * tick * step:.{decimals}f}%'
            f"</text>"
        )
