"""A progress bar that appears only when work takes longer than a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .parity import Progress as Advance

_PATIENCE = 1.0  # seconds


@contextmanager
def bar() -> Iterator[Advance]:
    """Give a function that takes a text, the amount done and the total."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    display = Progress(*columns, console=Console(stderr=True), transient=True)
    task = display.add_task("starting", total=None)
    begin, started = time.monotonic(), False

    def advance(text: str, done: int, total: int) -> None:
        nonlocal started
        if not started and time.monotonic() - begin > _PATIENCE:
            display.start()
            started = True
        display.update(task, description=text, completed=done, total=total)

    try:
        yield advance
    finally:
        display.stop()
