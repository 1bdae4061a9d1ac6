"""An evaluation in the terminal."""

from __future__ import annotations

from ...errors import some
from ...lines import one_line
from ...terminal import Cell, Style, print_table, say
from ._phrases import comparison, described, figures, how_far, images, rates, unreadable, verdict
from ._published import published
from ._result import Evaluation

_LISTED = 3  # images that cannot be read, and published figures
_BOLD: Style = {"bold": True}
_DIM: Style = {"dim": True}
_GREEN: Style = {"fg": "green"}
_RED: Style = {"fg": "red", "bold": True}


def show(evaluation: Evaluation) -> None:
    """Print the figures of every side, how they compare, and the verdict.

    The 95% intervals are Wilson's score interval for a share, and for the difference of two sides
    on the same images Bonett and Price's adjusted Wald interval for paired samples.
    """
    about = f"{evaluation.variant} on {evaluation.data} ({evaluation.described})"
    say(f"{about}: {images(evaluation.count)}, {evaluation.num_classes:,} classes")
    say()
    labels = [side.label for side in evaluation.sides]
    rows: list[tuple[str | Cell, ...]] = [
        (Cell(name, _DIM if name.startswith(" ") else None), *texts)
        for name, texts in figures(evaluation)
    ]
    print_table(rows, "", *labels, right=labels)
    say()
    print_table([(Cell(name, _BOLD), one_line(text)) for name, text in _facts(evaluation)], "", "")
    if last := _last(evaluation):
        say()
    for line, style in last:
        say(line, style=style)


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the facts below the figures: a name and a text each."""
    known = published(evaluation)
    facts = comparison(evaluation)
    facts += [("published top-1", one.sentence) for one in known[:_LISTED]]
    if len(known) > _LISTED:
        facts.append(("", f"and {len(known) - _LISTED} more, of other checkpoints"))
    if evaluation.unreadable:
        reasons = [f"{name}: {reason}" for name, reason in unreadable(evaluation)]
        count = images(len(evaluation.unreadable))
        facts.append(("cannot be read", f"{count}, left out of all figures"))
        facts += [("", reason) for reason in reasons[:_LISTED]]
        if len(reasons) > _LISTED:
            facts.append(("", f"and {len(reasons) - _LISTED:,} more"))
    for side in evaluation.sides:
        broken = (side.predicted < 0).nonzero()[0]
        if len(broken):
            names = some([evaluation.names[row] for row in broken], _LISTED)
            facts.append(("not finite", f"logits of {side.label}: {names}; counted as wrong"))
    if evaluation.matching:
        facts.append(("classes", evaluation.matching))
    facts.append(("preprocessing", described(evaluation.preprocessing)))
    facts.append(("end to end", rates(evaluation)))
    return facts


def _last(evaluation: Evaluation) -> list[tuple[str, Style]]:
    """Return the last lines: whether the evaluation is partial, and the verdict on two sides."""
    lines = []
    if partial := how_far(evaluation):
        lines.append((partial, {"fg": "yellow", "bold": True}))
    if (text := verdict(evaluation)) is not None:
        good = evaluation.same and evaluation.count
        lines.append((text, _GREEN if good else _RED))
    return lines
