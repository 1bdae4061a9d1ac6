"""Where in a file the names of a model may begin: what stands before those that a table knows."""

from collections import Counter
from collections.abc import Iterable, Iterator

from ..checkpoints import Contents, Selection
from ..checkpoints.contents import MOST_WORDS, usual_prefix
from ..checkpoints.selection import WRAPPERS, without_words
from ..sides import Side
from .names import Names
from .spelled import droppable, side_patterns
from .table import Table
from .variant import Variant

# A file may be made to have as many prefixes as names; a model has a few.
_MOST = 32
_MOST_ENDS = 12  # of a name, which rows without shapes may claim
_MOST_NAMES = 2000  # in which such ends are looked for

Keys = tuple[str, ...]
Place = tuple[Keys, str]  # keys of dicts, and the beginning of the names in the last one


def places(contents: Contents, table: Table, sides: Iterable[Side], root: str) -> list[Selection]:
    """Find what stands before names of a model, those with most of its names first.

    Args:
        contents: Of the file.
        table: Of the model.
        sides: Whose names they may be.
        root: Beginning of the full names among which to look.
    """
    hits: Counter[Place] = Counter()
    find = _anchored if table.variants else _claimed
    for side in sides:
        hits.update(find(contents, table, side, root))
    found: dict[Selection, None] = {}
    inside = ((at, n) for at, n in hits.items() if not root or _path(at).startswith(root))
    for (wrapper, prefix), _count in Counter(dict(inside)).most_common(_MOST):
        names = [keys[-1] for keys in contents.entries if keys[:-1] == wrapper]
        under = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        more = usual_prefix(under)
        if all(word in WRAPPERS for word in more.split(".")[:-1]):
            found[Selection(wrapper, prefix + more)] = None
        if not table.variants:  # a layer of one's own may be called as a wrapper's
            found[Selection(wrapper, prefix)] = None
    return list(found)


def _path(place: Place) -> str:
    """Spell a place as the beginning of full names."""
    wrapper, prefix = place
    return "".join(f"{key}." for key in wrapper) + prefix


def _anchored(contents: Contents, table: Table, side: Side, root: str) -> Iterator[Place]:
    """Find names that end in one that only the whole model has."""
    tails = tuple(
        dict.fromkeys(
            name
            for names in (None, *table.names_on(side).values())
            for name in anchors(table, side, names)
        )
    )
    for keys in contents.entries:
        full = ".".join(keys)
        clean = without_words(full, WRAPPERS)
        if not (clean.endswith(tails) and full.startswith(root)):
            continue
        for end in tails:
            before = clean.removesuffix(end)
            if before != clean and before[-1:] in ("", "."):
                yield from _before(keys, full, end.count(".") + 1)


def _claimed(contents: Contents, table: Table, side: Side, root: str) -> Iterator[Place]:
    """Find names that end in one that a row claims, for a table that has no shapes."""
    step = max(1, len(contents.entries) // _MOST_NAMES)
    for number, keys in enumerate(contents.entries):
        full = ".".join(keys)
        if number % step or not full.startswith(root):
            continue
        words = full.split(".", _MOST_ENDS)
        for start in range(len(words)):
            end = ".".join(words[start:])
            clean = without_words(end, WRAPPERS)
            if _is_claimed(end, table, side) or (clean != end and _is_claimed(clean, table, side)):
                yield from _before(keys, full, len(clean.split(".")))


def _is_claimed(key: str, table: Table, side: Side) -> bool:
    """Tell whether a row claims a key, under our name of it or another."""
    if table.claims(key, side):
        return True
    moves = (names.move(key) for names in table.names_on(side).values())
    return any(
        move.row is not None and all(table.claims(own, side) for own in move.targets if own)
        for move in moves
    )


def _before(keys: Keys, full: str, count: int) -> Iterator[Place]:
    """Divide what stands before the last words of a name; words of wrappers do not count."""
    words = full.split(".")
    at = len(words)
    while count and at:
        at -= 1
        count -= words[at] not in WRAPPERS
    while at and words[at - 1] in WRAPPERS:
        at -= 1
    if at > MOST_WORDS:
        return
    before = "".join(f"{word}." for word in words[:at])
    wrapper: Keys = ()
    for key in keys[:-1]:
        if not before.startswith(".".join((*wrapper, key)) + "."):
            break
        wrapper = (*wrapper, key)
    yield wrapper, before[len("".join(f"{key}." for key in wrapper)) :]


def anchors(table: Table, side: Side, names: Names | None = None) -> tuple[str, ...]:
    """Give some names of every variant that end no other of its names: there it begins."""
    if names is not None:
        memo: tuple[str, ...] = ("anchors", side, names.name)
        if memo not in table.memo:
            spelled = (names.spellings(own) for own in anchors(table, side))
            table.memo[memo] = tuple(dict.fromkeys(name for found in spelled for name in found))
        other: tuple[str, ...] = table.memo[memo]
        return other
    memo = ("anchors", side)
    if memo not in table.memo:
        every = (_ends_none(v, table, side) for v in table.variants.values())
        table.memo[memo] = tuple(dict.fromkeys(name for names in every for name in names))
    found: tuple[str, ...] = table.memo[memo]
    return found


def _ends_none(variant: Variant, table: Table, side: Side) -> tuple[str, ...]:
    """Give the first, a middle and the last such name of a variant that every file of it has."""
    patterns = side_patterns(variant, table, side)
    ends = {key[at + 1 :] for key in patterns for at, letter in enumerate(key) if letter == "."}
    keys = [key for key, p in patterns.items() if key not in ends and "num_classes" not in p]
    keys = [key for key in keys if not droppable(key, table, side)] or keys
    return (keys[0], keys[len(keys) // 2], keys[-1]) if keys else ()
