"""Reports that take the place of older ones: looked at before the work, and again after it."""

from __future__ import annotations

import re
from datetime import datetime
from html import unescape
from itertools import count
from pathlib import Path

import click

from ..errors import CheckpointError
from ..files import cannot_be_written, check_target, locked_folder, write_whole
from ..plain import holds

_SEEN = "vitconvert.seen"  # of click's context: path -> what was there before the work
_BEGINNING = 1 << 20  # bytes of a report in which the name of its model is looked for
_MODEL = re.compile(  # where a report begins: as JSON, Markdown, HTML
    r'"model": "([^"\\\n]+)"|^\*\*(.+?): [A-Z]|<title>[A-Z ]+: parity of ([^<\n]+)<'
)


def check_replaced(path: Path, mark: str, what: str) -> None:
    """Refuse to write to a file that holds something else, and note what it is now.

    Args:
        path: To write to.
        mark: A word that everything that may be replaced holds.
        what: That is, such as "a parity report".

    Raises:
        CheckpointError: It cannot be written, or is something else.
    """
    check_target(path, force=True)
    try:
        is_known = not path.exists() or holds(path, mark.encode())
    except (CheckpointError, OSError):
        is_known = False
    if not is_known:
        raise CheckpointError(f"{path}: exists and is not {what}. Choose another name.")
    _seen()[path] = _identity(path)


def write_report(path: Path, content: bytes, what: str) -> str:
    """Write a report that `check_replaced` was asked about.

    Args:
        path: To write to.
        content: Of the file.
        what: That is, such as "the report".

    Returns:
        A sentence about it, which also names the report that it replaced.

    Raises:
        CheckpointError: It cannot be written; or another run wrote there meanwhile, whose report
            stays: then this one is beside it, and the message names it.
    """
    before = _seen().get(path)
    with cannot_be_written(path), locked_folder(path.parent):
        if _identity(path) == before:
            told = _replaced(path) if before else ""
            write_whole(path, content)
            return f"{path} holds {what}{told}."
        names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
        beside = next(name for name in names if not name.exists())
        write_whole(beside, content)
    raise CheckpointError(
        f"{path}: another run wrote it meanwhile, so it was left alone; {beside} holds {what} of "
        f"this run. Give each run a name of its own."
    )


def _seen() -> dict[Path, tuple[int, ...] | None]:
    found: dict[Path, tuple[int, ...] | None]
    found = click.get_current_context().meta.setdefault(_SEEN, {})
    return found


def _identity(path: Path) -> tuple[int, ...] | None:
    """Tell files of one name apart; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _replaced(path: Path) -> str:
    """Say which report goes: of which model, and from when."""
    with path.open("rb") as file:
        match = _MODEL.search(file.read(_BEGINNING).decode(errors="replace"))
        written = datetime.fromtimestamp(path.stat().st_mtime)
    of = f" of {unescape(match[match.lastindex or 0])}," if match else ""
    return f"; it replaced that{of} written {written:%Y-%m-%d %H:%M}"
