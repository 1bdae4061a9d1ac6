"""Tensors that Paddle alone has: what each was compared with, and how a report says so."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import some

_NUMBER = re.compile("[0-9]+")
_LETTERS = "ijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Lone:
    """A tensor that Paddle alone has, by the table.

    Attributes:
        key: Its key in Paddle.
        layer: PyTorch layer that it is judged with; empty for the whole model.
        shape: Its shape in Paddle.
        reason: Why PyTorch has none, as the table says.
        reference: Key of PyTorch's computed tensor that it was compared with; empty if there is
            none that can be compared.
        note: How it differs, or why what PyTorch has cannot be compared; empty otherwise.
    """

    key: str
    layer: str
    shape: tuple[int, ...]
    reason: str
    reference: str = ""
    note: str = ""


def checked(lones: Sequence[Lone]) -> list[str]:
    """Say which tensors that Paddle alone has equal what PyTorch computes."""
    equal = [lone for lone in lones if lone.reference and not lone.note]
    if not equal:
        return []
    names = some([name for name, _members in _folded(equal)])
    verb = "equals" if len(equal) == 1 else "equal"
    return [f"checked: {_count(equal)} {verb} what PyTorch computes ({names})"]


def not_compared(lones: Sequence[Lone]) -> list[str]:
    """Say which tensors that Paddle alone has were not compared, and why PyTorch has none."""
    left = [lone for lone in lones if not lone.reference]
    groups = ([lone for lone in left if bool(lone.note) == unlike] for unlike in (False, True))
    lines = []
    for group, more in zip(groups, (", PyTorch has none", ""), strict=True):
        reasons = defaultdict[str, list[str]](list)
        for name, (one, *_others) in _folded(group):
            note = f" ({one.note})" if one.note else ""
            reasons[one.reason.rstrip(".") + note].append(f"{name} {list(one.shape)}")
        told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
        if told:
            lines.append(f"not compared: {_count(group)}{more}: {told}")
    return lines


def _count(lones: Sequence[Lone]) -> str:
    return f"{len(lones)} tensor{'s' * (len(lones) != 1)} that Paddle alone has"


def _folded(lones: Sequence[Lone]) -> Iterator[tuple[str, list[Lone]]]:
    """Write keys that differ in numbers alone as one, with {placeholders}, beside its members."""
    alike = defaultdict[Any, list[Lone]](list)
    for lone in lones:
        skeleton = _NUMBER.sub("#", lone.key)
        alike[skeleton, lone.shape, lone.reason, bool(lone.note)].append(lone)
    for members in alike.values():
        numbers = [_NUMBER.findall(one.key) for one in members]
        letters = iter(_LETTERS)
        words = [
            f"{{{next(letters)}}}" if len(set(column)) > 1 else column[0]
            for column in zip(*numbers, strict=True)
        ]
        texts = _NUMBER.split(members[0].key)
        name = "".join(text + word for text, word in zip(texts, [*words, ""], strict=True))
        yield name, members
