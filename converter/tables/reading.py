"""Where tables come from: those of `mappings/` and of the user's folders, read and checked."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..checked import checked, tables_in
from ..errors import ModelError, TableError, listing, nearest
from .kinds import Kind, parse_kind
from .table import PLACEHOLDER, Row, Table
from .variant import PREPROCESSING, ShapePattern, Variant

FOLDERS = "VITCONVERT_TABLES"  # environment: more folders of tables, separated as in PATH
SHIPPED = Path(str(files("vitconvert.mappings")))

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@contextmanager
def using(folder: str | Path | None) -> Iterator[None]:
    """Add the families of a folder while a call runs, for this process and those it starts.

    It does so through VITCONVERT_TABLES, which other threads see meanwhile, too.
    """
    if folder is None:
        yield
        return
    before = os.environ.get(FOLDERS)
    own = str(Path(folder).absolute())
    os.environ[FOLDERS] = os.pathsep.join(filter(None, (own, before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDERS]
        else:
            os.environ[FOLDERS] = before


def families() -> list[str]:
    """Name the families there are tables for, in alphabetical order.

    Raises:
        TableError: A folder of VITCONVERT_TABLES does not exist, or a family has two tables.
    """
    return sorted(table_files())


def table_files() -> dict[str, Path]:
    """Give the table of every family: those of this package, then those of VITCONVERT_TABLES.

    Raises:
        TableError: A folder does not exist, or a family has two tables.
    """
    own = [Path(name) for name in os.environ.get(FOLDERS, "").split(os.pathsep) if name]
    found: dict[str, Path] = {}
    for folder in dict.fromkeys([SHIPPED, *(path.absolute() for path in own)]):
        if not folder.is_dir():
            raise TableError(
                f"{folder} is not a folder; expected one with <family>.toml in it, in {FOLDERS} "
                f"or as tables=."
            )
        for path in sorted(folder.glob("[!_.]*.toml")):
            if path.stem in found:
                raise TableError(
                    f"the family {path.stem!r} has two tables: {found[path.stem]} and {path}. "
                    f"Rename or remove one of them."
                )
            found[path.stem] = path
    return found


def variants() -> dict[str, Variant]:
    """Give every variant of every family by name.

    Raises:
        TableError: A table is malformed, or two families have a variant of the same name.
    """
    found: dict[str, Variant] = {}
    for table in map(load_table, families()):
        for name, variant in table.variants.items():
            if name in found:
                raise TableError(
                    f"the families {found[name].family} and {table.family} both have a variant "
                    f"{name!r}. Rename one of them."
                )
            found[name] = variant
    return found


def find_variant(name: str) -> tuple[Table, Variant]:
    """Give a variant and the table of its family.

    Raises:
        ModelError: No table has a variant of that name.
    """
    known = variants()
    if name not in known:
        raise ModelError(
            f"no variant is called {name!r}.{nearest(name, known)} There are: {', '.join(known)}."
        )
    return load_table(known[name].family), known[name]


def load_table(family: str) -> Table:
    """Read and check the table of a family.

    Raises:
        TableError: The table is malformed, or lacks variants or their shapes.
    """
    path = table_files()[family]
    table = read_table(path)
    problems = []
    if table.family != family:
        problems.append(f"family is {table.family!r}, expected {family!r} as in the file's name.")
    if not (table.variants and table.title and table.source):
        problems.append("a family has a title, a source and [variants].")
    if without := [name for name, variant in table.variants.items() if not variant.shapes]:
        problems.append(
            f"no shapes of {', '.join(without)} in {path.parent / 'shapes' / path.name}. "
            f"Write them from the PyTorch model: vitconvert shapes {path}"
        )
    if problems:
        raise TableError(listing(f"{table.file} cannot be used:", problems))
    return table


def read_table(path: Path) -> Table:
    """Read and check a table: rows, and what else it wants to say.

    Raises:
        TableError: The file cannot be read, or the table is malformed; all problems are listed.
    """
    shapes = path.parent / "shapes" / path.name
    return _read_table(path, _version(path), shapes, _version(shapes))


@cache
def _read_table(path: Path, _changed: object, shapes: Path, has_shapes: object) -> Table:
    data = _read(path)
    return parse_table(path, data, _read(shapes) if has_shapes and "variants" in data else {})


def _version(path: Path) -> tuple[int, int] | None:
    """Tell one state of a file from the next; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@cache
def read_kinds() -> dict[str, Kind]:
    """Read the kinds of layers that every table may name.

    Raises:
        TableError: _kinds.toml is malformed.
    """
    problems: list[str] = []
    path = SHIPPED / "_kinds.toml"
    kinds = {name: parse_kind(name, entry, problems) for name, entry in _read(path).items()}
    if problems:
        raise TableError(listing(f"{path.name} cannot be used:", problems))
    return kinds


def parse_table(path: Path, data: Mapping[str, Any], shapes: Mapping[str, Any]) -> Table:
    """Check the parsed TOML of a table and make a Table of it.

    Args:
        path: Its file, whose name stands for what the table does not say.
        data: The table itself.
        shapes: Variant -> PyTorch key pattern -> shape, content of shapes/<family>.toml.

    Raises:
        TableError: All problems found, in one message.
    """
    problems: list[str] = []
    own = tables_in(data, "kinds", "", problems)
    kinds = read_kinds() | {name: parse_kind(name, kind, problems) for name, kind in own.items()}
    rows = data.get("rows")
    if not isinstance(rows, list):
        problems.append(f"rows is {rows!r}, expected a list.")
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
        shipped=path.parent == SHIPPED,
        output=None if output is None else kinds.get(output),
    )
    if problems or table is None:
        where = path.name if path.parent == SHIPPED else path
        raise TableError(listing(f"{where} cannot be used:", problems))
    return table


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
            told = f"kind {kind!r} is unknown.{nearest(kind, kinds)} There are: {', '.join(kinds)}."
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


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {error}.") from error
