"""Mapping tables: TOML -> Table, checked.

A table pairs the layers of two implementations. It is data: reading one imports no framework.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from ..sides import Side
from .kinds import Kind, TensorRule
from .variant import Variant

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class Row:
    """One line of a table: where a layer lives in each model, and what it is."""

    number: int
    torch: str
    paddle: str
    kind: Kind

    @cached_property
    def _patterns(self) -> dict[Side, re.Pattern[str]]:
        return {"torch": compile_pattern(self.torch), "paddle": compile_pattern(self.paddle)}

    def name_on(self, side: Side) -> str:
        """Give the pattern of one side."""
        return self.torch if side == "torch" else self.paddle

    def pair(self, side: Side, layer: str) -> tuple[str, str] | None:
        """Give the (torch, paddle) names of a layer if this row describes it."""
        match = self._patterns[side].fullmatch(layer)
        if match is None:
            return None
        return self.torch.format(**match.groupdict()), self.paddle.format(**match.groupdict())


@dataclass(frozen=True)
class Claim:
    """A row's word on one tensor: key `source` becomes `target`, None when dropped."""

    row: Row
    rule: TensorRule
    source: str
    target: str | None


@dataclass(frozen=True)
class Table:
    """The rows and variants of one family."""

    family: str
    file: str
    title: str
    source: str
    rows: tuple[Row, ...]
    ignore: Mapping[str, str]
    variants: Mapping[str, Variant]
    input_size: tuple[int, int] | None = None  # pixels, of a table without variants
    output: Kind | None = None  # of the whole model, where its own code needs a limit

    @cached_property
    def _claimants(self) -> dict[str, list[tuple[re.Pattern[str], Row, TensorRule]]]:
        """Rows and rules by the skeleton of the keys they can claim, so that a look-up is short."""
        claimants: dict[str, list[tuple[re.Pattern[str], Row, TensorRule]]] = {}
        for row in self.rows:
            for rule in row.kind.tensors:
                key = _join(row.torch, rule.leaf)
                claimants.setdefault(_skeleton(key), []).append((compile_pattern(key), row, rule))
        return claimants

    def claims(self, key: str) -> list[Claim]:
        """List every row that claims a PyTorch key; a sound table gives one, or none."""
        found = []
        for pattern, row, rule in self._claimants.get(_skeleton(key), []):
            if match := pattern.fullmatch(key):
                target = None
                if rule.paddle is not None:
                    target = _join(row.paddle, rule.paddle).format(**match.groupdict())
                found.append(Claim(row, rule, key, target))
        return found

    def ignored(self, key: str) -> str | None:
        """Give the reason why a key is left out, or None if it is not."""
        reasons = (
            why for pattern, why in self.ignore.items() if compile_pattern(pattern).fullmatch(key)
        )
        return next(reasons, None)

    def parameters(self, variant: Variant) -> int:
        """Count the trained numbers of a variant with its published number of classes."""
        return sum(
            math.prod(variant.resolve(shape, variant.num_classes))
            for key, shape in variant.shapes.items()
            for claim in self.claims(key)
            if claim.target is not None and not claim.rule.buffer
        )

    def layers(self, side: Side, names: Iterable[str]) -> dict[str, tuple[str, str, Kind]]:
        """Pair the layers of one live model: own name -> (torch name, paddle name, kind)."""
        paired: dict[str, tuple[str, str, Kind]] = {}
        for name in names:
            for row in self.rows:
                if (pair := row.pair(side, name)) is not None:
                    paired[name] = (*pair, row.kind)
        return paired


def _join(layer: str, leaf: str) -> str:
    return f"{layer}.{leaf}" if leaf else layer


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn a key pattern into a regular expression for the whole key; {x} is one integer."""
    names, parts = set[str](), []
    for i, part in enumerate(PLACEHOLDER.split(pattern)):
        if i % 2 == 0:
            parts.append(re.escape(part))
        elif part in names:
            parts.append(f"(?P={part})")
        else:
            names.add(part)
            parts.append(f"(?P<{part}>[0-9]+)")
    return re.compile("".join(parts))


def _skeleton(key: str) -> str:
    return re.sub(r"[0-9]+", "#", PLACEHOLDER.sub("#", key))
