"""Where tables come from: those of `mappings/` and of the user, read and checked."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ..errors import ModelError, TableError, listing
from .kinds import Kind, parse_kind
from .table import PLACEHOLDER, Row, Table
from .variant import Variant

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
# What a table must have.
_FIELDS = {
    "family": str,
    "title": str,
    "source": str,
    "rows": list,
    "ignore": dict,
    "variants": dict,
}


def families() -> list[str]:
    """Name the families there are tables for, in alphabetical order."""
    names = (entry.name for entry in files("vitconvert.mappings").iterdir())
    return sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml") and n[0] != "_")


def variants() -> dict[str, Variant]:
    """Give every variant of every family by name."""
    return {name: v for family in families() for name, v in load_table(family).variants.items()}


def find_variant(name: str) -> tuple[Table, Variant]:
    """Give a variant and the table of its family.

    Raises:
        ModelError: No table has a variant of that name.
    """
    variant = variants().get(name)
    if variant is None:
        raise ModelError(f"no variant is called {name!r}. There are: {', '.join(variants())}.")
    return load_table(variant.family), variant


@cache
def load_table(family: str) -> Table:
    """Read and check the table of a family.

    Raises:
        TableError: The table is malformed; all problems are listed.
    """
    folder = files("vitconvert.mappings")
    shapes = folder / "shapes" / f"{family}.toml"
    return parse_table(
        f"{family}.toml",
        _read(folder / f"{family}.toml"),
        _read(folder / "_kinds.toml"),
        _read(shapes) if shapes.is_file() else {},
    )


def read_table(path: Path) -> Table:
    """Read and check a table of the user's own: rows, and what else it wants to say.

    Unlike ours it needs neither variants nor a title, and it may have [kinds] of its own.

    Raises:
        TableError: The file cannot be read, or the table is malformed; all problems are listed.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {error}.") from error
    own = {"family": path.stem, "title": path.stem, "source": "", "ignore": {}, "variants": {}}
    kinds = _read(files("vitconvert.mappings") / "_kinds.toml")
    found = data.get("kinds", {})
    if not (isinstance(found, dict) and all(isinstance(kind, dict) for kind in found.values())):
        raise TableError(f"{path}: [kinds] is {found!r}; expected a table of kinds.")
    return parse_table(str(path), own | data, kinds | found, {})


@cache
def read_kinds() -> dict[str, Kind]:
    """Read every kind of layer that our tables know, by name.

    Raises:
        TableError: _kinds.toml is malformed.
    """
    problems: list[str] = []
    data = _read(files("vitconvert.mappings") / "_kinds.toml")
    kinds = {name: parse_kind(name, entry, problems) for name, entry in data.items()}
    if problems:
        raise TableError(listing("_kinds.toml cannot be used:", problems))
    return kinds


def parse_table(
    file: str, data: Mapping[str, Any], kind_data: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Table:
    """Check the parsed TOML of a table and make a Table of it.

    Args:
        file: Name to use in errors.
        data: The table itself.
        kind_data: Content of _kinds.toml.
        shapes: Variant -> PyTorch key pattern -> shape, content of shapes/<family>.toml.

    Raises:
        TableError: All problems found, in one message.
    """
    problems = [
        f"{name!r} is {data.get(name)!r}, expected a {kind.__name__}."
        for name, kind in _FIELDS.items()
        if not isinstance(data.get(name), kind)
    ]
    if problems:
        raise TableError(listing(f"{file} cannot be used:", problems))
    kinds = {name: parse_kind(name, entry, problems) for name, entry in kind_data.items()}
    rows, seen = [], set[tuple[str, str]]()
    for number, entry in enumerate(data["rows"], 1):
        if not (
            isinstance(entry, list) and len(entry) == 3 and all(isinstance(x, str) for x in entry)
        ):
            problems.append(f"row {number}: expected [torch, paddle, kind], found {entry}.")
            continue
        torch, paddle, kind = entry
        where = f"row {number} ({torch})"
        if kind not in kinds:
            problems.append(f"{where}: kind {kind!r} is unknown; there are {', '.join(kinds)}.")
            continue
        if set(PLACEHOLDER.findall(torch)) != set(PLACEHOLDER.findall(paddle)):
            problems.append(f"{where}: {paddle!r} does not have the same {{placeholders}}.")
        if re.search(r"[{}]", PLACEHOLDER.sub("", torch + paddle)):
            problems.append(f"{where}: a placeholder is a name in braces, such as {{i}}.")
        for side, name in (("torch", torch), ("paddle", paddle)):
            if (side, name) in seen:
                problems.append(f"{where}: an earlier row describes the same {side} layer, {name}.")
            seen.add((side, name))
        rows.append(Row(number, torch, paddle, kinds[kind]))
    problems += [
        f"[ignore] {key!r} has no reason."
        for key, why in data["ignore"].items()
        if not (why and isinstance(why, str))
    ]
    for name, variant in data["variants"].items():
        size = variant.get("input_size") if isinstance(variant, dict) else None
        if not (
            isinstance(size, list) and len(size) == 2 and isinstance(variant.get("config"), dict)
        ):
            problems.append(f"variant {name}: expected input_size = [height, width] and config.")
    if problems:
        raise TableError(listing(f"{file} cannot be used:", problems))
    size = data.get("input_size")
    if size is not None and not _is_size(size):
        problems.append(f"input_size is {size!r}, expected [height, width] in pixels.")
        raise TableError(listing(f"{file} cannot be used:", problems))
    output = data.get("output")
    if output is not None and output not in kinds:
        raise TableError(f"{file}: output is {output!r}, expected a kind: {', '.join(kinds)}.")
    family = data["family"]
    return Table(
        family=family,
        file=file,
        title=data["title"],
        source=data["source"],
        rows=tuple(rows),
        ignore=data["ignore"],
        variants={
            name: _parse_variant(name, family, entry, shapes.get(name, {}))
            for name, entry in data["variants"].items()
        },
        input_size=None if size is None else (size[0], size[1]),
        output=None if output is None else kinds[output],
    )


def _is_size(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and all(type(side) is int and side > 0 for side in value)


def _parse_variant(
    name: str, family: str, entry: Mapping[str, Any], shapes: Mapping[str, list[int | str]]
) -> Variant:
    height, width = entry["input_size"]
    expanded = {key: tuple(shape) for p, shape in shapes.items() for key in _expand(p)}
    return Variant(
        name,
        family,
        entry["config"],
        (height, width),
        tuple(entry.get("published", ())),
        expanded,
        entry.get("preprocessing", {}),
        entry.get("smallest_image", Variant.smallest_image),
    )


def _read(file: Traversable) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _expand(pattern: str) -> Iterator[str]:
    """Expand one inclusive range: "a.{0..2}.b" -> a.0.b, a.1.b, a.2.b."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    for i in range(int(match[1]), int(match[2]) + 1):
        yield pattern[: match.start()] + str(i) + pattern[match.end() :]
