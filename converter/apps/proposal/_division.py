"""Find what one model keeps in one tensor and the other in several: q, k and v, for example."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod

from ...sides import Side
from ._align import skeleton
from ._rows import Unclaimed


@dataclass(frozen=True)
class Division:
    """Tensors of both models that hold as many values, in another number of tensors.

    Attributes:
        few: Those of the side that has fewer.
        many: Those of the other side.
    """

    few: tuple[Unclaimed, ...]
    many: tuple[Unclaimed, ...]

    @property
    def times(self) -> int:
        """How many tensors of the one side make one of the other."""
        return len(self.many) // len(self.few)


def divisions(tensors: Sequence[Unclaimed]) -> Iterator[Division]:
    """Find what is divided otherwise: first within layers alike, then in all that is left.

    Args:
        tensors: Those that no row claims.
    """
    groups = defaultdict[tuple[Side, str], list[Unclaimed]](list)
    for one in tensors:
        groups[one.side, skeleton(_holder(one))].append(one)
    torch = [found for (side, _name), found in groups.items() if side == "torch"]
    paddle = [found for (side, _name), found in groups.items() if side == "paddle"]
    for ours in [*torch]:
        theirs = next((found for found in paddle if _is_divided(ours, found)), None)
        if theirs is not None:
            torch.remove(ours)
            paddle.remove(theirs)
            yield _division(ours, theirs)
    left = [*chain(*torch)], [*chain(*paddle)]
    if _is_divided(*left):
        yield _division(*left)


def _holder(one: Unclaimed) -> str:
    """Name the layer whose code uses a tensor: that around a layer that holds no other."""
    return one.layer.rpartition(".")[0] if one.is_layer else one.layer


def _is_divided(ours: Sequence[Unclaimed], theirs: Sequence[Unclaimed]) -> bool:
    """Tell whether as many values are in several times as many tensors."""
    few, many = sorted((len(ours), len(theirs)))
    values = [sum(prod(one.shape) for one in found) for found in (ours, theirs)]
    return few < many and few > 0 and many % few == 0 and values[0] == values[1]


def _division(ours: Sequence[Unclaimed], theirs: Sequence[Unclaimed]) -> Division:
    few, many = sorted((tuple(ours), tuple(theirs)), key=len)
    return Division(few, many)
