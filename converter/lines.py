"""Text of a file within our own: spelled out, so that it cannot leave its place.

A name or a text that a file holds may contain the end of a line, codes that control a terminal, or
marks that turn the direction of writing. Printed as it is, it could forge one of our lines. So a
message is one line, and whatever would end it is spelled out, unless `Lines` says that its lines
are ours. JSON alone holds texts as they are, as it has an escape of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

# A cell that begins with one of these is a formula to a spreadsheet; so is what looks like one
# where full-width letters are usual. Source: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\t", "\r", *"\uff1d\uff0b\uff0d\uff20")
_MARK = "'"  # a spreadsheet takes what follows as text


class Lines(str):
    """Text of several lines, all of them ours. Formatted into another text, it is one no more."""

    __slots__ = ()


def one_line(text: object) -> str:
    """Spell out whatever does not print, the end of a line and half a surrogate pair included."""
    found = str(text)
    if found.isprintable():
        return found
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in found)


def joined(parts: Iterable[str], between: str = "\n") -> Lines:
    """Join texts of one line each, or `Lines`, by the ends of lines that we choose."""
    return Lines(between.join(map(printable, parts)))


def printable(text: str) -> str:
    """Spell out what a file may hold and a terminal must not get; `Lines` stay lines."""
    if isinstance(text, Lines):
        return "\n".join(map(one_line, text.split("\n")))
    return one_line(text)


def csv_cell(text: str) -> str:
    """Keep a text in a CSV from being a formula: an apostrophe goes before what would be one.

    So it does before a text that begins with an apostrophe: whoever takes one off reads the text.
    """
    return _MARK + text if text.startswith((*_FORMULA, _MARK)) else text
