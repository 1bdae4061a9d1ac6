"""What reports share: JSON; pages with head, style, tables, and templates that data stay inside."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from .lines import one_line
from .version import __version__

NONE = "\u2013"
_MARK = "@@"  # around the name of each placeholder in a template; neither CSS nor JS knows it


_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="vitconvert">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; {scripts}base-uri 'none'; form-action 'none'">
<link rel="icon" href="data:,">"""


def fill(template: Traversable, values: Mapping[str, str]) -> str:
    """Put values, which are HTML, into a template.

    Args:
        template: HTML with placeholders such as @@title@@. @@head@@ becomes what every report
            begins with, @@style@@ the common style, @@version@@ that of vitconvert.
        values: By the name of the placeholder.

    Returns:
        HTML 5, to be written as UTF-8.
    """
    # Filled in one pass: a placeholder that the data happens to hold stays what it is.
    parts = template.read_text("utf-8").split(_MARK)
    scripts = "script-src 'unsafe-inline'; " if "</script>" in parts[-1] else ""
    common = {
        "head": _HEAD.format(scripts=scripts),
        "style": files("vitconvert").joinpath("page.css").read_text("utf-8").rstrip(),
        "version": text(__version__),
    }
    known = {**values, **common}
    parts[1::2] = [known[name] for name in parts[1::2]]
    return "".join(parts)


def section(name: str, title: str, content: str) -> str:
    """Give a section with a heading, or nothing if there is no content."""
    if not content:
        return ""
    return (
        f'<section aria-labelledby="{name}-title">\n<h2 id="{name}-title">{text(title)}</h2>\n'
        f"{content}\n</section>\n"
    )


def facts(
    caption: str, cells: Iterable[Sequence[str]], heads: Sequence[str] = (), css: str = "facts"
) -> str:
    """Give a table of facts: a name and a value each, or several under headings; none without."""
    head, body = "", rows(cells)
    if not body:
        return ""
    if heads:
        columns = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
        head = f"<thead><tr>{columns}</tr></thead>\n"
    return (
        f'<table class="{css}">\n<caption class="unseen">{text(caption)}</caption>\n{head}<tbody>\n'
        f"{body}\n</tbody>\n</table>"
    )


def items(lines: Iterable[str]) -> str:
    """Give the items of a list; what stands between backticks is code."""
    return "\n".join(f"<li>{with_code(line)}</li>" for line in lines)


def text(value: object) -> str:
    """Escape text; what does not print, which a name may hold, is spelled out."""
    return escape(one_line(value))


def with_code(line: str) -> str:
    """Set text between backticks as code."""
    parts = [text(part) for part in line.split("`")]
    if len(parts) % 2 == 0:
        return "`".join(parts)
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    return "".join(parts)


def rows(cells: Iterable[Sequence[str]]) -> str:
    """Give the rows of a table; the first cell of each names it."""
    return "\n".join(
        f'<tr><th scope="row">{text(name)}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in others)
        + "</tr>"
        for name, *others in cells
    )


def side_by_side(*sides: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Put the facts of several things side by side: a name, then a cell of each."""
    for key in dict.fromkeys(key for side in sides for key in side):
        yield key, *(plain(side.get(key)) for side in sides)


def plain(value: Any) -> str:
    """Spell a value of JSON for people."""
    if value is None:
        return NONE
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def without_nan(value: Any) -> Any:
    """Replace numbers that are not finite by None throughout plain data, as JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return value
