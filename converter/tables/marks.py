"""Names of tensors that mean the same in every model: counters, and marks of unusual weights."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from importlib import import_module
from pathlib import Path

from ..checked import checked, expected
from ..errors import TableError, listing

_FILE = Path(import_module("vitconvert.mappings").__path__[0]) / "_names.toml"
_TEXTS = expected("a list of texts", lambda names: bool(names) and all(names))


@dataclass(frozen=True)
class Mark:
    """Names that show that a file is not the plain weights of a model.

    Attributes:
        names: Patterns, with * for anything.
        what: Such a file holds this.
        step: What to type.
    """

    names: tuple[str, ...] = field(metadata=_TEXTS)
    what: str
    step: str


def counter(key: str) -> str | None:
    """Give the reason why a tensor carries no weights, by the last word of its name."""
    return _read()[0].get(key.rpartition(".")[2])


def marked(names: Iterable[str]) -> str:
    """Say what names of unknown tensors show, and what to do; "" if nothing."""
    known = list(names)
    told = ""
    most = 0
    for mark, pattern in _read()[1]:
        count = sum(1 for name in known if pattern.fullmatch(name))
        if count > most:
            most, told = count, f"It holds {mark.what}: {mark.step}."
    return told


@cache
def _read() -> tuple[dict[str, str], list[tuple[Mark, re.Pattern[str]]]]:
    data, problems = tomllib.loads(_FILE.read_text(encoding="utf-8")), list[str]()
    found = [checked(Mark, one, "marks: ", problems) for one in data.get("marks", [])]
    if problems:
        raise TableError(listing(f"{_FILE.name} cannot be used:", problems))
    marks = [one for one in found if one]
    patterns = ("|".join(map(translate, mark.names)) for mark in marks)
    return data.get("counters", {}), list(zip(marks, map(re.compile, patterns), strict=True))
