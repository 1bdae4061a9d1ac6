"""Which classes a model confuses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...page import section, text
from ._phrases import class_name, percent
from ._result import Evaluation, Scores

MATRIX = 20  # classes at most for which the whole table is shown
MOST = 20  # confusions or classes in a list


def most_confused(
    evaluation: Evaluation, side: Scores, most: int = MOST
) -> list[tuple[int, int, int]]:
    """Give the most frequent confusions: true class, predicted class, images."""
    wrong = (side.predicted >= 0) & (side.predicted != evaluation.labels)
    pairs = np.stack([evaluation.labels[wrong], side.predicted[wrong]], 1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(found[i, 0]), int(found[i, 1]), int(counts[i])) for i in order]


def worst_classes(
    evaluation: Evaluation, side: Scores, most: int = MOST
) -> list[tuple[int, int, int]]:
    """Give the classes with the smallest share of right predictions: class, right, images."""
    count = evaluation.num_classes
    of = np.bincount(evaluation.labels, minlength=count)
    right = np.bincount(evaluation.labels[side.predicted == evaluation.labels], minlength=count)
    with np.errstate(invalid="ignore"):
        order = np.lexsort((-of, right / of))  # none of nothing is not a number, which is last
    return [(int(i), int(right[i]), int(of[i])) for i in order if of[i]][:most]


def show_confusion(evaluation: Evaluation) -> str:
    """Give the section of the page; one table if both sides have the same confusions."""
    if not evaluation.count:
        return ""
    sides = list(evaluation.sides)
    first, *others = (evaluation.confusion(side) for side in sides)
    titles = [side.label for side in sides]
    if others and all(np.array_equal(first, other) for other in others):
        sides, titles = sides[:1], [" and ".join(titles)]
    show = _matrix if evaluation.num_classes <= MATRIX else _lists
    parts = "\n".join(
        f"<h3>{text(title)}</h3>\n{show(evaluation, side, title)}"
        for side, title in zip(sides, titles, strict=True)
    )
    return section("confusion", "Confusions", parts)


def _matrix(evaluation: Evaluation, side: Scores, title: str) -> str:
    """Give all counts: a row per true class; the more of its images, the stronger the colour."""
    table = evaluation.confusion(side)
    names = [text(class_name(evaluation, label)) for label in range(len(table))]
    # Of all images of a class, those without a class of their own as well.
    totals = np.bincount(evaluation.labels, minlength=len(table))
    shares = table / np.maximum(totals, 1)[:, None]
    worst = max(float((shares - np.diag(np.diag(shares))).max()), 1e-9)
    lines = []
    for label, name in enumerate(names):
        cells = ""
        for other in range(len(table)):
            count, share = int(table[label, other]), float(shares[label, other])
            tone = "hit" if label == other else "miss"
            strength = share if label == other else share / worst
            if count:
                cells += f'<td class="{tone}" style="--s:{strength:.2f}">{count:,}</td>'
            else:
                cells += '<td class="none">0</td>'
        own = percent(float(shares[label, label])) if totals[label] else "-"
        lines.append(f'<tr><th scope="row">{name}</th>{cells}<td class="number">{own}</td></tr>')
    heads = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    body = "\n".join(lines)
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="Confusion, {text(title)}">'
        f'<table class="matrix">\n<caption class="unseen">Images by true class (rows) and '
        f'predicted class (columns)</caption>\n<thead><tr><th scope="col">true \\ predicted</th>'
        f'{heads}<th scope="col"><span>right</span></th></tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        f"</table></div>"
    )


def _lists(evaluation: Evaluation, side: Scores, title: str) -> str:
    """Give the most frequent confusions and the worst classes."""
    confused = [
        (class_name(evaluation, true), class_name(evaluation, predicted), f"{count:,}")
        for true, predicted, count in most_confused(evaluation, side)
    ]
    worst = [
        (class_name(evaluation, label), f"{right:,} of {of:,}", percent(right / of))
        for label, right, of in worst_classes(evaluation, side)
    ]
    return (
        '<div class="two">\n'
        + _list(f"Most frequent confusions, {title}", ("True", "Predicted", "Images"), confused)
        + _list(f"Worst classes, {title}", ("Class", "Right", "Share"), worst)
        + "</div>"
    )


def _list(caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    # Names are text, the last column is a number, and of two numbers the first is "n of N".
    shown = "\n".join(
        "<tr>"
        + "".join(f"<td>{text(cell)}</td>" for cell in cells[:-1])
        + f'<td class="number">{text(cells[-1])}</td></tr>'
        for cells in lines
    )
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    return (
        f"<table>\n<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        f"{shown}\n</tbody>\n</table>\n"
    )
