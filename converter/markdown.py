"""Markdown for a pull request: a table, and the command that made it, ready to be pasted."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence

from .lines import Lines, joined, one_line

MADE_WITH = "made with vitconvert"  # every report in Markdown holds it
# Code from backticks to as many; it stays as it is. Outside of it, what means more than itself.
_CODE = re.compile(r"((?<!`)(?:`(?!`).+?(?<!`)`|``(?!`).+?(?<!`)``)(?!`))")
_ACTIVE = re.compile(
    r"\\(?=[!-/:-@\[-`{-~])|[*<`~]|(?<![^\W_])_|_(?![^\W_])|\](?=[\[(])|&(?=[#\w])"
)
_AT_START = re.compile(r"^(\d*)([#+.)-]+(?=\s)|>|\[(?=[^\]]*\]:))")
_WIDTH = 78  # characters of a line of a command


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Give the lines of a table.

    Args:
        headings: One for each column.
        rows: As many cells each, as plain text or with Markdown's own marks.
        left: How many columns hold words; the others hold figures and stand on the right.
    """
    marks = ["---"] * left + ["---:"] * (len(headings) - left)
    return ["| " + " | ".join(map(cell, row)) + " |" for row in (headings, marks, *rows)]


def cell(text: str) -> str:
    """Keep text in its cell: a bar or an end of line would end it."""

    def escaped(bar: re.Match[str]) -> str:
        # Before a bar, two backslashes are one of the text, and the bar is bare.
        return bar[0] if len(bar[0]) % 2 == 0 else f"{bar[0][:-1]}\\|"

    return re.sub(r"\\*\|", escaped, one_line(text))


def code(text: str) -> str:
    """Set text as code, whatever backticks it holds."""
    text = one_line(text).strip()
    ticks = "`" * (_longest_ticks(text) + 1)
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"


def line(text: str) -> str:
    """Keep text, in which code alone is marked, from being read as anything else.

    Names in it that come from a file cannot be HTML, a link, bold, a heading or a further line.
    """
    parts = _CODE.split(one_line(text).strip())
    parts[::2] = (_ACTIVE.sub(r"\\\g<0>", part) for part in parts[::2])
    return _AT_START.sub(r"\1\\\2", "".join(part or "" for part in parts))


def document(lines: Iterable[str]) -> Lines:
    """Join the lines of a text in Markdown; each of them stays one."""
    return joined([*lines, ""])


def code_block(text: str) -> list[str]:
    """Give the lines of a block of shell commands."""
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return [f"{fence}bash", *text.splitlines(), fence]


def details(summary: str, lines: Sequence[str]) -> list[str]:
    """Fold lines under a summary, which is ours: a reader opens them."""
    return ["<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>"]


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def command_line(arguments: Sequence[str]) -> Lines:
    """Spell a command so that it can be pasted into a shell; a long one is wrapped.

    Args:
        arguments: What follows `vitconvert`.
    """
    groups = [["vitconvert"]]
    for argument in arguments:
        # A value stays on the line of its option, and the command's name on the first.
        takes_value = len(groups) == 1 or (len(groups[-1]) == 1 and groups[-1][0][:1] == "-")
        if takes_value and not argument.startswith("--"):
            groups[-1].append(quoted(argument))
        else:
            groups.append([quoted(argument)])
    first, *others = map(" ".join, groups)
    lines = [first]
    for group in others:
        if len(lines[-1]) + len(group) + 3 > _WIDTH:
            lines[-1] += " \\"
            lines.append(f"    {group}")
        else:
            lines[-1] += f" {group}"
    return joined(lines)


def quoted(argument: str) -> str:
    """Quote an argument for a shell; one with characters that do not print, by their numbers."""
    if argument.isprintable():
        return shlex.quote(argument)
    shown = (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in os.fsencode(argument))
    return "$'" + "".join(f"\\{c}" if c in "'\\" and len(c) == 1 else c for c in shown) + "'"
