"""Print on a terminal or into a pipe: text that is safe there, folded to its width, and tables."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from .lines import Lines, one_line, printable

if TYPE_CHECKING:
    from rich.progress import Progress as Display

Progress = Callable[[str, int, int], None]  # called with a text, the amount done and the total

_NARROWEST = 12  # columns that are left to a column of a table that must be folded
_PARTS = re.compile(r"[^./_:,]+[./_:,\s]*|[./_:,\s]+")  # of a name, with what ends each
_PLAIN = ("dumb", "unknown")  # terminals that show escapes as they are, such as Emacs' shell
_TEE = 0.05  # seconds that `tee` may take to print what it was given
_ASIDE = "vitconvert.aside"  # of click's context: whether stdout is for a report alone
_displays: list[Display] = []  # the progress bar that is shown, if any


Style = dict[str, Any]  # arguments of `click.style`


def say(text: str = "", err: bool = False, whole: bool = False, style: Style | None = None) -> None:
    """Print one line, or `Lines`; what a file may have put into it is spelled out.

    On a terminal it is folded between words; elsewhere a line stays one line. A reader that has
    closed the pipe ends nothing: what is to be printed to nobody is dropped.

    Args:
        text: To print.
        err: Whether on stderr.
        whole: Whether lines are never folded: those of a command, which is to be copied.
        style: How it looks on a terminal.
    """
    stream = _stream(err)
    lines = printable(text).split("\n")
    lines = lines if whole else fitted(lines, stream)
    cells = (Cell(line.rstrip(), style) for line in lines)
    _write(stream, "".join(f"{cell.shown(cell.text)}\n" for cell in cells))


def fitted(lines: Iterable[str], stream: TextIO | None) -> list[str]:
    """Fold lines to the width of a terminal; leave them where there is none."""
    columns = _columns(stream)
    return [part for line in lines for part in (wrapped(line, columns) if columns else [line])]


def say_report(text: str) -> None:
    """Print a report on stdout, which holds nothing else if `only_report` was called."""
    _write(sys.stdout, f"{printable(Lines(text))}\n")


def only_report() -> None:
    """Keep stdout for a report: until the command ends all else is printed on stderr."""
    import click

    click.get_current_context().meta[_ASIDE] = True


def _stream(err: bool) -> TextIO:
    import click

    context = click.get_current_context(silent=True)
    return sys.stderr if err or (context and context.meta.get(_ASIDE)) else sys.stdout


def columns() -> int | None:
    """Give the width of the terminal that is printed on; None if it is none."""
    return _columns(_stream(err=False))


def _columns(stream: TextIO | None) -> int | None:
    """Give the width of a terminal; None if it is none."""
    if stream is None or not stream.isatty():
        return None
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal():
        return int(asked) or None
    with suppress(OSError):  # a stream of a notebook's has no descriptor
        return os.get_terminal_size(stream.fileno()).columns or None  # 0: it does not know
    return None


def _write(stream: TextIO | None, text: str) -> None:
    """Write to a stream; above the progress bar if that is on the same terminal."""
    import click

    if stream is None:  # closed before the start
        return
    try:
        if _displays and stream.isatty():
            from rich.text import Text

            display = _displays[-1].console
            display.print(Text.from_ansi(text.removesuffix("\n")), soft_wrap=True)
        else:
            plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in _PLAIN
            color = False if plain else None  # None: on a terminal only
            with _out_of_the_way(stream):
                click.echo(text, nl=False, file=stream, color=color)
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


@contextmanager
def _out_of_the_way(stream: TextIO) -> Iterator[None]:
    """Take the progress bar away while text is written to a pipe, which may end on its terminal."""
    bar = _displays[-1] if _displays else None
    is_shown = bar is not None and bar.live.is_started
    if bar is None or not is_shown:
        yield
        return
    bar.stop()
    try:
        yield
        stream.flush()
        time.sleep(_TEE)
    finally:
        bar.start()


@contextmanager
def shown(display: Display) -> Iterator[None]:
    """Let what is printed stand above a progress bar, until it is gone."""
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


def wrapped(line: str, columns: int) -> list[str]:
    """Fold a line between words; what follows is indented as the line is, and a little more.

    A word that is longer than a line stays whole: the terminal folds it, and it can be copied.
    """
    if _width(line) <= columns:
        return [line]
    indent = len(line) - len(line.lstrip(" "))
    lines, current = list[str](), line[:indent]
    for word in line.split():
        fits = _width(current) + 1 + _width(word) <= columns
        if current.strip() and not fits:
            lines.append(current)
            current = " " * (indent + 2) + word
        else:
            current += f" {word}" if current.strip() else word
    return [*lines, current]


@dataclass(frozen=True, slots=True)
class Cell:
    """A text in a table, and how it looks on a terminal."""

    text: str
    style: Style | None = None

    def shown(self, part: str) -> str:
        """Give a part of the text as the terminal gets it."""
        import click

        return click.style(part, **self.style) if self.style and part else part


def print_table(
    rows: Iterable[Sequence[str | Cell]], *headings: str, right: Sequence[str] = ()
) -> None:
    """Print rows under headings, without a frame; on a terminal folded to its width.

    Args:
        rows: A cell for each heading.
        headings: Several lines if they have ends of lines; no line at all if all are empty.
        right: Those of columns of numbers.
    """
    stream = _stream(err=False)
    lines = table_lines(rows, headings, right, _columns(stream))
    _write(stream, "".join(f"{line}\n" for line in lines))


def table_lines(
    rows: Iterable[Sequence[str | Cell]],
    headings: Sequence[str],
    right: Sequence[str] = (),
    columns: int | None = None,
) -> Iterator[str]:
    """Give the lines of a table: as wide as it must be, or folded to a number of columns."""
    body = [[_one_line(cell) for cell in row] for row in rows]
    heads = [[Cell(heading, {"bold": True}) for heading in headings]] if any(headings) else []
    widths = [
        max(
            (_width(part) for row in (*heads, *body) for part in row[at].text.split("\n")),
            default=0,
        )
        for at in range(len(headings))
    ]
    is_right = [heading in right for heading in headings]
    widths = widths if columns is None else _narrowed(widths, is_right, columns)
    for number, row in enumerate([*heads, *body]):
        parts = [_parts(cell.text, width) for cell, width in zip(row, widths, strict=True)]
        height = max(map(len, parts), default=1)
        if number < len(heads):  # headings stand on their rows
            parts = [[""] * (height - len(part)) + part for part in parts]
        for line in range(height):
            texts = [part[line] if line < len(part) else "" for part in parts]
            yield _line(row, texts, widths, is_right)


def _one_line(cell: str | Cell) -> Cell:
    text, style = (cell, None) if isinstance(cell, str) else (cell.text, cell.style)
    return Cell(one_line(text), style)


def _line(
    row: Sequence[Cell], texts: Sequence[str], widths: Sequence[int], right: Sequence[bool]
) -> str:
    """Set the parts of one line side by side; nothing ends in blanks."""
    line, blanks = "", 0
    for cell, text, width, is_right in zip(row, texts, widths, right, strict=True):
        free = width - _width(text)
        if not text:
            blanks += width + 2
            continue
        line += " " * (blanks + free * is_right) + cell.shown(text)
        blanks = 2 + free * (not is_right)
    return line


def _width(text: str) -> int:
    """Count the columns of a text on a terminal: Chinese characters take two."""
    from rich.cells import cell_len

    return len(text) if text.isascii() else cell_len(text)


def _narrowed(widths: Sequence[int], fixed: Sequence[bool], columns: int) -> list[int]:
    """Take from the widest columns of words until all fit side by side; figures stay whole."""
    found = list(widths)
    words = [at for at, is_fixed in enumerate(fixed) if not is_fixed]
    over = sum(found) + 2 * (len(found) - 1) - columns
    while over > 0 and words and found[widest := max(words, key=found.__getitem__)] > _NARROWEST:
        found[widest] -= 1
        over -= 1
    return found


def _parts(text: str, width: int) -> list[str]:
    """Fold a cell at a blank; a longer name after a dot or the like, or where it must be."""
    if "\n" not in text and _width(text) <= width:  # most are; a file may have 300,000
        return [text]
    lines = []
    for line in text.split("\n"):
        current = ""
        for word in _pieces(line, width):
            if current and _width(current) + _width(word.rstrip()) > width:
                lines.append(current.rstrip())
                current = ""
            current += word
        lines.append(current.rstrip())
    return lines


def _pieces(line: str, width: int) -> Iterator[str]:
    """Give the parts that stay whole: words, or what a word that is too long is made of."""
    for word in re.findall(r"\s*\S+\s*", line):
        for part in [word] if _width(word.strip()) <= width else _PARTS.findall(word):
            while _width(part.rstrip()) > width:
                yield part[:width]
                part = part[width:]
            yield part
