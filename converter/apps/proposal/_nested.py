"""Find layers that could be exchanged within a pair of blocks, as neither order nor nesting agree.

The last convolution of a residual block and that of its shortcut often have the same shapes. Where
one model wraps both and the other only one of them, what stands where does not say which is which.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import permutations

from ._align import listed, skeleton
from ._rows import Group
from ._tree import Tree

_MOST = 4  # layers of which every order is thought of

_Pairs = Sequence[tuple[str, str]]


def exchangeable(
    torch: Tree,
    paddle: Tree,
    pairs: Mapping[str, str],
    scopes: Mapping[str, str],
    groups: Sequence[Group],
) -> Iterator[Group]:
    """Give groups of layers with the same tensors that stand otherwise in one model.

    Args:
        torch: The PyTorch model.
        paddle: The Paddle model.
        pairs: Layers with tensors.
        scopes: Pairs of layers that hold such layers, and of the whole models.
        groups: Those that are known; what directly follows one of theirs follows it.
    """
    known = {name for group in groups for name in group.torch}
    for members in _by_block(torch, paddle, pairs, scopes):
        left = [pair for pair in members if pair[0] not in known]
        fed = all(known.intersection(torch.feeders.get(one, ())) for one, _other in left)
        if not 2 <= len(left) <= _MOST or fed or not _stand_otherwise(torch, paddle, left):
            continue
        ones, others = (tuple(names) for names in zip(*left, strict=True))
        key: Hashable = ("nested", tuple(map(skeleton, ones)), tuple(map(skeleton, others)))
        note = (
            f"{listed(ones)} have the same shapes, and so have {listed(others)}, which are nested "
            f"otherwise or run in another order"
        )
        as_given = tuple(range(len(ones)))
        orders = sorted(permutations(as_given), key=lambda order: _moved(order, as_given))
        yield Group(key, ones, others, tuple(orders), note, in_rows=False)
        known.update(ones)


def _by_block(
    torch: Tree, paddle: Tree, pairs: Mapping[str, str], scopes: Mapping[str, str]
) -> Iterator[_Pairs]:
    """Give layers with the same tensors, by the innermost pair of blocks that holds several."""
    found = defaultdict[tuple[str, Hashable], list[tuple[str, str]]](list)
    ran = [one for one, other in pairs.items() if torch.runs(one) and paddle.runs(other)]
    depths = dict[str, int]()
    for one in sorted(ran, key=lambda name: torch.units[name].entered or 0):
        callers, others = [*torch.callers(one)], {*paddle.callers(pairs[one])}
        for depth, holder in enumerate(reversed(callers)):
            if scopes.get(holder) in others:
                depths[holder] = depth
                found[holder, torch.tokens[one]].append((one, pairs[one]))
    taken = set[str]()
    for (_holder, _token), members in sorted(found.items(), key=lambda item: -depths[item[0][0]]):
        left = [pair for pair in members if pair[0] not in taken]
        if len(left) > 1:
            taken.update(one for one, _other in left)
            yield left


def _stand_otherwise(torch: Tree, paddle: Tree, members: _Pairs) -> bool:
    """Tell whether some are nested deeper on one side alone, or run in another order."""
    deeper = {len([*torch.callers(one)]) - len([*paddle.callers(two)]) for one, two in members}
    places = [paddle.units[other].entered or 0 for _one, other in members]
    return len(deeper) > 1 or places != sorted(places)


def _moved(order: Sequence[int], as_given: Sequence[int]) -> int:
    return sum(one != other for one, other in zip(order, as_given, strict=True))
