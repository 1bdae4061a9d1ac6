"""Put the reference's tensors in the place of a layer's own, and see how far they are apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from ..running.side import AnySide
from ._arrange import Way, nearest, ways
from ._distance import Finding, not_finite
from ._trace import Arrays, Tree
from ._values import arrays_in, is_size, named_parts, rebuilt, side_by_side


@dataclass(frozen=True)
class Exchanged:
    """What came of it.

    Attributes:
        value: As nested as our own, with the reference's tensors in our own shapes.
        findings: Of every tensor; of a wrong one with our own array, in the reference's shape.
        unlike: What is ours in another shape, or another number, than the reference's.
    """

    value: Any
    findings: Sequence[tuple[Finding, np.ndarray | None]]
    unlike: Sequence[str] = ()


class Exchange:
    """Exchanges the tensors of live values with those of one reference."""

    def __init__(self, side: AnySide, arrays: Arrays) -> None:
        self.side, self.arrays = side, arrays

    def __call__(
        self, own: Any, tree: Tree, limit: float, is_input: bool = False, whole: bool = False
    ) -> Exchanged:
        """Exchange what a layer is given, or gives.

        Args:
            own: Tensors of this side, and whatever else, nested.
            tree: What the reference has instead.
            limit: Relative difference that is allowed.
            is_input: Whether it is given: one tensor for two parameters may then count once.
            whole: Whether it is what the whole model gives.
        """
        mine = [(name, part) for name, part in named_parts(own) if self._is_tensor(part)]
        pairs = self._pairs(mine, arrays_in(tree), is_input, whole)
        if pairs is None:
            counted = self._counts(mine, arrays_in(tree))
            return Exchanged(own, [(Finding(np.inf, note=f"is {counted}"), None)], [counted])
        made, findings, unlike = dict[int, Any](), [], list[str]()
        for place, index in pairs:
            tensor = mine[place][1]
            array, truth = self._array(tensor), self.arrays[index]
            way, finding = _weigh(array, truth, limit, is_input, whole)
            is_wrong = finding.difference > limit
            if is_wrong:
                finding = replace(finding, at=index)
            if way is not None:
                if name := way.spell(array.shape, truth.shape):
                    shapes = f"{list(array.shape)}, the reference's is {list(truth.shape)}"
                    unlike.append(f"{shapes}: {name}")
                made[place] = self._put(tensor, array, way.back.bring(truth, array.shape))
                array = way.bring(array, truth.shape)
            else:
                made[place] = self._put(tensor, array, truth)
            findings.append((finding, array if is_wrong else None))
        return Exchanged(self._rebuilt(own, made), findings, unlike)

    def _pairs(
        self, mine: list[tuple[str, Any]], theirs: list[tuple[str, int]], given: bool, whole: bool
    ) -> list[tuple[int, int]] | None:
        """Pair our tensors, by their place, with the reference's; None if they are not as many."""
        places = [(name, place) for place, (name, _) in enumerate(mine)]
        pairs = side_by_side(places, theirs)
        if pairs is None and given:
            pairs = _once_each(mine, theirs)
        if pairs is None and not whole:
            large = [(n, i) for n, i in places if not self._is_size(mine[i][1])]
            arrays = self.arrays
            pairs = side_by_side(
                large,
                [(n, i) for n, i in theirs if not is_size(arrays.shape(i), arrays.dtype(i))],
            )
        return pairs

    def _is_size(self, tensor: Any) -> bool:
        array = self._array(tensor)
        return is_size(array.shape, array.dtype.name)

    def _is_tensor(self, part: Any) -> bool:
        return self.side.is_tensor(part) or isinstance(part, np.ndarray)

    def _array(self, tensor: Any) -> np.ndarray:
        return tensor if isinstance(tensor, np.ndarray) else self.side.array(tensor)

    def _put(self, tensor: Any, array: np.ndarray, truth: np.ndarray) -> Any:
        """Make what stands in for a tensor; integers keep their width."""
        if _both_count(array, truth):
            truth = truth.astype(array.dtype)
        if not truth.flags.c_contiguous:
            truth = np.ascontiguousarray(truth)
        return truth if isinstance(tensor, np.ndarray) else self.side.put(truth)

    def _rebuilt(self, own: Any, made: dict[int, Any]) -> Any:
        places = count()
        return rebuilt(
            own, lambda part: made.get(next(places), part) if self._is_tensor(part) else part
        )

    def _counts(self, mine: list[tuple[str, Any]], theirs: list[tuple[str, int]]) -> str:
        """Say how many tensors there are on both sides."""
        own = [list(part.shape) for _, part in mine]
        expected = [list(self.arrays.shape(index)) for _, index in theirs]
        return f"{_spell(own)}, the reference's is {_spell(expected)}"


def _once_each(
    mine: list[tuple[str, Any]], theirs: list[tuple[str, int]]
) -> list[tuple[int, int]] | None:
    """Pair different tensors: attention takes its input as query, key and value, or once."""
    own = list(dict.fromkeys(id(tensor) for _, tensor in mine))
    indices = list(dict.fromkeys(index for _, index in theirs))
    if len(own) != len(indices):
        return None
    known = dict(zip(own, indices, strict=True))
    return [(place, known[id(tensor)]) for place, (_, tensor) in enumerate(mine)]


def _weigh(
    array: np.ndarray, truth: np.ndarray, limit: float, is_input: bool, whole: bool
) -> tuple[Way | None, Finding]:
    """Find the way to the reference's shape, if there is one, and the difference then."""
    choices = ways(array.shape, truth.shape, whole)
    if not choices or (array.dtype != truth.dtype and not _both_count(array, truth)):
        given = f"{array.dtype} {list(array.shape)}"
        expected = f"{truth.dtype} {list(truth.shape)}"
        note = f"is {given}, the reference's is {expected}"
        return choices[0] if choices else None, Finding(np.inf, note=note)
    way, finding = nearest(truth, array, choices, limit)
    # A layer may be given a mask of -inf; what is not finite in what it gives is never right.
    note = not_finite(way.bring(array, truth.shape), truth if is_input else None)
    return way, replace(finding, note=note, difference=np.inf if note else finding.difference)


def _both_count(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell integers, of whatever width."""
    return one.dtype.kind in "iu" and other.dtype.kind in "iu"


def _spell(shapes: list[list[int]]) -> str:
    counted = f"{len(shapes)} tensor{'s' * (len(shapes) != 1)}"
    return f"{counted} {', '.join(map(str, shapes))}".rstrip()
