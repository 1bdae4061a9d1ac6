"""Put two lists of names side by side: in order where there is one, else by likeness."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from itertools import permutations

_MOST_PERMUTED = 4  # names of which every order is thought of
_CLEAR = 0.15  # by how much names must be closer than in the next best order
_PARTS = re.compile(r"[0-9]+|[A-Za-z][a-z]*")


def align(
    torch: Sequence[str],
    paddle: Sequence[str],
    fixed: Mapping[str, str],
    alike: Callable[[str, str], float | None],
) -> list[tuple[str, str]]:
    """Pair as much as possible of two sequences in order, and of that what is most alike.

    Args:
        torch: One sequence.
        paddle: The other.
        fixed: Pairs that stay.
        alike: Gives None for what cannot be paired, else how alike it is, 0..4.
    """
    pair = 4.0 * (len(torch) + len(paddle)) + 1  # outweighs all likeness together
    best = [[0.0] * (len(paddle) + 1) for _ in range(len(torch) + 1)]
    taken = set(fixed.values())

    def score_of(one: str, other: str) -> float | None:
        if one in fixed or other in taken:
            return 4.0 if fixed.get(one) == other else None
        return alike(one, other)

    likeness = [[score_of(one, other) for other in paddle] for one in torch]
    for i in reversed(range(len(torch))):
        row, below, scores = best[i], best[i + 1], likeness[i]
        for j in reversed(range(len(paddle))):
            score = scores[j]
            skip = max(below[j], row[j + 1])
            row[j] = skip if score is None else max(skip, below[j + 1] + pair + score)
    pairs, i, j = list[tuple[str, str]](), 0, 0
    while i < len(torch) and j < len(paddle):
        score = likeness[i][j]
        if score is not None and best[i][j] == best[i + 1][j + 1] + pair + score:
            pairs.append((torch[i], paddle[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


@cache
def similarity(one: str, other: str) -> float:
    """Tell how alike two names are, 0..1: half their words, half the spelling of the last part."""
    words = [_PARTS.findall(name) for name in (one, other)]
    lower = [{word.lower() for word in found} for found in words]
    shared = 2 * len(lower[0] & lower[1]) / (len(lower[0]) + len(lower[1]) or 1)
    last = [name.rpartition(".")[2] for name in (one, other)]
    return (shared + SequenceMatcher(None, last[0], last[1]).ratio()) / 2


def closest(torch: Sequence[str], paddle: Sequence[str]) -> list[tuple[str, str]]:
    """Pair names regardless of order, the most alike first; what is too many stays away."""
    found = sorted(
        (-similarity(one, other), abs(i - j), i, j)
        for i, one in enumerate(torch)
        for j, other in enumerate(paddle)
    )
    pairs, taken = dict[int, int](), set[int]()
    for _likeness, _distance, i, j in found:
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return [(torch[i], paddle[pairs[i]]) for i in sorted(pairs)]


def rank(torch: Sequence[str], paddle: Sequence[str]) -> tuple[tuple[tuple[int, ...], ...], str]:
    """Order one list so that it goes with the other, in every way that may be meant.

    Returns:
        Orders of `paddle`, the most likely first, and why it is uncertain; empty if the names are
        clear and agree with the order that they came in.
    """
    as_given = tuple(range(len(torch)))
    if len(torch) <= _MOST_PERMUTED:
        orders = list(permutations(as_given))
    else:
        places = {name: place for place, name in enumerate(paddle)}
        by_name = tuple(places[other] for _, other in closest(torch, paddle))
        orders = list(dict.fromkeys([as_given, by_name]))
    likeness = {
        order: sum(similarity(one, paddle[i]) for one, i in zip(torch, order, strict=True))
        for order in orders
    }
    ranked = sorted(orders, key=lambda order: (-round(likeness[order], 6), order))
    best, *others = ranked
    if others and likeness[best] - likeness[others[0]] < _CLEAR:
        ranked.sort(key=lambda order: order != as_given)
        return tuple(ranked), "neither order nor names decide"
    return tuple(ranked), "" if best == as_given else "names and order of execution disagree"


def skeleton(name: str) -> str:
    """Put # for every number in a name."""
    return re.sub(r"[0-9]+", "#", name)


def listed(names: Iterable[str]) -> str:
    """Join names: a, b and c."""
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last
