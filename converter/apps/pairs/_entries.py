"""The pairs to compare, as a TOML file lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ... import stored
from ...checked import checked, expected
from ...errors import ModelError, ParityError, listing, nearest
from ...parity import Pair
from ...running.setup import check_factory
from ...sides import Side
from ...tables.reading import find_variant
from ...tables.variant import IN_PIXELS

_OWN = ("torch_model", "paddle_model", "table")
_NEEDED = expected("a text that is not empty", bool)


@dataclass(frozen=True)
class Entry:
    """One [[pair]] of the file; paths are relative to the folder that it lies in.

    Attributes:
        name: What the table calls the pair.
        torch: PyTorch checkpoint.
        paddle: Paddle checkpoint.
        variant: The model, if it is a shipped one.
        torch_model: Otherwise "package.module:function", which builds the PyTorch model.
        paddle_model: The same for Paddle.
        table: The table that pairs their layers.
        input_size: Height and width in pixels; that of the model if None.
    """

    name: str = field(metadata=_NEEDED)
    torch: str = field(metadata=_NEEDED)
    paddle: str = field(metadata=_NEEDED)
    variant: str = ""
    torch_model: str = ""
    paddle_model: str = ""
    table: str = ""
    input_size: tuple[int, int] | None = field(default=None, metadata=IN_PIXELS)

    @property
    def model(self) -> str | Pair:
        """What is compared, as `check_parity` takes it."""
        return self.variant or Pair(self.torch_model, self.paddle_model, self.table)

    def within(self, folder: Path) -> Entry:
        """Return the entry with its paths as seen from the current folder."""
        table = str(folder / self.table) if self.table else ""
        torch, paddle = str(folder / self.torch), str(folder / self.paddle)
        return replace(self, torch=torch, paddle=paddle, table=table)


def read_pairs(path: Path) -> list[Entry]:
    """Read and check a list of pairs.

    Raises:
        ParityError: The file cannot be read or is malformed; all problems are listed.
    """
    try:
        data = stored.read_toml(path)
    except (OSError, ValueError) as error:
        raise ParityError(f"{path}: cannot be read as a list of pairs: {error}.") from error
    problems = [
        f"{name} is unknown, expected [[pair]] alone.{nearest(name, ['pair'])}"
        for name in data
        if name != "pair"
    ]
    given = data.get("pair", [])
    if not given or not isinstance(given, list) or not all(isinstance(p, dict) for p in given):
        problems.append("expected one or more [[pair]], each with name, torch and paddle.")
        given = []
    entries = list(_entries(given, problems))
    names = (data["name"] for data in given if isinstance(data.get("name"), str))
    for name, count in Counter(names).items():
        if count > 1:
            problems.append(f"{count} pairs are called {name!r}, expected names that differ.")
    if problems:
        raise ParityError(listing(f"{path} cannot be used:", problems))
    return [entry.within(path.parent) for entry in entries]


def _entries(given: list[dict[str, Any]], problems: list[str]) -> Iterator[Entry]:
    for number, data in enumerate(given, 1):
        name = data.get("name")
        where = f"pair {number}{f' ({name})' if isinstance(name, str) and name else ''}: "
        if entry := checked(Entry, data, where, problems):
            problems += [f"{where}{problem}" for problem in _contradictions(entry)]
            yield entry


def _contradictions(entry: Entry) -> Iterator[str]:
    """Say what is missing, or there twice."""
    own = [name for name in _OWN if getattr(entry, name)]
    if entry.variant:
        if own:
            yield f"has both variant and {own[0]}, expected one or the other."
        try:
            find_variant(entry.variant)
        except ModelError as error:
            yield str(error)
    elif missing := [name for name in _OWN if name not in own]:
        yield (
            f"has no {' and no '.join(missing)}, expected a variant, see `vitconvert models`, or "
            f"{', '.join(_OWN)}."
        )
    factories: dict[str, Side] = {"torch_model": "torch", "paddle_model": "paddle"}
    for name, side in factories.items():
        if given := getattr(entry, name):
            try:
                check_factory(given, side)
            except ModelError as error:
                yield f"{name}: {error}"
