"""What a proposal consists of: rows, what could be paired otherwise, and what has no row."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from ...sides import Side


@dataclass(frozen=True)
class Proposed:
    """A row of the table to be.

    Attributes:
        torch: Name in PyTorch.
        paddle: Name in Paddle.
        kind: Name of its kind.
        note: What is or was uncertain about it; empty if nothing is.
        undecided: Whether it still is.
        runs: Whether a run of both models shows if the row is right.
        never_runs: Whether it is of a layer that neither model runs, but could be compared.
        order: Where it stands in the table.
    """

    torch: str
    paddle: str
    kind: str
    note: str = ""
    undecided: bool = False
    runs: bool = True
    never_runs: bool = False
    order: tuple[float, ...] = ()


@dataclass(frozen=True)
class Group:
    """Layers or tensors that could be paired in several ways.

    Attributes:
        key: The names without their numbers: repeated blocks have the same.
        torch: Names in PyTorch.
        paddle: Names in Paddle, as they were first put side by side.
        options: Orders of `paddle`, the most likely first.
        note: Why it is uncertain; empty if names and order agree.
    """

    key: Hashable
    torch: tuple[str, ...]
    paddle: tuple[str, ...]
    options: tuple[tuple[int, ...], ...]
    note: str


@dataclass
class Match:
    """What is paired, and what is not.

    Attributes:
        rows: In the order of the table.
        groups: What could be paired otherwise.
        problems: Tensors that no row claims, and why; such a table converts nothing.
        left_out: Layers without tensors for which the other side has none, side and name.
        ignore: PyTorch key -> why Paddle does not need it.
    """

    rows: list[Proposed] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: list[tuple[Side, str]] = field(default_factory=list)
    ignore: dict[str, str] = field(default_factory=dict)
