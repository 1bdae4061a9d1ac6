"""Parsed TOML -> Table: every row, kind and variant checked, all problems in one message."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..checked import checked, shown, tables_in
from ..errors import TableError, listing, nearest
from .expanding import expand
from .kinds import Kind, parse_kind
from .leaves import with_leaves
from .naming import parse_names
from .patterns import PLACEHOLDER
from .resize_parsing import parse_resize
from .table import Row, Table
from .variant import PREPROCESSING, Figures, Variant

_FIGURES = {one.name for one in fields(Figures)}
_MOST_CLASSES = 10_000_000


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
        is_there = f"is {shown(rows)}" if "rows" in data else "is missing"
        problems.append(f"rows {is_there}, expected a list.{nearest('rows', data)}")
        rows = []
    read = tuple(_parse_rows(rows, kinds, problems))
    output = data.get("output")
    if output is not None and (not isinstance(output, str) or output not in kinds):
        problems.append(f"output is {shown(output)}, expected a kind: {', '.join(kinds)}.")
        output = None
    names = {"family": path.stem, "title": path.stem}
    taken = (
        "kinds",
        "rows",
        "output",
        "variants",
        "published_defaults",
        "dialects",
        "targets",
        "resize",
    )
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
        dialects=parse_names(data, "dialects", "torch", problems),
        targets={
            name: with_leaves(names, read, kinds, problems)
            for name, names in parse_names(data, "targets", "paddle", problems).items()
        },
        resize=parse_resize(data, problems),
    )
    if table is not None:
        problems += _wrong_patterns(table)
    if table is not None and not problems and not shipped:  # of those the tests check it
        from .borders import check_borders

        problems += check_borders(table)
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
            problems.append(f"row {number}: expected [torch, paddle, kind], found {shown(entry)}.")
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
        problems.append(f"published_defaults is {shown(defaults)}, expected a table.")
        defaults = {}
    found, seen = {}, set[str]()
    for name, entry in tables_in(data, "variants", "", problems).items():
        words = dict(entry)
        published = words.get("published", ())
        where = f"variant {name}: "
        if isinstance(published, list) and all(isinstance(one, dict) for one in published):
            words["published"] = [defaults | one for one in published]
            for figures in words["published"]:
                # Many differ in the file alone: a name is checked, the rest once.
                rest = repr({word: one for word, one in figures.items() if word != "weights"})
                if rest not in seen or not isinstance(figures.get("weights", ""), str):
                    _check_figures(figures, f"{where}published: ", problems)
                    seen.add(rest)
        known = {
            "name": name,
            "family": data.get("family", path.stem),
            "shapes": expand(shapes, name, problems),
            "own_preprocessing": words.pop("preprocessing", {}),
        }
        own = known["own_preprocessing"]
        if not isinstance(own, dict) or own.keys() - PREPROCESSING.keys():
            asked = ", ".join(PREPROCESSING)
            problems.append(f"{where}preprocessing is {shown(own)}, expected any of {asked}.")
        else:
            _check_figures(own, f"{where}preprocessing: ", problems)
        if isinstance(config := words.get("config"), dict):
            classes = config.get("num_classes", 0)
            if type(classes) is not int or not 0 <= classes <= _MOST_CLASSES:
                told = f"config.num_classes is {shown(classes)}, expected 0 to {_MOST_CLASSES}."
                problems.append(f"{where}{told}")
        if variant := checked(Variant, words, where, problems, **known):
            found[name] = variant
    return found


def _check_figures(figures: Mapping[str, Any], where: str, problems: list[str]) -> None:
    """Check what is used of the figures of a released checkpoint."""
    used = {name: value for name, value in figures.items() if name in _FIGURES}
    checked(Figures, used, where, problems)
