"""An evaluation as one HTML page that needs nothing but a browser, not even a script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from math import ceil

from ...page import facts, fill, items, plain, rows, section, side_by_side, text, with_code
from ...sides import describe_side
from ._confusion import show_confusion
from ._disagreements import Shown
from ._phrases import (
    class_name,
    comparison,
    described,
    figures,
    how_far,
    images,
    interval,
    number,
    percent,
    rates,
    unreadable,
    verdict,
)
from ._published import Published, published
from ._result import Evaluation

_LISTED = 200  # images that cannot be read
_ROW = 46  # pixels of the drawing from one side to the next
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # between its ticks, shares


def html(evaluation: Evaluation, shown: Sequence[Shown] = ()) -> str:
    """Return an evaluation as a page that asks for no other file, from wherever it is opened.

    Args:
        evaluation: What was found.
        shown: Images that two sides classify differently, the worst first.

    Returns:
        HTML 5, to be written as UTF-8.
    """
    good = evaluation.same and evaluation.count
    tone = "plain" if evaluation.same is None else "proved" if good else "not-proved"
    if tone != "not-proved" and evaluation.partial:
        tone = "measured"
    claim, partial, known = verdict(evaluation) or "", how_far(evaluation), published(evaluation)
    top1 = [percent(evaluation.top1(side).value) for side in evaluation.sides]
    sign = {"proved": "\u2713 ", "not-proved": "\u2717 "}.get(tone, "")
    summary = [
        images(evaluation.count),
        f"{evaluation.num_classes:,} classes",
        *(describe_side(side.label, side.framework, side.facts) for side in evaluation.sides),
        f"{evaluation.data} ({evaluation.described})",
    ]
    heads = "".join(f'<th scope="col">{text(side.label)}</th>' for side in evaluation.sides)
    values = {
        "variant": text(evaluation.variant),
        "class": tone,
        "headline": text(" / ".join(dict.fromkeys(top1))),
        "claim": f'<p class="claim">{sign}{with_code(claim)}</p>' if claim else "",
        "partial": f'<p class="partial">{text(partial)}</p>' if partial else "",
        "summary": items(summary),
        "heads": heads,
        "figures": _figures(evaluation),
        "drawing": _intervals(evaluation, known),
        "comparison": section(
            "comparison",
            "Comparison",
            facts("How both sides compare on the same images", comparison(evaluation)),
        ),
        "published": section(
            "published",
            "Published",
            facts("Published figures", [("top-1", one.sentence) for one in known]),
        ),
        "disagreements": _disagreements(evaluation, shown),
        "confusion": show_confusion(evaluation),
        "unreadable": _unreadable(evaluation),
        "speed": rows([("end to end", rates(evaluation))]),
        "sides": section(
            "sides",
            "Weights, versions and devices",
            facts(
                "Files, hashes, versions and devices of every side",
                side_by_side(*(side.facts for side in evaluation.sides)),
                ("Fact", *(side.label for side in evaluation.sides)),
            ),
        ),
        "how": section(
            "how",
            "Images, preprocessing and options",
            facts("What was evaluated, and how", _how(evaluation), ("Fact", "Value")),
        ),
    }
    return fill(files(__package__).joinpath("report.html"), values)


def _figures(evaluation: Evaluation) -> str:
    """Return a row for each figure; those that belong to the one above it are set back."""
    lines = []
    for name, cells in figures(evaluation):
        row = rows([(name.strip(), *cells)])
        lines.append(row.replace("<tr>", '<tr class="part">', 1) if name.startswith(" ") else row)
    return "\n".join(lines)


def _intervals(evaluation: Evaluation, known: Sequence[Published]) -> str:
    """Draw the top-1 accuracy of every side with its interval, and what was published.

    Places are percentages of the width, so that text keeps its size on a narrow screen.

    Returns:
        HTML; nothing where no image was evaluated.
    """
    if not evaluation.count:
        return ""
    shares = [evaluation.top1(side) for side in evaluation.sides]
    marks = [one.top1 / 100 for one in known if one.inside is not None]
    ends = [end for share in shares for end in share.interval] + marks
    spread = max(max(ends) - min(ends), 0.004)
    low, high = max(0.0, min(ends) - spread / 4), min(1.0, max(ends) + spread / 4)
    floor = len(shares) * _ROW + 10

    def x(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    parts = list(_axis(low, high, floor, x))
    for mark in dict.fromkeys(marks):
        parts.append(f'<line class="mark" x1="{x(mark)}" x2="{x(mark)}" y1="0" y2="{floor}"/>')
    for place, (side, share) in enumerate(zip(evaluation.sides, shares, strict=True)):
        y = place * _ROW + 34
        ends_at = [x(end) for end in share.interval]
        label = f"{side.label}: {percent(share.value)}, {interval(share.interval)}"
        parts.append(
            f'<g class="series-{place}"><text x="0" y="{y - 14}">{text(label)}</text>'
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


def _disagreements(evaluation: Evaluation, shown: Sequence[Shown]) -> str:
    """Show the images that two sides classify differently, the worst first."""
    count = len(evaluation.disagreements)
    if not count:
        return ""
    most = f" The worst {len(shown)} are shown; report.json has all." if count > len(shown) else ""
    note = (
        f'<p class="hint">{images(count)}, {len(evaluation.unexplained):,} of them by more than '
        f"rounding.{most} The margin is by how much the largest logit exceeds the second.</p>"
    )
    tiles = "\n".join(_tile(evaluation, one) for one in shown)
    content = f'{note}\n<div class="tiles">\n{tiles}\n</div>'
    return section("disagreements", "Classified differently", content)


def _tile(evaluation: Evaluation, shown: Shown) -> str:
    row, encoded = shown.row, shown.encoded()
    name = text(evaluation.names[row])
    image = '<p class="missing">cannot be read any more</p>'
    if encoded is not None:
        media, content = encoded
        sharp = ' class="sharp"' if media == "image/png" else ""
        data = b64encode(content).decode("ascii")
        image = f'<img{sharp} alt="{name}" src="data:{media};base64,{data}">'
    lines = [("true", class_name(evaluation, int(evaluation.labels[row])))]
    for side in evaluation.sides:
        predicted = class_name(evaluation, int(side.predicted[row]))
        lines.append((side.label, f"{predicted}, margin {number(float(side.margin[row]))}"))
    lines.append(("logits apart", number(float(evaluation.difference[row]))))
    words = "".join(
        f"<div><dt>{text(what)}</dt><dd>{text(cell)}</dd></div>" for what, cell in lines
    )
    good = evaluation.is_rounding(row)
    judged = '<p class="same">rounding</p>' if good else '<p class="wrong">more than rounding</p>'
    return (
        f'<figure>{image}<figcaption><span class="name">{name}</span><dl>{words}</dl>{judged}'
        f"</figcaption></figure>"
    )


def _unreadable(evaluation: Evaluation) -> str:
    count = len(evaluation.unreadable)
    if not count:
        return ""
    more = f" The first {_LISTED} are listed; report.json has all." if count > _LISTED else ""
    note = f'<p class="hint">{images(count)}, left out of all figures.{more}</p>'
    table = facts("Images that cannot be read", unreadable(evaluation)[:_LISTED])
    return section("unreadable", "Cannot be read", f"{note}\n{table}")


def _how(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Return what the images were, how they were prepared, and on what all of this ran."""
    yield "images", evaluation.data
    yield "found there", evaluation.described
    if evaluation.matching:
        yield "classes", evaluation.matching
    yield "evaluated", f"{evaluation.count:,} of {evaluation.wanted:,}"
    yield "preprocessing", described(evaluation.preprocessing)
    yield "processes", str(evaluation.processes)
    for name, value in evaluation.options.items():
        yield name.replace("_", " "), plain(value)
    for name, value in evaluation.environment.items():
        yield name, plain(value)
