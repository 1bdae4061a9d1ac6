"""Mapping tables: TOML -> Table, checked.

A table pairs the layers of two implementations. It is data: reading one imports no framework.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from ..checked import expected
from ..sides import SIDES, Side
from .kinds import Kind, TensorRule
from .marks import counter
from .names import Names
from .patterns import PLACEHOLDER, Patterns, compile_pattern, fill, join, overlap, skeleton
from .variant import IN_PIXELS, Variant

_ORIGIN = expected(
    "'timm' or 'package.module:function'",
    lambda text: text in ("", "timm") or all(text.partition(":")[::2]),
)
_REASONS = expected("key patterns, each with its reason", lambda why: all(why.values()))

_SIZES = expected(
    "names, each with a whole number from 1 on", lambda sizes: all(n > 0 for n in sizes.values())
)


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
        return fill(self.torch, match.groupdict()), fill(self.paddle, match.groupdict())


@dataclass(frozen=True)
class Claim:
    """A row's word on one tensor.

    Attributes:
        row: The row.
        rule: What its kind says of the tensor.
        layer: The layer in PyTorch.
        torch: The tensor's key in PyTorch.
        paddle: Its key in Paddle; None when dropped.
    """

    row: Row
    rule: TensorRule
    layer: str
    torch: str
    paddle: str | None

    def name_on(self, side: Side) -> str | None:
        """Give the key on one side; None if that side has none."""
        return self.torch if side == "torch" else self.paddle


@dataclass(frozen=True)
class Table:
    """The rows and variants of one family.

    Attributes:
        rows: One for each layer.
        variants: By name; a table of a user's own pair may have none.
        path: Where it was read from.
        shipped: Whether it is part of the package.
        family: Name of the family, as that of the file.
        title: Name for people.
        source: Whose names the PyTorch column holds.
        ignore: PyTorch key pattern -> why such a tensor is left out.
        paddle_only: Paddle key pattern -> why PyTorch has no such tensor; it keeps the model's
            own value. It may also name a tensor that PyTorch's layer can do without, such as the
            bias of a layer that a row pairs.
        fixed_size: Why a model cannot be deployed for images of any size; empty if it can.
        export_needs: First version of Paddle that runs the exported models; any if 0.
        torch: Where the PyTorch models are: "timm" for timm's of the variants' names,
            "package.module:function", or empty for models_torch/<family>.py.
        input_size: Height and width in pixels that a table without variants was made for.
        output: Kind of the whole model, where its own code needs a limit.
        dialects: Other names of PyTorch's side.
        targets: Other names of Paddle's side.
        resize: Pattern of a PyTorch key -> functions that fit it to another image size.
        sizes: Name in the axes of a kind -> its length, where neither the shapes nor the config of
            a variant give it.
        whole: The table with all variants, where this is a copy with one of them.
    """

    rows: tuple[Row, ...]
    variants: Mapping[str, Variant]
    path: Path
    shipped: bool
    family: str
    title: str = ""
    source: str = ""
    ignore: Mapping[str, str] = field(default_factory=dict, metadata=_REASONS)
    paddle_only: Mapping[str, str] = field(default_factory=dict, metadata=_REASONS)
    fixed_size: str = ""
    export_needs: int = 0
    torch: str = field(default="", metadata=_ORIGIN)
    input_size: tuple[int, int] | None = field(default=None, metadata=IN_PIXELS)
    output: Kind | None = None
    dialects: Mapping[str, Names] = field(default_factory=dict)
    targets: Mapping[str, Names] = field(default_factory=dict)
    resize: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict, metadata=_SIZES)
    whole: "Table | None" = None

    @property
    def file(self) -> str:
        """Name the table in a message: by its file alone if it is part of the package."""
        return self.path.name if self.shipped else str(self.path)

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What other modules worked out of this table, each under a key that begins with its name.

        A copy with other rows or variants begins with none.
        """
        return {}

    @cached_property
    def _claimants(self) -> dict[Side, "Patterns[tuple[Row, TensorRule]]"]:
        """Rows and rules by the patterns of the keys they claim."""
        claimants: dict[Side, Patterns[tuple[Row, TensorRule]]] = {s: Patterns() for s in SIDES}
        for side, pattern, row, rule in self._patterns():
            claimants[side].add(pattern, (row, rule))
        return claimants

    @cached_property
    def _layers(self) -> dict[Side, "Patterns[Row]"]:
        """Rows by the patterns of the layers they describe."""
        layers: dict[Side, Patterns[Row]] = {side: Patterns() for side in SIDES}
        for row in self.rows:
            for side, found in layers.items():
                found.add(row.name_on(side), row)
        return layers

    def _patterns(self) -> Iterator[tuple[Side, str, Row, TensorRule]]:
        """Give the pattern of the keys of every rule of every row, on either side."""
        for row in self.rows:
            for rule in row.kind.tensors:
                for side in SIDES:
                    if (leaf := rule.name_on(side)) is not None:
                        yield side, join(row.name_on(side), leaf), row, rule

    def names_on(self, side: Side) -> Mapping[str, Names]:
        """Give the other names of one side."""
        return self.dialects if side == "torch" else self.targets

    def claims(self, key: str, side: Side = "torch") -> list[Claim]:
        """List every row that claims a key of one side; a sound table gives one, or none."""
        found = list[Claim]()
        if side == "paddle" and self._listed(key, side) is not None:
            return found
        for pattern, (row, rule) in self._claimants[side].like(key):
            if match := pattern.fullmatch(key):
                numbers = match.groupdict()
                layer, paddle = fill(row.torch, numbers), None
                if rule.paddle is not None:
                    paddle = join(fill(row.paddle, numbers), rule.paddle)
                found.append(Claim(row, rule, layer, join(layer, rule.leaf), paddle))
        return found

    def nearest(self, key: str, side: Side) -> str:
        """Say which row's keys are most like one that no row claims; nothing if none is."""
        alike = re.sub(r"\b[0-9]+\b", "0", key)
        memo = ("nearest", side, alike)
        if memo not in self.memo:
            rows = {
                PLACEHOLDER.sub("0", pattern): (row.number, pattern)
                for of, pattern, row, _rule in self._patterns()
                if of == side
            }
            found = next(iter(get_close_matches(alike, rows, 1, 0.75)), None)
            number, pattern = rows[found] if found else (0, "")
            self.memo[memo] = f" Did you mean {pattern!r} (row {number})?" if found else ""
        told: str = self.memo[memo]
        return told

    def ignored(self, key: str, side: Side = "torch") -> str | None:
        """Give the reason why a key of one side has no counterpart, or None if it has."""
        return self._listed(key, side) or self.counter(key, side)

    def counter(self, key: str, side: Side = "torch") -> str | None:
        """Give the reason why a tensor that no table speaks of carries no weights, or None."""
        reason = counter(key)
        if reason is None or self._listed(key, side) is not None or self.claims(key, side):
            return None
        return reason

    def _listed(self, key: str, side: Side) -> str | None:
        """Give the reason of this table's own [ignore] or [paddle_only]."""
        alike = self._alone[side].like(key)
        return next((why for pattern, why in alike if pattern.fullmatch(key)), None)

    @cached_property
    def _alone(self) -> dict[Side, "Patterns[str]"]:
        """Reasons by the patterns of keys without a counterpart."""
        alone: dict[Side, Patterns[str]] = {side: Patterns() for side in SIDES}
        sides: tuple[tuple[Side, Mapping[str, str]], ...] = (
            ("torch", self.ignore),
            ("paddle", self.paddle_only),
        )
        for side, patterns in sides:
            for pattern, why in patterns.items():
                alone[side].add(pattern, why)
        return alone

    def contradictions(self) -> Iterator[str]:
        """Say which patterns of [paddle_only] name a tensor that a row fills."""
        alike: dict[str, list[str]] = {}
        for alone in self.paddle_only:
            alike.setdefault(skeleton(alone), []).append(alone)
        for side, pattern, row, rule in self._patterns():
            for alone in alike.get(skeleton(pattern), ()) if side == "paddle" else ():
                if overlap(alone, pattern) and not may_lack(row.kind, rule.leaf):
                    yield (
                        f"paddle_only: {alone!r} names a tensor that row {row.number} "
                        f"({row.torch}, kind {row.kind.name!r}) fills. Remove one of them."
                    )

    def parameters(self, variant: Variant) -> int:
        """Count the trained numbers of a variant with its published number of classes."""
        return sum(
            math.prod(variant.resolve(shape, variant.num_classes))
            for key, shape in variant.shapes.items()
            for claim in self.claims(key)
            if claim.paddle is not None and not claim.rule.buffer
        )

    def layers(self, side: Side, names: Iterable[str]) -> dict[str, tuple[str, str, Kind]]:
        """Pair the layers of one live model: own name -> (torch name, paddle name, kind)."""
        paired: dict[str, tuple[str, str, Kind]] = {}
        for name in names:
            for _pattern, row in self._layers[side].like(name):
                if (pair := row.pair(side, name)) is not None:
                    paired[name] = (*pair, row.kind)
        return paired


def sizes_of(table: Table, variant: Variant | None) -> Mapping[str, int]:
    """Give the lengths that axes may need: [sizes] of a table, and the numbers of a config."""
    config = {} if variant is None else variant.config
    own = {name: n for name, n in config.items() if type(n) is int and n > 0}
    return {**table.sizes, **own}


def may_lack(kind: Kind, leaf: str) -> bool:
    """Tell whether a layer of a kind can be without a tensor: its bias, or the scale of a norm."""
    return leaf == "bias" or (leaf == "weight" and bool(kind.float32))
