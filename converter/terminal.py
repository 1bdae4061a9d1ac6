"""Print on a terminal: text that is safe there, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

_MANY = 2000  # rows; no model that people look at has as many
Progress = Callable[[str, int, int], None]  # called with a text, the amount done and the total


def printable(text: str) -> str:
    """Spell out the control characters that a file may hold, so that none reaches a terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def console() -> Console:
    """Make a console that cuts no table short; a narrow terminal folds the lines itself."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=400)


def print_table(rows: Iterable[Sequence[str]], *headings: str, right: Sequence[str] = ()) -> None:
    """Print rows under headings, without a frame; `right` names columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, no_wrap=True)
    spelled = [[printable(cell).replace("\n", "\\n") for cell in row] for row in rows]
    if len(spelled) > _MANY:
        _print_long([list(headings), *spelled], [heading in right for heading in headings])
        return
    for row in spelled:
        table.add_row(*map(Text, row))
    console().print(table)


def _print_long(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    """Print rows as such a table looks, in a hundredth of the time that rich takes."""
    import click
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for cell, width, is_right in zip(row, widths, right, strict=True):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if is_right else cell + space)
        click.echo("  ".join(cells).rstrip())
