"""Parsed TOML -> Table: every row, kind and variant checked, all problems in one message."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checked import checked, tables_in
from ..errors import TableError, listing, nearest
from .kinds import Kind, parse_kind
from .table import PLACEHOLDER, Row, Table
from .variant import PREPROCESSING, ShapePattern, Variant

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def parse_table(
    path: Path,
    data: Mapping[str, Any],
    shapes: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    shipped: bool = False,
) -> Table:
    """Check the parsed TOML of a table and make a Table of it.

    Args:
        path: Its file, whose name stands for what the table does not say.
        data: The table itself.
        shapes: Variant -> PyTorch key pattern -> shape, content of shapes/<family>.toml.
        kinds: Those that every table may name; the table may bring others.
        shipped: Whether the table is part of the package.

    Raises:
        TableError: All problems found, in one message.
    """
    problems: list[str] = []
    own = tables_in(data, "kinds", "", problems)
    kinds = {**kinds, **{name: parse_kind(name, kind, problems) for name, kind in own.items()}}
    rows = data.get("rows")
    if not isinstance(rows, list):
        is_there = f"is {rows!r}" if "rows" in data else "is missing"
        problems.append(f"rows {is_there}, expected a list.{nearest('rows', data)}")
        rows = []
    read = tuple(_parse_rows(rows, kinds, problems))
    output = data.get("output")
    if output is not None and output not in kinds:
        problems.append(f"output is {output!r}, expected a kind: {', '.join(kinds)}.")
    names = {"family": path.stem, "title": path.stem}
    taken = ("kinds", "rows", "output", "variants", "published_defaults")
    table = checked(
        Table,
        names | {name: value for name, value in data.items() if name not in taken},
        "",
        problems,
        rows=read,
        variants=_parse_variants(data, shapes, path, problems),
        path=path,
        shipped=shipped,
        output=None if output is None else kinds.get(output),
    )
    if table is not None:
        problems += _wrong_patterns(table)
    if problems or table is None:
        where = path.name if shipped else path
        raise TableError(listing(f"{where} cannot be used:", problems))
    return table


def _wrong_patterns(table: Table) -> Iterator[str]:
    """Say which patterns of single tensors cannot be, or contradict a row."""
    for name, patterns in (("ignore", table.ignore), ("paddle_only", table.paddle_only)):
        for pattern in patterns:
            if re.search(r"[{}]", PLACEHOLDER.sub("", pattern)):
                yield f"{name}: {pattern!r}: a placeholder is a name in braces, such as {{i}}."
    yield from table.contradictions()


def _parse_rows(rows: list[Any], kinds: Mapping[str, Kind], problems: list[str]) -> Iterator[Row]:
    """Read the rows; those that cannot be are added to the problems."""
    seen = set[tuple[str, str]]()
    for number, entry in enumerate(rows, 1):
        if not (
            isinstance(entry, list) and len(entry) == 3 and all(isinstance(x, str) for x in entry)
        ):
            problems.append(f"row {number}: expected [torch, paddle, kind], found {entry}.")
            continue
        torch, paddle, kind = entry
        where = f"row {number} ({torch})"
        if kind not in kinds:
            meant = nearest(kind, kinds) or f" There are: {', '.join(kinds)}."
            told = f"kind {kind!r} is unknown.{meant}"
            problems.append(f"{where}: {told}")
            continue
        if set(PLACEHOLDER.findall(torch)) != set(PLACEHOLDER.findall(paddle)):
            problems.append(f"{where}: {paddle!r} does not have the same {{placeholders}}.")
        if re.search(r"[{}]", PLACEHOLDER.sub("", torch + paddle)):
            problems.append(f"{where}: a placeholder is a name in braces, such as {{i}}.")
        for side, name in (("torch", torch), ("paddle", paddle)):
            if (side, name) in seen:
                problems.append(f"{where}: an earlier row describes the same {side} layer, {name}.")
            seen.add((side, name))
        yield Row(number, torch, paddle, kinds[kind])


def _parse_variants(
    data: Mapping[str, Any], shapes: Mapping[str, Any], path: Path, problems: list[str]
) -> dict[str, Variant]:
    """Read the variants; what is published of one starts from [published_defaults]."""
    defaults = data.get("published_defaults", {})
    if not isinstance(defaults, dict):
        problems.append(f"published_defaults is {defaults!r}, expected a table.")
        defaults = {}
    found = {}
    for name, entry in tables_in(data, "variants", "", problems).items():
        words = dict(entry)
        published = words.get("published", ())
        if isinstance(published, list) and all(isinstance(one, dict) for one in published):
            words["published"] = [defaults | one for one in published]
        known = {
            "name": name,
            "family": data.get("family", path.stem),
            "shapes": _expand(shapes, name),
            "own_preprocessing": words.pop("preprocessing", {}),
        }
        own = known["own_preprocessing"]
        if not isinstance(own, dict) or own.keys() - PREPROCESSING.keys():
            asked = ", ".join(PREPROCESSING)
            problems.append(f"variant {name}: preprocessing is {own!r}, expected any of {asked}.")
        if variant := checked(Variant, words, f"variant {name}: ", problems, **known):
            found[name] = variant
    return found


def _expand(shapes: Mapping[str, Any], name: str) -> dict[str, ShapePattern]:
    """Give the shapes of a variant, by key; `same_as` names the one that has the same."""
    entry = shapes.get(name, {})
    entry = shapes[entry["same_as"]] if "same_as" in entry else entry
    return {key: tuple(shape) for pattern, shape in entry.items() for key in _range(pattern)}


def _range(pattern: str) -> Iterator[str]:
    """Expand one inclusive range: "a.{0..2}.b" -> a.0.b, a.1.b, a.2.b."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    for i in range(int(match[1]), int(match[2]) + 1):
        yield pattern[: match.start()] + str(i) + pattern[match.end() :]
