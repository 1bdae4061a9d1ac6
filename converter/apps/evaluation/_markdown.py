"""An evaluation as the Markdown table that reviewers of a port ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...lines import Lines
from ...markdown import MADE_WITH, code, code_block, document, line, table
from ...sides import describe_side
from ...version import __version__
from ._phrases import comparison, described, how_far, images, number, percent, unreadable, verdict
from ._published import published
from ._result import Evaluation, Scores

MARK = f"evaluation {MADE_WITH}"  # every such text holds it
# What reviewers of ports ask of two models: the largest difference of two logits, and the least
# share of images that both give one class.
MOST_APART = 1e-4
LEAST_SAME = 0.998
_LISTED = 3  # images that cannot be read, and published figures

_Column = tuple[str, str, str, str]  # heading, figure, limit, PASS or FAIL


def markdown(evaluation: Evaluation, command: str = "") -> Lines:
    """Return an evaluation as Markdown: a table, and what it was measured on.

    Args:
        evaluation: What was found.
        command: The command that made it, if any.
    """
    columns = _columns(evaluation)
    headings, *rows = ([column[i] for column in columns] for i in range(4))
    rows = [row for row in rows if any(row)]
    for name, row in zip(("limit", "result"), rows[1:], strict=False):
        row[0] = f"**{name}**"
    lines = [_title(evaluation), "", *table(headings, rows), ""]
    facts = (how_far(evaluation), *_facts(evaluation))
    lines += [f"- {line(fact)}" for fact in facts if fact]
    if command:
        lines += ["", *code_block(command)]
    return document(lines)


def _title(evaluation: Evaluation) -> str:
    """Give the verdict; for one side, or no image, there is none."""
    word = "evaluation"
    if evaluation.same is not None and evaluation.count:
        word = "SAME" if evaluation.same else "NOT THE SAME"
    claim = (verdict(evaluation) or "").removeprefix("NOT THE SAME: ")
    return f"**{line(evaluation.variant)}: {word}**" + (f", {line(claim)}" if claim else "")


def _columns(evaluation: Evaluation) -> list[_Column]:
    """Return the columns, PyTorch before Paddle, as reviewers know the order."""
    sides: Sequence[Scores] = evaluation.sides[::-1]
    found = [
        ("model", line(evaluation.variant), "", ""),
        ("images", f"{evaluation.count:,}", "", ""),
    ]
    for side in sides:
        found.append((f"top-1 {side.label}", percent(evaluation.top1(side).value), "", ""))
    if difference := evaluation.accuracy_difference:
        first, second = (side.label for side in evaluation.sides)
        points = f"{100 * difference.value:+.2f} points" if evaluation.count else "-"
        found.append((f"difference ({first} - {second})", points, "", ""))
    top5 = [percent(share.value) for side in sides if (share := evaluation.top5(side))]
    if top5:
        found.append((f"top-5 {' / '.join(s.label for s in sides)}", " / ".join(top5), "", ""))
    if evaluation.agreement is not None:
        found += _agreement(evaluation)
    return found


def _agreement(evaluation: Evaluation) -> list[_Column]:
    """Return how far the logits of two sides are apart, and how often they agree."""
    agreement, count = evaluation.agreement, evaluation.count
    assert agreement is not None
    apart = float(np.max(evaluation.difference, initial=0.0))
    mean = float(evaluation.mean_difference.mean()) if count else 0.0
    figures = ["not finite" if not np.isfinite(x) else number(x) for x in (apart, mean)]
    same = f"{agreement.count:,}/{agreement.of:,}"
    limits = (f"< {MOST_APART:.0e}".replace("e-0", "e-"), f"at least {100 * LEAST_SAME:g}%")
    results = (_result(apart < MOST_APART), _result(agreement.value >= LEAST_SAME))
    if not count:
        figures, same, results = ["-", "-"], "-", ("-", "-")
    return [
        ("max |Δ logit|", figures[0], limits[0], results[0]),
        ("mean |Δ logit|", figures[1], "", ""),
        ("same prediction", same, limits[1], results[1]),
    ]


def _result(good: bool) -> str:
    return "PASS" if good else "**FAIL**"


def _facts(evaluation: Evaluation) -> list[str]:
    """Return what the figures are of: images, preprocessing, files, versions."""
    in_table = ("same prediction", "logit difference")
    facts = [f"{name}: {text}" for name, text in comparison(evaluation) if name not in in_table]
    facts += [f"published top-1: {one.sentence}" for one in published(evaluation)[:_LISTED]]
    facts.append(
        f"images: {code(evaluation.data)} ({evaluation.described}), "
        f"{images(evaluation.count)} of {evaluation.num_classes:,} classes"
    )
    if evaluation.matching:
        facts.append(f"classes: {evaluation.matching}")
    if left_out := unreadable(evaluation):
        listed = "; ".join(f"{code(name)}: {reason}" for name, reason in left_out[:_LISTED])
        more = f" and {len(left_out) - _LISTED:,} more" if len(left_out) > _LISTED else ""
        facts.append(f"{images(len(left_out))} cannot be read and are left out: {listed}{more}")
    facts.append(f"preprocessing: {described(evaluation.preprocessing)}")
    for side in evaluation.sides[::-1]:
        ran, known = describe_side(side.label, side.framework, side.facts), side.facts
        file, digest = code(str(known.get("file", "-"))), str(known.get("sha256", "-"))[:12]
        facts.append(f"{ran}, {known.get('dtype', 'float32')}: {file} (sha256 {code(digest)})")
    python = evaluation.environment.get("python")
    facts.append(f"{MARK} {__version__}" + (f", Python {python}" if python else ""))
    if date := evaluation.environment.get("date"):
        facts.append(f"evaluated on {date}")
    return facts
