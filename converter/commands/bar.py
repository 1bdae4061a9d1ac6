"""A progress bar that appears only when work takes longer than a second."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..terminal import Progress as Advance

_PATIENCE = 1.0  # seconds


@contextmanager
def bar() -> Iterator[Advance]:
    """Give a function that takes a text, the amount done and the total."""
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Messages go above the bar on a terminal, and to their file where stdout is one.
        redirect_stdout=sys.stdout.isatty(),
    )
    task = display.add_task("starting", total=None)
    timer = threading.Timer(_PATIENCE, display.start)
    timer.daemon = True
    timer.start()

    def advance(text: str, done: int, total: int) -> None:
        display.update(task, description=text, completed=done, total=total)

    try:
        yield advance
    finally:
        timer.cancel()
        timer.join()
        display.stop()
