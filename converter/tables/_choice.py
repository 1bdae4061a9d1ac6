"""What a user says of a file, a choice of weights in it, and which of several goes first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..checkpoints import Renames, Selection
from ..checkpoints.selection import WRAPPERS
from ..sides import Side
from .identify import Fit, show_head
from .names import Names


@dataclass(frozen=True)
class Asked:
    """What a user says of a file.

    Attributes:
        side: The framework whose names are expected; either if None and the file does not say.
        weights: Which weights to take: keys and beginnings of names, with dots.
        rename: Beginnings of names -> what takes their place.
        num_classes: 0 leaves the head out on purpose; it stays as it is if None.
        dialect: Whose names a PyTorch file has; found from the names if None.
        target: Whose names a Paddle file has; found from the names if None.
    """

    side: Side | None = None
    weights: str | None = None
    rename: Renames | None = None
    num_classes: int | None = None
    dialect: str | None = None
    target: str | None = None

    @property
    def names(self) -> list[tuple[Side, str]]:
        """The sides whose other names are given, and these."""
        given: tuple[tuple[Side, str | None], ...] = (
            ("torch", self.dialect),
            ("paddle", self.target),
        )
        return [(side, name) for side, name in given if name is not None]


@dataclass(frozen=True)
class Choice:
    """A selection of a file, and how it fits.

    Attributes:
        selection: The tensors.
        side: The framework whose names they have.
        fit: How they compare with the variant that comes closest.
        distance: How many tensors do not fit the variant that was asked for, or the closest.
        tensors: Name and place of each tensor, to see that two selections are one.
        names: The dialect or the target whose names they have; those of the table if None.
    """

    selection: Selection
    side: Side
    fit: Fit
    distance: int
    tensors: frozenset[tuple[str, int, int, tuple[int, ...]]]
    names: Names | None = None

    @property
    def claimed(self) -> int:
        """How many tensors are of the model."""
        return len(self.tensors) - len(self.fit.extra)

    def adds_head(self, other: "Choice") -> bool:
        """Tell whether this is what another choice is without a head beside it."""
        around = f"{other.selection.path}.".startswith(f"{self.selection.path}.".lstrip("."))
        return around and self.fit.num_classes > 0 and self.claimed > other.claimed

    @property
    def words(self) -> tuple[str, ...]:
        """Keys and words that lead to it, without those of wrappers."""
        words = (*self.selection.wrapper, *self.selection.prefix.split(".")[:-1])
        return tuple(word for word in words if word not in WRAPPERS)

    def spell(self) -> str:
        """Name it with what it looks like."""
        whose = f" in the names of {self.names.name}" if self.names else ""
        what = f"{self.fit.variant.name}, {show_head(self.fit.num_classes)}{whose}"
        return f"{self.selection.path or 'the top level'!r} ({what})"


def same_place(one: Selection, other: Selection) -> bool:
    """Tell whether two selections begin at one place of a file."""
    return (one.wrapper, one.prefix) == (other.wrapper, other.prefix)


def distinct(choices: Iterable[Choice]) -> list[Choice]:
    """Leave out choices of the same tensors."""
    return list({one.tensors: one for one in reversed(list(choices))}.values())[::-1]


def outermost(choices: Sequence[Choice]) -> list[Choice]:
    """Leave out choices that another one takes with a head beside them."""
    return [one for one in choices if not any(other.adds_head(one) for other in choices)]


def preferred(choices: Sequence[Choice]) -> Choice | None:
    """Take the only one, the one that holds all others, or "model" beside others."""
    for one in choices:
        if all(other is one or _goes_first(one.words, other.words) for other in choices):
            return one
    return None


def _goes_first(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    at = next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None
    )
    if at is None:
        return len(one) < len(other)
    return one[at] == "model"
