"""An evaluation in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import some
from ...terminal import printable
from ._phrases import comparison, described, figures, how_far, images, rates, unreadable, verdict
from ._published import published
from ._result import Evaluation

if TYPE_CHECKING:
    from rich.console import Console

_LISTED = 3  # images that cannot be read, and published figures


def show(evaluation: Evaluation, console: Console) -> None:
    """Print the figures of every side, how they compare, and the verdict.

    The 95% intervals are Wilson's score interval for a share, and for the difference of two sides
    on the same images Bonett and Price's adjusted Wald interval for paired samples.
    """
    from rich.table import Table
    from rich.text import Text

    about = f"{evaluation.variant} on {evaluation.data} ({evaluation.described})"
    extent = f"{images(evaluation.count)}, {evaluation.num_classes:,} classes"
    console.print(Text(_line(f"{about}: {extent}")))
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for side in evaluation.sides:
        table.add_column(Text(side.label), justify="right", no_wrap=True)
    for name, texts in figures(evaluation):
        table.add_row(Text(name, "dim" if name.startswith(" ") else ""), *map(Text, texts))
    console.print(table)
    console.print()
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _facts(evaluation):
        facts.add_row(name, Text(_line(text)))
    console.print(facts)
    if last := _last(evaluation):
        console.print()
    for line, style in last:
        console.print(Text(_line(line), style))


def _line(text: str) -> str:
    """Escape what would control a terminal or break the line; names may hold anything."""
    return printable(text).replace("\n", "\\n")


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


def _last(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the last lines: whether the evaluation is partial, and the verdict on two sides."""
    lines = []
    if partial := how_far(evaluation):
        lines.append((partial, "bold yellow"))
    if (text := verdict(evaluation)) is not None:
        good = evaluation.same and evaluation.count
        lines.append((text, "green" if good else "bold red"))
    return lines
