"""Print on a terminal: text that is safe there, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from .lines import one_line
from .lines import printable as printable

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]  # called with a text, the amount done and the total


def say(text: str = "", err: bool = False) -> None:
    """Print one line, or `Lines`; what a file may have put into it is spelled out."""
    import click

    click.echo(printable(text), err=err)


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
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console().print(table)
