"""Kinds of layers: what a layer is in both frameworks, and what becomes of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..checked import checked, expected, shown, tables_in
from ..sides import Side
from .axes import Axes

_MOST_LIMIT = 1e-4  # float32 loses no more in one layer
_LIMIT = expected(
    f"a number up to {_MOST_LIMIT}", lambda limit: limit is None or 0 < limit <= _MOST_LIMIT
)
_CLASSES = expected("a text or a list of texts", lambda names: bool(names) and all(names))
_LEAF = expected("a name without braces", lambda name: name is None or not set("{}") & set(name))
_ATTRIBUTES = expected("a text or a list of texts")
_LISTS = ("torch", "paddle")  # one text stands for a list of one
_EXCHANGE = 'axes = "out in -> in out"'  # as a kind says it


@dataclass(frozen=True)
class TensorRule:
    """What becomes of one tensor of a kind.

    Attributes:
        leaf: Name in the PyTorch layer; empty when the row names the tensor itself.
        paddle: Name in the Paddle layer; None when the tensor is dropped.
        axes: How PyTorch's axes become Paddle's; None if they are the same.
        drop: Why the tensor is dropped; empty when it is kept.
        buffer: Whether the tensor is kept without being trained.
        keep: Whether a cast to half precision leaves it in float32, as statistics need.
        restore: What a dropped int64 scalar becomes on the way back; None if it stays away.
    """

    leaf: str
    paddle: str | None = field(default=None, metadata=_LEAF)
    axes: Axes | None = None
    drop: str = ""
    buffer: bool = False
    keep: bool = False
    restore: int | None = None

    def name_on(self, side: Side) -> str | None:
        """Name the tensor in the layer of one side; None if that side has none."""
        return self.leaf if side == "torch" else self.paddle

    def axes_from(self, side: Side) -> Axes | None:
        """Give how the axes of one side become the other's; None if they are the same."""
        return self.axes if side == "torch" or self.axes is None else self.axes.back()


@dataclass(frozen=True)
class Setting:
    """A setting of a layer that must agree on both sides.

    Attributes:
        name: For example "eps".
        torch: Attributes of PyTorch's layer, of which the first that it has holds the setting; an
            empty one stands for `value`, and so does an empty list.
        paddle: The same of Paddle's layer.
        value: What takes the place of a side without such an attribute.
        turn: How Paddle counts: as PyTorch (""), "not", or "complement" (1 - x).
        unset: Attribute that counts where Paddle's is None.
        values: Other spellings of a value, as text -> the value; one that holds for a class alone
            has its name in front: "BatchNorm.False".
        needs: Other settings: where all of these are 0 or false, this one changes nothing, and it
            is not compared.
    """

    name: str
    torch: tuple[str, ...] = field(default=(), metadata=_ATTRIBUTES)
    paddle: tuple[str, ...] = field(default=(), metadata=_ATTRIBUTES)
    value: Any = None
    turn: Literal["", "not", "complement"] = ""
    unset: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def attributes_on(self, side: Side) -> tuple[str, ...]:
        """Name the attributes of one side that may hold it."""
        return self.torch if side == "torch" else self.paddle

    def in_paddle(self, value: Any) -> str:
        """Spell a value as Paddle's users write it: "epsilon=1e-06"; empty if it has none."""
        attribute = next((name.lstrip("_") for name in self.paddle if name), "")
        if self.turn == "not":
            value = not value
        elif self.turn == "complement" and isinstance(value, float | int):
            value = round(1 - value, 12)  # 1 - 0.1 is not quite 0.9
        own = (text for text, found in self.values.items() if found == value and "." not in text)
        return f"{attribute}={next(own, value)}" if attribute else ""


@dataclass(frozen=True)
class Kind:
    """What a layer is in both frameworks; a block has no class and no tensors.

    Attributes:
        name: For example "linear".
        tensors: What becomes of each tensor.
        settings: What must agree besides the tensors.
        torch: Classes in PyTorch, by their exact names.
        paddle: Classes in Paddle.
        float32: Side -> attribute that parity rounds to float32, as Paddle computes with it.
        limit: Relative float64 difference that is allowed; None for that of all others.
        backward_limit: The same of gradients that went through it.
        traced: Whether its outputs are compared, or its settings alone.
    """

    name: str
    tensors: tuple[TensorRule, ...] = ()
    settings: tuple[Setting, ...] = ()
    torch: tuple[str, ...] = field(default=(), metadata=_CLASSES)
    paddle: tuple[str, ...] = field(default=(), metadata=_CLASSES)
    float32: Mapping[str, str] = field(
        default_factory=dict,
        metadata=expected(
            "an attribute of torch and one of paddle",
            lambda sides: sides.keys() == {"torch", "paddle"},
        ),
    )
    limit: float | None = field(default=None, metadata=_LIMIT)
    backward_limit: float | None = field(default=None, metadata=_LIMIT)
    traced: bool = True

    def classes_on(self, side: Side) -> tuple[str, ...]:
        """Name the classes of one side; none for a block or a bare tensor."""
        return self.torch if side == "torch" else self.paddle


def parse_kind(name: str, entry: Mapping[str, Any], problems: list[str]) -> Kind:
    """Read one kind; whatever is wrong with it is added to the problems."""
    where = f"kind {name}: "
    tensors = tables_in(entry, "tensors", where, problems)
    settings = tables_in(entry, "settings", where, problems)
    problems += [
        f"{where}tensors.{leaf}: expected either paddle or drop."
        for leaf, rule in tensors.items()
        if ("paddle" in rule) == ("drop" in rule)
    ]
    problems += [
        f"{where}tensors.{leaf}: axes of a tensor that is dropped; expected them with paddle alone."
        for leaf, rule in tensors.items()
        if "axes" in rule and "drop" in rule
    ]
    problems += [
        f"{where}tensors.{leaf}: expected a name without braces."
        for leaf in tensors
        if set("{}") & set(leaf)
    ]
    rules = [
        _parse_rule(leaf, rule, f"{where}tensors.{leaf}.", problems)
        for leaf, rule in tensors.items()
    ]
    held = [
        checked(Setting, _listed(words), f"{where}settings.{one}.", problems, name=one)
        for one, words in settings.items()
    ]
    if "layout" in entry:
        problems.append(f"{where}layout is unknown. Write it at the tensor, as {_EXCHANGE}.")
    read = ("tensors", "settings", "layout")
    rest = {word: value for word, value in entry.items() if word not in read}
    kind = checked(
        Kind,
        _listed(rest),
        where,
        problems,
        name=name,
        tensors=tuple(rule for rule in rules if rule),
        settings=tuple(setting for setting in held if setting),
    )
    return kind or Kind(name)


def _parse_rule(
    leaf: str, words: Mapping[str, Any], where: str, problems: list[str]
) -> TensorRule | None:
    """Read what becomes of one tensor."""
    axes = None
    if "transpose" in words:
        problems.append(f"{where}transpose is unknown. Write {_EXCHANGE} instead.")
    if "axes" in words:
        try:
            axes = Axes.parse(words["axes"])
        except ValueError as error:
            problems.append(f"{where}axes {shown(words['axes'])} {error}.")
    rest = {word: value for word, value in words.items() if word not in ("axes", "transpose")}
    return checked(TensorRule, rest, where, problems, leaf=leaf, axes=axes)


def _listed(words: Mapping[str, Any]) -> dict[str, Any]:
    """Give the same words, with a list where one text may stand for it."""
    return {
        word: [value] if word in _LISTS and isinstance(value, str) else value
        for word, value in words.items()
    }
