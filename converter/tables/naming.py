"""[dialects] and [targets] of a table -> Names, checked; all problems are listed."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..checked import checked, shown, tables_in
from ..errors import nearest
from ..sides import Side
from .axes import Axes
from .name_rows import NameRow, Part, holes, is_pattern
from .names import Names
from .patterns import PLACEHOLDER

# Of `functions`, which needs NumPy: what can be computed; what a fold is about, by our names.
COMPUTED = ("window_position_index",)
FOLDS = {"class_position": ("token", "table")}
_MOST_PARTS = 64
_CELL = 'a beginning of names, such as "encoder.layer.{i}", or a list of parts'


def parse_names(
    data: Mapping[str, Any], section: str, side: Side, problems: list[str]
) -> dict[str, Names]:
    """Read one section.

    Args:
        data: The table.
        section: "dialects" or "targets".
        side: Whose other names these are.
        problems: Gets whatever is wrong.
    """
    found: dict[str, Names] = {}
    for name, entry in tables_in(data, section, "", problems).items():
        where = f"{section}.{shown(name, str)}: "
        words = dict(entry)
        rows = tuple(_rows(words.pop("rows", [] if "kinds" in words else None), where, problems))
        names = checked(Names, words, where, problems, name=name, side=side, rows=rows, leaves=())
        if names is None:
            continue
        if names.like and names.like not in found:
            above = ", ".join(found)
            problems.append(f"{where}like is {names.like!r}, expected one above it: {above}.")
        elif names.like:
            names = names.following(found[names.like])
        problems += [f"{where}{told}" for told in _wrong_entries(names)]
        found[name] = names
    return found


def _wrong_entries(names: Names) -> Iterator[str]:
    """Say what is wrong with ignore, computed, folds, kinds and apart."""
    if names.kinds and names.side != "paddle":
        yield "kinds: only a target may have them."
    patterns = [*names.ignore, *names.ignore_without_head, *names.computed, *names.apart]
    for pattern in (*patterns, *(how.of for how in names.computed.values())):
        if not pattern or set("{}") & set(PLACEHOLDER.sub("", pattern)):
            yield f"{pattern!r}: a placeholder is a name in braces, such as {{i}}."
    yield from _wrong_beginnings(names)
    for pattern, how in names.computed.items():
        if how.function not in COMPUTED:
            there = f" There are: {', '.join(COMPUTED)}."
            hint = nearest(how.function, COMPUTED) or there
            yield f"computed: {pattern}: no function is called {how.function!r}.{hint}"
        if set(PLACEHOLDER.findall(pattern)) != set(PLACEHOLDER.findall(how.of)):
            yield f"computed: {pattern}: does not have the {{placeholders}} of {how.of}."
    yield from _wrong_models(names)
    for name, tensors in names.folds.items():
        if name not in FOLDS:
            hint = nearest(name, FOLDS) or f" There are: {', '.join(FOLDS)}."
            yield f"folds: no function is called {name!r}.{hint}"
        elif len(tensors) != len(FOLDS[name]):
            wanted = ", ".join(FOLDS[name])
            yield f"folds: {name} is about {list(tensors)}, expected our names of: {wanted}."


def _wrong_beginnings(names: Names) -> Iterator[str]:
    """Say what cannot stand in the place of a beginning."""
    for beginning, others in names.instead.items():
        if not any(
            one.pattern is not None and one.pattern.startswith(beginning)
            for row in names.rows
            for one in row.theirs
        ):
            yield f"instead: no row's names begin with {beginning!r}."
        if not others:
            yield f"instead: {beginning!r} is [], expected what files have in its place."
        for other in others:
            if set("{}") & set(PLACEHOLDER.sub("", other)):
                yield f"instead: {other!r}: a placeholder is a name in braces, such as {{i}}."
    seen: dict[str, tuple[Part, ...]] = {}
    for row in names.every_row:
        for one in row.theirs:
            if one.pattern is not None and seen.setdefault(one.pattern, row.ours) != row.ours:
                yield f"instead: two rows speak of {one.pattern}, row {row.number} is one of them."


def _wrong_models(names: Names) -> Iterator[str]:
    """Say what is wrong with models and how they are called."""
    if names.models and names.side == "torch":
        yield "models: are for a target; a dialect has none."
    if names.models and names.folds:
        yield "models: a target that folds tensors cannot have any: a model has them as they are."
    if not names.num_classes.isidentifier():
        yield f"num_classes is {shown(names.num_classes)}, expected the name of an argument."
    for variant, function in names.models.items():
        module, _, own = function.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *own.split(".")]):
            yield f"models: {variant}: {shown(function)}, expected package.module:function."


def _rows(entries: Any, where: str, problems: list[str]) -> Iterator[NameRow]:
    """Read the rows; those that cannot be are added to the problems."""
    if not isinstance(entries, list):
        there = "is missing" if entries is None else f"is {shown(entries)}"
        problems.append(f"{where}rows {there}, expected a list of [theirs, ours].")
        return
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        at = f"{where}row {number}"
        if not isinstance(entry, list) or len(entry) not in (2, 3):
            problems.append(
                f"{at}: expected [theirs, ours] or [theirs, ours, axes], found {shown(entry)}."
            )
            continue
        theirs, ours = (_cell(one, f"{at}: ", problems) for one in entry[:2])
        if not (theirs and ours):
            continue
        told = list(_contradictions(theirs, ours, seen, number))
        axes, text = None, entry[2] if len(entry) == 3 else None
        try:
            axes = None if text is None else Axes.parse(text)
        except ValueError as error:
            told.append(f"axes are {shown(text)}: {error}.")
        problems += [f"{at}: {one}" for one in told]
        if not told:
            yield NameRow(number, theirs, ours, axes)


def _cell(entry: Any, where: str, problems: list[str]) -> tuple[Part, ...]:
    """Read a cell: a text, or a list of texts, 0 and [text, share]; empty with a problem."""
    parts = [_part(one) for one in (entry if isinstance(entry, list) else [entry])]
    if None in parts or not 0 < len(parts) <= _MOST_PARTS:
        problems.append(f"{where}a cell is {shown(entry)}, expected {_CELL}.")
        return ()
    return tuple(one for one in parts if one is not None)


def _part(entry: Any) -> Part | None:
    """Read a part of a cell; None if it cannot be one."""
    if isinstance(entry, list):
        if len(entry) != 2 or type(entry[1]) is not int or not 0 < entry[1] <= _MOST_PARTS:
            return None
        first = _part(entry[0]) if not isinstance(entry[0], list) else None
        return first and Part(first.pattern, entry[1])
    if type(entry) is int and entry == 0:
        return Part(None)
    return Part(entry) if isinstance(entry, str) and is_pattern(entry) else None


def _contradictions(
    theirs: tuple[Part, ...], ours: tuple[Part, ...], seen: dict[str, int], number: int
) -> Iterator[str]:
    """Say what two cells cannot be."""
    own = [one.pattern for one in theirs if one.pattern is not None]
    made = [one.pattern for one in ours if one.pattern is not None]
    if not made:
        yield "ours is zero; leave such a tensor out with ignore."
        return
    if not own and len(ours) > 1:
        yield "theirs is zero: expected ours to be one tensor."
    for cell in (own, made):
        if len(set(cell)) < len(cell):
            yield f"{', '.join(cell)}: a part is there twice; expected each once."
        if len({frozenset(holes(one)) for one in cell}) > 1:
            yield f"{', '.join(cell)}: do not have the same {{placeholders}}."
    if own and holes(own[0]) != holes(made[0]):
        yield f"{made[0]!r} does not have the {{placeholders}} of {own[0]!r}."
    for pattern in own:
        if pattern in seen:
            yield f"row {seen[pattern]} speaks of {pattern} as well."
        seen.setdefault(pattern, number)
