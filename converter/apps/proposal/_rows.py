"""Parts of a proposal: rows, other ways to pair layers, and what has no row."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from ...sides import NAMES, Side

# The value at which a tensor does nothing -> why Paddle alone may have it.
STAYS = {value: f"PyTorch's layer has none; it stays {value:.0f}" for value in (0.0, 1.0)}
# Reason -> the doubt that comes with it.
DOUBTS = {
    why: f"the same function only while it is {value:.0f}: training would change it"
    for value, why in STAYS.items()
}


@dataclass(frozen=True)
class Proposed:
    """A row of the proposed table.

    Attributes:
        torch: Name in PyTorch.
        paddle: Name in Paddle.
        kind: Name of its kind.
        note: Why it is or was uncertain; empty if it is certain.
        undecided: Whether it still is uncertain.
        runs: Whether a run of both models shows if the row is right.
        order: Its place in the table.
    """

    torch: str
    paddle: str
    kind: str
    note: str = ""
    undecided: bool = False
    runs: bool = True
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
        in_rows: Whether the rows say so.
    """

    key: Hashable
    torch: tuple[str, ...]
    paddle: tuple[str, ...]
    options: tuple[tuple[int, ...], ...]
    note: str
    in_rows: bool = True


@dataclass(frozen=True)
class Unclaimed:
    """A tensor that no row claims, as the other model has nothing of its kind and shape left.

    Attributes:
        side: Whose it is.
        layer: Name of the layer that it is in.
        key: Its own name, with that of the layer.
        shape: As this framework lays it out.
        cls: The layer's class.
        known: Whether the layer is of a kind.
        is_layer: Whether the layer holds no other one with tensors, and is not the model.
    """

    side: Side
    layer: str
    key: str
    shape: tuple[int, ...]
    cls: str
    known: bool
    is_layer: bool

    def __str__(self) -> str:
        return f"{NAMES[self.side]} {self.key} {list(self.shape)}, of {self.cls}"


@dataclass
class Match:
    """What is paired, and what is not.

    Attributes:
        rows: In the order of the table.
        groups: What could be paired otherwise.
        problems: Tensors that no row claims, or why in words; such a table converts nothing.
        left_out: Layers without tensors for which the other side has none, side and name.
        ignore: PyTorch key -> why Paddle does not need it.
        paddle_only: Paddle key -> why PyTorch has none.
    """

    rows: list[Proposed] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    problems: list[Unclaimed | str] = field(default_factory=list)
    left_out: list[tuple[Side, str]] = field(default_factory=list)
    ignore: dict[str, str] = field(default_factory=dict)
    paddle_only: dict[str, str] = field(default_factory=dict)
