"""Where tables come from: `mappings/`, and the folders of the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import stored
from ..errors import ModelError, TableError, listing, nearest, some

if TYPE_CHECKING:
    from .kinds import Kind
    from .table import Table
    from .variant import Variant

FOLDERS = "VITCONVERT_TABLES"  # environment: more folders of tables, separated as in PATH
SHIPPED = Path(import_module("vitconvert.mappings").__path__[0])


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


def titles() -> dict[str, str]:
    """Give the title of every family; reads no shapes and checks no rows.

    Raises:
        TableError: A table cannot be read.
    """
    files = table_files()
    return {family: str(read_toml(files[family]).get("title", family)) for family in sorted(files)}


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
    """Give a variant, also at another size as in "vit_tiny_patch16_224@384", and its table.

    Raises:
        ConversionError: The family cannot be resized, or not to that size.
        ModelError: No table has a variant of that name.
    """
    from .sized import parse_size, sized

    base, asked = parse_size(name)
    known = _variants_like(base)
    if base not in known:
        known = variants()
    if base not in known:
        raise ModelError(
            f"no variant is called {base!r}.{nearest(base, known)} There are: {', '.join(known)}."
        )
    table = load_table(known[base].family)
    return (table, known[base]) if asked is None else sized(table, known[base], name, asked)


def _variants_like(name: str) -> dict[str, Variant]:
    """Give the variants of the one family whose files spell a name so; none if several do."""
    files = table_files()
    heads = f"\n[variants.{name}]", f"\n[{name}]"
    texts = {
        family: "\n".join(
            one.read_text("utf-8", "replace")
            for one in (path, path.parent / "variants" / path.name)
            if one.is_file()
        )
        for family, path in files.items()
    }
    found = [family for family, text in texts.items() if any(head in text for head in heads)]
    return dict(load_table(found[0]).variants) if len(found) == 1 else {}


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
    beside = (path.parent / folder / path.name for folder in ("variants", "shapes"))
    more, shapes = ((file, _version(file)) for file in beside)
    return _read_table(path, _version(path), more, shapes)


_File = tuple[Path, tuple[int, int] | None]  # with `_version`


@cache
def _read_table(path: Path, _changed: object, more: _File, shapes: _File) -> Table:
    from .parsing import parse_table

    data = read_toml(path)
    if more[1]:
        data["variants"] = _merged(data.get("variants", {}), read_toml(more[0]), path, more[0])
    stored = read_toml(shapes[0]) if shapes[1] and "variants" in data else {}
    return parse_table(path, data, stored, read_kinds(), path.parent == SHIPPED)


def _merged(variants: Any, more: dict[str, Any], path: Path, file: Path) -> Any:
    """Add the variants of a file of their own to those of a table."""
    if not isinstance(variants, dict):  # refused with the rest of the table
        return variants
    if twice := sorted(variants.keys() & more.keys()):
        raise TableError(f"{path} and {file} both have {some(twice)}. Remove one of them.")
    return variants | more


def _version(path: Path) -> tuple[int, int] | None:
    """Tell one state of a file from the next; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_kinds(own: Path | None = None) -> dict[str, Kind]:
    """Read the kinds of layers that every table may name.

    Args:
        own: File with kinds of the user's own; they come first, and one may take the place of a
            shipped one.

    Raises:
        TableError: _kinds.toml or the file is malformed.
    """
    shipped = _read_kinds(SHIPPED / "_kinds.toml")
    if own is None:
        return shipped
    kinds = _parse_kinds(str(own), read_toml(own))
    return {**kinds, **{name: kind for name, kind in shipped.items() if name not in kinds}}


@cache
def _read_kinds(path: Path) -> dict[str, Kind]:
    return _parse_kinds(path.name, read_toml(path))


def _parse_kinds(file: str, data: dict[str, Any]) -> dict[str, Kind]:
    from .kinds import parse_kind

    problems = [
        f"{name} is {entry!r}, expected a kind: a table [{name}] that says what it is."
        for name, entry in data.items()
        if not isinstance(entry, dict)
    ]
    tables = {name: entry for name, entry in data.items() if isinstance(entry, dict)}
    if inner := tables.pop("kinds", None):
        problems += [f"[kinds.{name}]: expected [{name}] in a file of kinds." for name in inner]
    kinds = {name: parse_kind(name, entry, problems) for name, entry in tables.items()}
    if problems:
        raise TableError(listing(f"{file} cannot be used:", problems))
    return kinds


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of tables as it is.

    Raises:
        TableError: It cannot be read.
    """
    try:
        return stored.read_toml(path)
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not a text; expected a table in TOML.") from error
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {error}.") from error
