"""What other names and [resize] say of every tensor of every variant, checked before it is used."""

import re
from collections.abc import Iterator

from ..errors import TableError, listing, nearest
from ..sides import SIDES, Side
from .functions import COMPUTED
from .moving import check_shapes
from .name_rows import Move, bind, form
from .names import Names
from .patterns import PLACEHOLDER, compile_pattern, join, overlap
from .resizing import check_resize
from .spelled import axis_on, side_patterns
from .table import Table, sizes_of

_TRIED = ("1", "2")  # numbers that stand for all where no shapes say which there are


def check_borders(table: Table) -> Iterator[str]:
    """Say what is wrong with the dialects, the targets and [resize] of a table.

    It looks at every key of every variant, so that a family of timm's takes a second.
    """
    for side in SIDES:
        for names in table.names_on(side).values():
            yield from wrong_names(table, names)
    yield from check_resize(table.resize, table.variants)


def require_names(table: Table, names: Names) -> None:
    """Check other names that are about to be used, once.

    Raises:
        TableError: They are wrong.
    """
    if not table.shipped:  # it was checked when it was read
        return
    whole = table.whole or table  # a variant at another size has a table of its own
    memo = ("require_names", names.section, names.name)
    if memo not in whole.memo:
        if problems := list(wrong_names(whole, names)):
            raise TableError(listing(f"{table.file} cannot be used:", problems))
        whole.memo[memo] = True


def wrong_names(table: Table, names: Names) -> Iterator[str]:
    """Say what is wrong with a dialect or a target."""
    for problem in dict.fromkeys(_wrong(table, names.side, names)):
        yield f"{names.section}.{names.name}: {problem}"


def _wrong(table: Table, side: Side, names: Names) -> Iterator[str]:
    checked: dict[frozenset[str], list[Move]] = {}  # that do more than rename
    every = dict[str, None]()
    for variant in table.variants.values():
        patterns = side_patterns(variant, table, side)
        keys = frozenset(patterns)
        if keys not in checked:
            every |= dict.fromkeys(patterns)
            found = list(names.problems(patterns))
            yield from found
            moves = () if found else names.moves(patterns, back=True)
            checked[keys] = [move for move in moves if not move.renames]
        try:
            sizes = sizes_of(table, variant)
            check_shapes(names, checked[keys], patterns, sizes, axis_on(table, side))
        except ValueError as error:
            yield f"{variant.name}: {error}."
    if table.variants and not every:  # `vitconvert shapes` is still to write what there is
        return
    if not table.variants:
        every |= dict.fromkeys(_samples(table, side, names))
        yield from names.problems(every)
    yield from names.idle(every)
    for fold, tensors in names.folds.items():
        for key in tensors:
            if key not in every:
                yield f"folds: {fold}: the table has no tensor {key}.{nearest(key, every)}"
    yield from _wrong_computed(table, names)
    for name in names.models:
        if name not in table.variants:
            hint = nearest(name, table.variants)
            yield f"models: the table has no variant {name!r}.{hint}"
    for name in names.apart:
        if not any(overlap(row.paddle, name) for row in table.rows):
            yield f"apart: {name}: no row describes a layer of that name."


def _wrong_computed(table: Table, names: Names) -> Iterator[str]:
    """Say what cannot be computed of any variant's tensors, as `names` spells them."""
    busy, seen = set[str](), set[object]()
    for variant in table.variants.values() if names.computed else ():
        try:
            patterns = side_patterns(variant, table, names.side, names)
        except ValueError:  # told already
            return
        for key, function, of in names.computed_for(patterns):
            busy.add(key)
            if (function, patterns[of]) in seen:
                continue
            seen.add((function, patterns[of]))
            try:
                COMPUTED[function](variant.resolve(patterns[of], 1))
            except ValueError as error:
                yield f"computed: {key} of {of}: {error}."
    for pattern, how in names.computed.items() if table.variants else ():
        if not any(compile_pattern(pattern).fullmatch(key) for key in busy):
            yield f"computed: {pattern}: no tensor of theirs is called {how.of}."


def _samples(table: Table, side: Side, names: Names) -> Iterator[str]:
    """Give keys that a table without variants may mean: with the numbers that rows name, too."""
    numbered: dict[str, list[str]] = {}
    for pattern in dict.fromkeys(one.pattern for row in names.rows for one in row.ours):
        if pattern and re.search("[0-9]", PLACEHOLDER.sub("", pattern)):
            numbered.setdefault(form(pattern), []).append(pattern)
    for row in table.rows:
        for rule in row.kind.tensors:
            if (leaf := rule.name_on(side)) is not None:
                pattern = join(row.name_on(side), leaf)
                yield from (PLACEHOLDER.sub(number, pattern) for number in _TRIED)
                words = pattern.split(".") if numbered and PLACEHOLDER.search(pattern) else []
                for count in range(1, len(words) + 1):
                    for one in numbered.get(form(".".join(words[:count])), ()):
                        bound = bind(pattern, one)
                        yield from (PLACEHOLDER.sub(number, bound) for number in _TRIED)
