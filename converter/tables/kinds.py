"""Kinds of layers: what a layer is in both frameworks, and what becomes of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..sides import Side

_KIND_WORDS = {
    *("torch", "paddle", "layout", "tensors", "settings"),
    *("float32", "limit", "backward_limit", "traced"),
}
_RULE_WORDS = {"paddle", "transpose", "drop", "restore", "buffer"}
_SETTING_WORDS = {"torch", "paddle", "value", "turn", "unset", "values"}
_TURNS = ("", "not", "complement")
_MOST_LIMIT = 1e-4  # float32 loses no more in one layer


@dataclass(frozen=True)
class TensorRule:
    """What becomes of one tensor of a kind.

    Attributes:
        leaf: Name in the PyTorch layer; empty when the row names the tensor itself.
        paddle: Name in the Paddle layer; None when the tensor is dropped.
        transpose: Whether the two axes are exchanged.
        drop: Why the tensor is dropped; empty when it is kept.
        buffer: Whether the tensor is kept without being trained.
        restore: What a dropped int64 tensor becomes on the way back; None if it stays away.
    """

    leaf: str
    paddle: str | None
    transpose: bool
    drop: str
    buffer: bool = False
    restore: int | None = None


@dataclass(frozen=True)
class Setting:
    """A setting of a layer that must agree on both sides.

    Attributes:
        name: For example "eps".
        attributes: Side -> attribute that holds it; a side that has none is held to `value`.
        value: What takes the place of a side without such an attribute.
        turn: How Paddle counts: as PyTorch (""), "not", or "complement" (1 - x).
        unset: Attribute that counts where Paddle's is None.
        values: Other spellings of a value, as text -> the value.
    """

    name: str
    attributes: Mapping[Side, str]
    value: Any
    turn: str
    unset: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """What a layer is in both frameworks; a block has no class and no tensors.

    Attributes:
        name: For example "linear".
        torch: Exact class in PyTorch.
        paddle: Exact class in Paddle.
        layout: What a transposition does, for people.
        tensors: What becomes of each tensor.
        float32: Side -> attribute that parity rounds to float32, as Paddle computes with it.
        settings: What must agree besides the tensors.
        limit: Relative float64 difference that is allowed; None for that of all others.
        backward_limit: The same of gradients that went through it.
        traced: Whether its outputs are compared, or its settings alone.
    """

    name: str
    torch: str
    paddle: str
    layout: str
    tensors: tuple[TensorRule, ...]
    float32: Mapping[Side, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    limit: float | None = None
    backward_limit: float | None = None
    traced: bool = True

    def class_on(self, side: Side) -> str:
        """Name the class of one side; empty for a block or a bare tensor."""
        return self.torch if side == "torch" else self.paddle


def parse_kind(name: str, entry: Mapping[str, Any], problems: list[str]) -> Kind:
    """Read one kind; what it must not hold is added to the problems."""
    if wrong := _wrong_types(entry):
        problems.append(f"kind {name}: {', '.join(wrong)}.")
        return Kind(name, "", "", "", ())
    unknown = entry.keys() - _KIND_WORDS
    for leaf, rule in entry.get("tensors", {}).items():
        unknown |= {f"{leaf}.{word}" for word in rule.keys() - _RULE_WORDS}
        if ("paddle" in rule) == ("drop" in rule):
            problems.append(f"kind {name}, {leaf!r}: expected either paddle or drop.")
    for setting, words in entry.get("settings", {}).items():
        unknown |= {f"{setting}.{word}" for word in words.keys() - _SETTING_WORDS}
        if words.get("turn", "") not in _TURNS:
            problems.append(f"kind {name}, {setting}: turn is one of {', '.join(_TURNS[1:])}.")
    if unknown:
        problems.append(f"kind {name}: unknown words {', '.join(sorted(unknown))}.")
    rules = tuple(
        TensorRule(
            leaf,
            rule.get("paddle"),
            rule.get("transpose", False),
            rule.get("drop", ""),
            rule.get("buffer", False),
            rule.get("restore"),
        )
        for leaf, rule in entry.get("tensors", {}).items()
    )
    settings = tuple(
        Setting(
            setting,
            {side: words[side] for side in ("torch", "paddle") if side in words},
            words.get("value"),
            words.get("turn", ""),
            words.get("unset", ""),
            words.get("values", {}),
        )
        for setting, words in entry.get("settings", {}).items()
    )
    return Kind(
        name,
        entry.get("torch", ""),
        entry.get("paddle", ""),
        entry.get("layout", ""),
        rules,
        entry.get("float32", {}),
        settings,
        entry.get("limit"),
        entry.get("backward_limit"),
        entry.get("traced", True),
    )


def _wrong_types(entry: Mapping[str, Any]) -> list[str]:
    """Say which words of a kind have a value of another type than expected."""
    wrong = [
        f"{word} is {entry[word]!r}, expected a text"
        for word in ("torch", "paddle", "layout")
        if not isinstance(entry.get(word, ""), str)
    ]
    for word in ("limit", "backward_limit"):
        value = entry.get(word, _MOST_LIMIT)
        if type(value) not in (int, float) or not 0 < value <= _MOST_LIMIT:
            wrong.append(f"{word} is {value!r}, expected a number up to {_MOST_LIMIT}")
    if not isinstance(entry.get("traced", True), bool):
        wrong.append(f"traced is {entry['traced']!r}, expected true or false")
    for word in ("tensors", "settings"):
        value = entry.get(word, {})
        if not (isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())):
            wrong.append(f"{word} is {value!r}, expected a table of tables")
    float32 = entry.get("float32", {})
    sides = isinstance(float32, dict) and float32.keys() in ({"torch", "paddle"}, set())
    if not (sides and all(isinstance(attribute, str) for attribute in float32.values())):
        wrong.append(f"float32 is {float32!r}, expected an attribute of torch and one of paddle")
    if wrong:
        return wrong
    for word in ("tensors", "settings"):
        for name, one in entry.get(word, {}).items():
            wrong += [
                f"{word}.{name}.{text} is {one[text]!r}, expected a text"
                for text in ("torch", "paddle", "drop", "turn", "unset")
                if not isinstance(one.get(text, ""), str)
            ]
    return wrong + [
        f"settings.{name}.values is {one['values']!r}, expected a table"
        for name, one in entry.get("settings", {}).items()
        if not isinstance(one.get("values", {}), dict)
    ]
