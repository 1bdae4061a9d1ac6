"""Rows with {placeholders}: one for all instances of a repeated layer."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from ...tables.patterns import compile_pattern
from ._align import skeleton
from ._rows import Proposed

_NUMBER = re.compile(r"[0-9]+")
_NAMES = "ijklmnopq"

# The numbers in one name, or one of them in many.
Numbers = tuple[str, ...]


def compress(
    rows: Sequence[Proposed], torch: Collection[str], paddle: Collection[str]
) -> list[Proposed]:
    """Write rows that differ in numbers alone as one; the order is that of the first of each.

    A placeholder stands for the same number on both sides. A row of several stands for exactly
    those: nothing else in either model fits it.

    Args:
        rows: One for each layer.
        torch: Names of all layers and tensors of the PyTorch model.
        paddle: The same of the Paddle model.
    """
    alike = defaultdict[tuple[str, str, str, str, bool], list[Proposed]](list)
    for row in rows:
        note = skeleton(row.note)
        alike[skeleton(row.torch), skeleton(row.paddle), row.kind, note, row.runs].append(row)
    compressed = [
        one for members in alike.values() for one in _merge(members, (torch, paddle), frozenset())
    ]
    places = {id(row): place for place, row in enumerate(rows)}
    firsts = {row.torch: places[id(row)] for row in rows}
    compressed.sort(key=lambda pair: firsts[pair[0].torch])
    return [row for _first, row in compressed]


def compress_keys(keys: dict[str, str], names: Collection[str]) -> dict[str, str]:
    """Do the same with single keys, each with its reason."""
    rows = [Proposed(key, key, "", note=why) for key, why in keys.items()]
    return {row.torch: row.note for row in compress(rows, names, names)}


def _merge(
    rows: list[Proposed], names: tuple[Collection[str], Collection[str]], fixed: frozenset[int]
) -> list[tuple[Proposed, Proposed]]:
    """Merge rows with one skeleton; numbers of PyTorch's name at `fixed` places stay as they are.

    Returns:
        Of every row made the first that it stands for, and itself.
    """
    if len(rows) == 1:
        return [(rows[0], rows[0])]
    patterns = _pattern(rows)
    own = {row.torch for row in rows}, {row.paddle for row in rows}
    if patterns is not None and all(map(_fits_just, patterns, names, own)):
        return [(rows[0], replace(rows[0], torch=patterns[0], paddle=patterns[1]))]
    # Split by one number more; that which leaves the fewest rows.
    numbers = [(*_numbers(row.torch), *_numbers(row.paddle)) for row in rows]
    varying = [
        place
        for place in range(len(numbers[0]))
        if place not in fixed and len({found[place] for found in numbers}) > 1
    ]
    best: list[tuple[Proposed, Proposed]] = [(row, row) for row in rows]
    for place in varying:
        parts = defaultdict[str, list[Proposed]](list)
        for row, found in zip(rows, numbers, strict=True):
            parts[found[place]].append(row)
        made = [one for part in parts.values() for one in _merge(part, names, fixed | {place})]
        if len(made) < len(best):
            best = made
    return best


def _fits_just(pattern: str, names: Collection[str], own: set[str]) -> bool:
    """Tell whether a pattern fits these names of a model and no other."""
    return {name for name in names if compile_pattern(pattern).fullmatch(name)} == own


def _pattern(rows: list[Proposed]) -> tuple[str, str] | None:
    """Put placeholders where the numbers vary; None if they do not vary alike on both sides."""
    torch = [_numbers(row.torch) for row in rows]
    paddle = [_numbers(row.paddle) for row in rows]
    columns: dict[Numbers, str] = {}
    names = iter(_NAMES)
    allowed = _allowed(rows[0].torch)
    for place, column in enumerate(zip(*torch, strict=True)):
        if len(set(column)) > 1 and column not in columns:
            if not allowed[place]:
                return None
            columns[column] = next(names)
    others = list(zip(*paddle, strict=True))
    if any(len(set(column)) > 1 and column not in columns for column in others):
        return None
    if not set(columns) <= set(others):
        return None
    own = list(zip(*torch, strict=True))
    return _fill(rows[0].torch, own, columns), _fill(rows[0].paddle, others, columns)


def _fill(name: str, columns: Sequence[Numbers], letters: dict[Numbers, str]) -> str:
    at = iter(columns)

    def put(match: re.Match[str]) -> str:
        letter = letters.get(next(at))
        return match[0] if letter is None else f"{{{letter}}}"

    return _NUMBER.sub(put, name)


def _numbers(name: str) -> Numbers:
    return tuple(_NUMBER.findall(name))


def _allowed(name: str) -> list[bool]:
    """Tell which numbers may vary: conv1 and conv2 of one block stay two rows, in their order."""
    last = len(name) - len(name.rpartition(".")[2])
    whole = name[last:].isdigit()
    return [match.start() < last or whole for match in _NUMBER.finditer(name)]
