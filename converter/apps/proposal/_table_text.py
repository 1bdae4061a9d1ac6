"""Write a proposed table as TOML, aligned, with comments about uncertain rows."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._kinds_text import write_kinds
from ._rows import DOUBTS, Proposed

_WIDTH = 98


def write_table(
    heading: Iterable[str],
    rows: Sequence[Proposed],
    ignore: Mapping[str, str],
    left_out: Sequence[str],
    problems: Sequence[str],
    size: tuple[int, int] | None = None,
    kinds: Mapping[str, Mapping[str, Any]] | None = None,
    paddle_only: Mapping[str, str] | None = None,
) -> str:
    """Write a table.

    Args:
        heading: Comments at the top.
        rows: In order; a comment above an uncertain one says why.
        ignore: PyTorch key pattern -> reason.
        left_out: Layers that are not in the table, and why.
        problems: Tensors without a row: the table does not convert before they have one.
        size: Height and width in pixels of the images that the models were run on.
        kinds: Those of the user's own that rows name, as their file has them.
        paddle_only: Paddle key pattern -> reason; a comment above it has the doubt, if any.
    """
    lines = [line for text in heading for line in _comment(text, "")]
    cells = [[json.dumps(row.torch), json.dumps(row.paddle), json.dumps(row.kind)] for row in rows]
    widths = [max([*(len(row[i]) for row in cells), 7]) + 1 for i in (0, 1)]
    head = f"# {'torch':<{widths[0] - 1}} {'paddle':<{widths[1]}} kind"
    if size is not None:
        lines.append(f"input_size = {list(size)}  # height, width in pixels")
    lines += ["rows = [", f"  {head}"]
    for row, (torch, paddle, kind) in zip(rows, cells, strict=True):
        if row.note:
            lines += _comment(("undecided: " if row.undecided else "") + row.note, "  ")
        lines.append(f"  [{torch + ',':<{widths[0]}} {paddle + ',':<{widths[1]}} {kind}],")
    lines.append("]")
    for title, texts in (("Tensors without a row:", problems), ("Left out:", left_out)):
        if texts:
            lines += ["", f"# {title}", *(line for text in texts for line in _comment(text, "", 2))]
    if ignore:
        lines += ["", "[ignore]"]
        lines += [f"{json.dumps(key)} = {json.dumps(why)}" for key, why in ignore.items()]
    if paddle_only:
        lines += ["", "[paddle_only]"]
        for key, why in paddle_only.items():
            lines += _comment(f"undecided: {DOUBTS[why]}", "") if why in DOUBTS else []
            lines.append(f"{json.dumps(key)} = {json.dumps(why)}")
    lines += write_kinds(kinds or {})
    return "\n".join(lines) + "\n"


def _comment(text: str, margin: str, indent: int = 0) -> list[str]:
    """Break a text into lines of comment."""
    first = text[: len(text) - len(text.lstrip())]
    begin = f"{margin}# {' ' * indent}{first}"
    return textwrap.wrap(
        " ".join(text.split()) if not first else text.strip(),
        _WIDTH,
        initial_indent=begin,
        subsequent_indent=begin + "  " * bool(indent or first),
        break_long_words=False,
        break_on_hyphens=False,
    )
