"""A progress bar and what is printed meanwhile do not run into each other."""

import io
import sys

import click
import pytest
from rich.console import Console
from rich.progress import Progress

from vitconvert.commands.options import progress_bar
from vitconvert.terminal import say, shown


class Screen(io.StringIO):
    """A terminal that keeps what it gets."""

    def isatty(self) -> bool:
        """Tell that it is one."""
        return True


class Tee(io.StringIO):
    """A pipe whose other end prints on a screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self.screen = screen

    def write(self, text: str) -> int:
        """Print it."""
        return self.screen.write(text)


@pytest.mark.parametrize("is_piped", [False, True])
def test_a_line_begins_where_the_bar_is_gone(
    is_piped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it comes through `tee`; the bar is back behind it, and gone at the end."""
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", Tee(screen) if is_piped else screen)
    console = Console(file=screen, force_terminal=True, width=60, color_system=None)
    bar = Progress(console=console, transient=True, redirect_stdout=False, auto_refresh=False)
    bar.add_task("at work", total=4)
    with bar, shown(bar):
        bar.refresh()
        say("epoch 1/2: loss 1.1")
        say("epoch 2/2: loss 1.0")
        bar.refresh()

    for number in (1, 2):
        before, _, after = screen.getvalue().partition(f"epoch {number}/2: loss 1.")
        assert before.endswith("\x1b[2K"), before  # of the line that held the bar
        assert "at work" in before
        assert "at work" in after.partition("\n")[2]
    assert screen.getvalue().rstrip().endswith("\x1b[2K")


def test_a_dumb_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot take back what it shows."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with click.Context(click.Command("eval")), progress_bar() as progress:
        assert progress is None

    assert screen.getvalue() == ""
