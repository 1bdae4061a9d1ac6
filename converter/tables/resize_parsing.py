"""`[resize]` of a parsed table: key pattern -> names of functions, checked without NumPy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..checked import shown
from ..errors import nearest
from .patterns import PLACEHOLDER

FUNCTIONS = (  # of `resize_rules`, which needs NumPy
    "position_table",
    "relative_position_table",
    "window_position_table",
    "rotary_table",
    "patch_kernel",
    "input_channels",
)
STAGE = "stage"  # the placeholder that holds the number of a stage


def parse_resize(data: Mapping[str, Any], problems: list[str]) -> dict[str, tuple[str, ...]]:
    """Read the section [resize] of a parsed table: key pattern -> functions.

    Args:
        data: The table.
        problems: Gets whatever cannot be.
    """
    section = data.get("resize", {})
    if not isinstance(section, dict):
        problems.append(f"resize is {shown(section)}, expected key patterns with functions.")
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for pattern, cell in section.items():
        names = cell if isinstance(cell, list) else [cell]
        where = f"resize: {shown(pattern, str)}"
        wrong = list(_wrong(pattern, names))
        problems += [f"{where}: {told}" for told in wrong]
        if not wrong:
            found[pattern] = tuple(names)
    return found


def _wrong(pattern: str, names: Sequence[Any]) -> Iterator[str]:
    """Say what is wrong with one entry."""
    if set("{}") & set(PLACEHOLDER.sub("", pattern)):
        yield "a placeholder is a name in braces, such as {i}."
    if not names:
        yield "expected a function, found an empty list."
    for name in names:
        if not isinstance(name, str) or name not in FUNCTIONS:
            meant = nearest(name, FUNCTIONS) if isinstance(name, str) else ""
            meant = meant or f" There are: {', '.join(FUNCTIONS)}."
            yield f"function {shown(name)} is unknown.{meant}"
        elif names.count(name) > 1:
            yield f"function {name!r} stands there twice."
        elif name == "window_position_table" and STAGE not in PLACEHOLDER.findall(pattern):
            yield f"{name!r} needs the number of the stage: a placeholder {{{STAGE}}}."
