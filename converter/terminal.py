"""What a terminal is told: text that is safe to print, tables, how far work has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]


def printable(text: str) -> str:
    """Spell out the control characters that a file may hold, so that none reaches a terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def console() -> Console:
    """Make a console that cuts no table short; a narrow terminal folds the lines itself."""
    from rich.console import Console

    return Console(highlight=False, width=400)
