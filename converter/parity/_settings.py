"""The settings of a layer, spelled as PyTorch spells them, so that both sides can be compared."""

import math
from collections.abc import Mapping
from typing import Any

from ..sides import Side
from ..tables.kinds import Kind, Setting

_PLAIN = (bool, int, float, str)
_CLOSE = 1e-12  # 1 - 0.9 is not quite 0.1


def read_settings(layer: Any, kind: Kind, side: Side) -> dict[str, Any]:
    """Read the settings of a live layer that must agree with those of the other side.

    If the kind names none, as that of a block, those are all plain public attributes.

    Returns:
        Name -> number, text, truth value or list of these. Evaluation mode is one of them.
    """
    if not kind.classes_on(side):
        return plain_attributes(layer)
    settings = {s.name: _read(layer, s, side) for s in kind.settings}
    return {"training": bool(layer.training), **settings}


def idle(settings: Mapping[str, Any], kind: Kind) -> list[str]:
    """Name the settings that change nothing, as the others are."""
    return [s.name for s in kind.settings if s.needs and not any(settings[n] for n in s.needs)]


def spell_settings(layer: Any, kind: Kind, side: Side) -> dict[str, str]:
    """Spell the settings that Paddle counts otherwise as its users write them: "exclusive=True"."""
    if side != "paddle":
        return {}
    held = {one.name: _holder(layer, one, side) for one in kind.settings if one.turn}
    return {
        name: f"{attribute.lstrip('_')}={getattr(layer, attribute, None)}"
        for name, attribute in held.items()
        if attribute
    }


def plain_attributes(layer: Any) -> dict[str, Any]:
    """Return the public attributes that are numbers, text or flags, or lists of these."""
    own = {name: value for name, value in vars(layer).items() if name[0] != "_"}
    return {name: _canonical(value) for name, value in own.items() if _is_plain(value)}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that both sides have and that disagree: name -> both values."""
    return {
        name: (value, other[name])
        for name, value in one.items()
        if name in other and not _agree(value, other[name])
    }


def _read(layer: Any, setting: Setting, side: Side) -> Any:
    attribute = _holder(layer, setting, side)
    if not attribute:
        return _canonical(setting.value)
    value = getattr(layer, attribute, "(the layer has no such setting)")
    if side == "paddle" and value is None and setting.unset:
        value = getattr(layer, setting.unset)
    spellings = [f"{cls.__name__}.{value}" for cls in type(layer).__mro__] + [str(value)]
    found = (setting.values[one] for one in spellings if one in setting.values)
    value = _canonical(next(found, value))
    if side == "paddle" and setting.turn == "not":
        return not value
    if side == "paddle" and setting.turn == "complement" and isinstance(value, float | int):
        return 1 - value
    return value


def _holder(layer: Any, setting: Setting, side: Side) -> str:
    """Name the attribute that holds a setting: the first that the layer has, else the last."""
    names = ("", *setting.attributes_on(side))
    return next((name for name in names if name and hasattr(layer, name)), names[-1])


def _canonical(value: Any) -> Any:
    """Spell one value: what is the same in all directions once, text in small letters."""
    if isinstance(value, list | tuple):
        parts = [_canonical(part) for part in value]
        return parts[0] if parts and all(part == parts[0] for part in parts) else parts
    if isinstance(value, str):
        return value.lower()
    return value if value is None or isinstance(value, _PLAIN) else str(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float | int) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=_CLOSE)
    return bool(one == other)
