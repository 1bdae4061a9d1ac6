"""Layouts as text: "out in -> in out", "(3 h d) in -> in (h 3 d)"; read both ways.

Each side lists the axes of a tensor. Parentheses hold the factors that one axis is made of, the
outermost first; both sides have the same names and numbers. An axis `1` has length 1, and either
side may have one where the other has none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .variant import Shape, ShapePattern

if TYPE_CHECKING:
    import numpy as np

    from ..checkpoints import Tensor

Group = tuple[str, ...]  # the names and numbers of one axis; empty for an axis 1
AnyShape = TypeVar("AnyShape", Shape, ShapePattern)

_LONGEST = 200  # characters
_MOST = 16  # axes of a side, and names of one; NumPy 1 has at most 32
_ARROW = "->"
_WORD = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[1-9][0-9]{0,8}|[()])")
_NONE: Mapping[str, int] = {}


@dataclass(frozen=True)
class Axes:
    """How the axes of a tensor on one side become those on the other.

    Attributes:
        left: Of each axis the names and numbers that it is made of.
        right: The same of the other side.
    """

    left: tuple[Group, ...]
    right: tuple[Group, ...]

    @classmethod
    def parse(cls, text: object) -> Axes:
        """Read a layout.

        Raises:
            ValueError: The text is not one; the message says what is wrong and what was expected.
        """
        if not isinstance(text, str):
            raise ValueError("is not a text; expected one such as 'out in -> in out'")
        if len(text) > _LONGEST:
            raise ValueError(f"has {len(text)} characters; the limit is {_LONGEST}")
        sides = text.split(_ARROW)
        if len(sides) != 2:
            raise ValueError(f"has {len(sides) - 1} arrows; expected one, as in 'out in -> in out'")
        left, right = map(_parse_side, sides)
        one, other = _flat(left), _flat(right)
        if missing := sorted({*one} ^ {*other}):
            where = "right" if missing[0] in one else "left"
            raise ValueError(
                f"has no {missing[0]} on its {where} side; expected the same names and numbers on "
                f"both"
            )
        if not one:
            raise ValueError("has no name; expected one such as 'c -> 1 c'")
        for word in one:
            if word.isdigit() and (word,) in left and (word,) in right:
                raise ValueError(f"has {word} as a whole axis; a number stands in a group")
        return cls(left, right)

    def __str__(self) -> str:
        """Spell it as `parse` reads it."""
        return f"{_spelled(self.left)} {_ARROW} {_spelled(self.right)}"

    def back(self) -> Axes:
        """Give the other direction."""
        return Axes(self.right, self.left)

    @property
    def permutes(self) -> bool:
        """Whether whole axes change places and nothing else."""
        groups = *self.left, *self.right
        return all(len(group) == 1 for group in groups)

    def first_moved(self) -> int | None:
        """Give the axis of the right side that the first name of the left side becomes.

        Tensors joined along the first axis of the left side are, on the right side, joined along
        that axis; None if the name lies within an axis there, so that they are woven.
        """
        first = next(group[0] for group in self.left if group)
        starts = [group[0] if group else None for group in self.right]
        return starts.index(first) if first in starts else None

    def shape(self, shape: AnyShape, sizes: Mapping[str, int] = _NONE) -> AnyShape:
        """Give the shape of the right side.

        Args:
            shape: Of the left side; an axis that is one name may be "num_classes".
            sizes: Lengths of names, where the shape does not give them.

        Raises:
            ValueError: The shape is not one of the left side, or does not give all lengths.
        """
        length = self._lengths(shape, sizes)
        made: Any = tuple(_product(group, length) for group in self.right)
        return cast(AnyShape, made)

    def apply(self, tensor: Tensor, sizes: Mapping[str, int] = _NONE) -> Tensor:
        """Give a tensor of the left side as the right side has it, as a view.

        Raises:
            ValueError: As of `shape`.
        """
        from ..checkpoints import arranged  # NumPy with it, which reading a table does not need

        length = self._lengths(tensor.shape, sizes)
        flat = _flat(self.left)
        groups = [tuple(map(flat.index, group)) for group in self.right]
        return arranged(tensor, [int(length[name]) for name in flat], groups)

    def apply_array(self, array: np.ndarray, sizes: Mapping[str, int] = _NONE) -> np.ndarray:
        """Give an array of the left side as the right side has it, as a view where it can be one.

        Raises:
            ValueError: As of `shape`.
        """
        length = self._lengths(array.shape, sizes)
        flat = _flat(self.left)
        order = [flat.index(name) for name in _flat(self.right)]
        split = array.reshape([int(length[name]) for name in flat])
        return split.transpose(order).reshape(self.shape(array.shape, sizes))

    def _lengths(
        self, shape: Sequence[int | str], sizes: Mapping[str, int]
    ) -> dict[str, int | str]:
        """Find the length of every name and number."""
        if len(shape) != len(self.left):
            axes = f"{len(shape)} ax{'is' if len(shape) == 1 else 'es'}"
            raise ValueError(f"{axes}, expected {len(self.left)}: {_spelled(self.left)}")
        found: dict[str, int | str] = {}
        for group, length in zip(self.left, shape, strict=True):
            found |= _factors(group, length, sizes)
        return found


def _parse_side(text: str) -> tuple[Group, ...]:
    """Read one side."""
    groups: list[Group] = []
    inside: list[str] | None = None
    at, text = 0, text.rstrip()
    while at < len(text):
        if (match := _WORD.match(text, at)) is None:
            raise ValueError(
                f"has {text[at:].split()[0]!r}; expected names, whole numbers from 1 on, and "
                f"parentheses"
            )
        at, word = match.end(), match[1]
        if word == "(":
            if inside is not None:
                raise ValueError("has a group within a group; expected names and numbers in it")
            inside = []
        elif word == ")":
            if not inside:
                raise ValueError("has a ) without names before it")
            groups.append(tuple(inside))
            inside = None
        elif at < len(text) and (text[at].isalnum() or text[at] == "_"):
            raise ValueError(f"has {text[match.start(1) :].split()[0]!r}, which is not a name")
        elif inside is None:
            groups.append(() if word == "1" else (word,))
        elif word == "1":
            raise ValueError("has a 1 in a group; it is an axis by itself")
        else:
            inside.append(word)
    if inside is not None:
        raise ValueError("has a ( without )")
    flat = _flat(groups)
    if max(len(groups), len(flat)) > _MOST:
        raise ValueError(f"has {max(len(groups), len(flat))} axes or names; the limit is {_MOST}")
    if twice := next((word for word in flat if flat.count(word) > 1), None):
        raise ValueError(f"has {twice} twice on one side; expected each once")
    return tuple(groups)


def _flat(groups: Sequence[Group]) -> list[str]:
    """List all names and numbers of a side, in order."""
    return [name for group in groups for name in group]


def _spelled(groups: Sequence[Group]) -> str:
    return " ".join(_spelled_group(group) for group in groups)


def _spelled_group(group: Group) -> str:
    if len(group) == 1:
        return group[0]
    return f"({' '.join(group)})" if group else "1"


def _factors(group: Group, length: int | str, sizes: Mapping[str, int]) -> dict[str, int | str]:
    """Find the length of every name and number of one axis.

    Raises:
        ValueError: They do not make up the length of the axis, or two of them are unknown.
    """
    if len(group) == 1 and not group[0].isdigit():
        return {group[0]: length}
    if isinstance(length, str):
        raise ValueError(f"{_spelled_group(group)} cannot be {length}; expected a name by itself")
    known = {name: int(name) for name in group if name.isdigit()}
    unknown = [name for name in group if name not in known]
    if len(unknown) > 1:
        known |= {name: sizes[name] for name in unknown if name in sizes}
        unknown = [name for name in unknown if name not in known]
    if len(unknown) > 1:
        few = "one" if len(unknown) == 2 else f"{len(unknown) - 1}"
        raise ValueError(
            f"{' and '.join(unknown)} are unknown in {_spelled_group(group)}, which is {length}; "
            f"add {few} of them to [sizes]"
        )
    product = math.prod(known.values())
    if unknown and product and length % product == 0:
        return {**known, unknown[0]: length // product}
    if not group and length != 1:
        raise ValueError(f"an axis of {length}, expected 1")
    if unknown or product != length:
        given = [f"{name} is {size}" for name, size in known.items() if not name.isdigit()]
        told = f", where {' and '.join(given)}" if given else ""
        raise ValueError(f"{_spelled_group(group)} does not make up {length}{told}")
    return {**known}


def _product(group: Group, lengths: Mapping[str, int | str]) -> int | str:
    """Give the length of one axis.

    Raises:
        ValueError: It is made of "num_classes" and other names.
    """
    if len(group) == 1:
        return lengths[group[0]]
    factors = [lengths[name] for name in group]
    if text := next((one for one in factors if isinstance(one, str)), None):
        raise ValueError(f"{_spelled_group(group)} cannot have {text}; expected a name by itself")
    return math.prod(int(one) for one in factors)
