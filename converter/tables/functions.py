"""Functions that the other names of a table may call: what they compute is part of no checkpoint.

`COMPUTED` gives what a target stores and our model works out: from the shape of one of its tensors.
`FOLDS` changes how a model divides its numbers among tensors; the way back gives other tensors of
the same model.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..checkpoints import Tensor, floats, held
from ..checkpoints.arranging import joined, part, zeros
from .variant import Shape, ShapePattern

_LARGEST_WINDOW = 64  # tokens to a side: an index of 134 MB


def window_position_index(table: Shape) -> np.ndarray:
    """Number the relative positions of all pairs of tokens in a square window.

    Args:
        table: Shape [(2 w - 1)^2, heads] of the relative position bias, w tokens to a side.

    Returns:
        int64 [w^2, w^2]: the row of the table for every pair, as Swin counts them.

    Raises:
        ValueError: The table is not of a square window.
    """
    if len(table) != 2:
        raise ValueError(f"{list(table)} is not a table of relative positions, [positions, heads]")
    side = math.isqrt(table[0])
    if side * side != table[0] or side % 2 == 0:
        raise ValueError(f"{table[0]} relative positions are not those of a square window")
    window = (side + 1) // 2
    if window > _LARGEST_WINDOW:
        raise ValueError(f"a window of {window} tokens, expected at most {_LARGEST_WINDOW}")
    places = np.stack(np.meshgrid(*2 * [np.arange(window)], indexing="ij")).reshape(2, -1)
    apart = places[:, :, None] - places[:, None, :] + window - 1  # [2, w^2, w^2]
    return np.asarray(apart[0] * side + apart[1], np.int64)


COMPUTED: Mapping[str, Callable[[Shape], np.ndarray]] = {
    "window_position_index": window_position_index,
}


@dataclass(frozen=True)
class ClassPosition:
    """A class token that has a position: ours, where it has none, holds the sum of both.

    Attributes:
        token: Our name of the class token [1, 1, C].
        table: Our name of the position table [1, N, C]; theirs has a row for the token before it.
    """

    token: str
    table: str

    def their_shapes(self, shapes: dict[str, ShapePattern]) -> dict[str, ShapePattern]:
        """Give the shapes of their tensors, under our names."""
        if not self._is_without(shapes.get(self.token), shapes.get(self.table)):
            return shapes
        one, length, channels = shapes[self.table]
        assert isinstance(length, int)
        return {**shapes, self.table: (one, length + 1, channels)}

    def ours(
        self, tensors: dict[str, Tensor], expected: Mapping[str, ShapePattern]
    ) -> dict[str, Tensor]:
        """Add the position of the class token to it, if our model has none."""
        token, table = tensors.get(self.token), tensors.get(self.table)
        if token is None or table is None or len(table.shape) != 3:
            return tensors
        length = table.shape[1]
        if expected.get(self.table) != (1, length - 1, table.shape[2]) or length < 2:
            return tensors
        if token.shape != (1, 1, table.shape[2]):  # refused by its name with the rest
            return tensors
        position = part(table, 1, 0, 1)
        total = held(floats(token, "float64") + floats(position, "float64")).cast(token.dtype)
        return {**tensors, self.token: total, self.table: part(table, 1, 1, length - 1)}

    def theirs(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the class token a position of zero."""
        token, table = tensors.get(self.token), tensors.get(self.table)
        if token is None or table is None or not self._is_without(token.shape, table.shape):
            return tensors
        first = zeros((1, 1, table.shape[2]), table.dtype)
        return {**tensors, self.table: joined([first, table], 1)}

    @staticmethod
    def _is_without(token: ShapePattern | None, table: ShapePattern | None) -> bool:
        """Tell whether a position table has none for the class token: it is a whole square."""
        if token is None or table is None or len(table) != 3 or not isinstance(table[1], int):
            return False
        return math.isqrt(table[1]) ** 2 == table[1]


FOLDS: Mapping[str, type[ClassPosition]] = {"class_position": ClassPosition}
