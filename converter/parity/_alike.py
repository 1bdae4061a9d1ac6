"""Settings that are wrong in many layers, said once for all of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import some
from ._compare import LayerResult, SettingResult, spell_value
from ._trace import Trace

_TRAINING_ONLY = ("momentum", "training")  # evaluation does not look at them
_NO_CLASS = ("block", "interpolating_block", "output")  # their attributes may mean anything
_MOST_NAMES = 3


@dataclass(frozen=True)
class WrongSetting:
    """One setting that is wrong in one kind of layer.

    Attributes:
        kind: The kind.
        setting: Name of the setting, as PyTorch has it.
        layers: In which it is wrong, by PyTorch name.
        of: How many layers of the kind have this setting.
        reference: Its value in the first of them on the reference's side.
        candidate: The same on the other side.
        uniform: Whether both values are the same in all of them.
        matters: Whether outputs of these layers differ, and it may be the cause.
    """

    kind: str
    setting: str
    layers: tuple[str, ...]
    of: int
    reference: Any
    candidate: Any
    uniform: bool
    matters: bool

    @property
    def where(self) -> str:
        """Say in which layers: "all 25 layer_norm"; a few of many by name."""
        count = len(self.layers)
        if count == self.of:
            return f"all {count} {self.kind}" if count > 1 else f"{self.kind} {self.layers[0]}"
        return f"{count} of {self.of} {self.kind} ({some(self.layers, _MOST_NAMES)})"

    def describe(self, candidate: Trace) -> str:
        """Say what is wrong in the trace of the other side."""
        own = candidate.facts.layers[self.layers[0]].spelled.get(self.setting)
        found, expected = spell_value(self.candidate), spell_value(self.reference)
        values = f"{found} in {candidate.label}{f' ({own})' if own else ''}, expected {expected}"
        if self.uniform:
            return f"{self.where}: {self.setting} is {values}."
        return f"{self.where}: {self.setting} differs, in {self.layers[0]} it is {values}."


def wrong_settings(
    settings: Iterable[SettingResult], layers: Sequence[LayerResult]
) -> list[WrongSetting]:
    """Fold the settings that disagree by kind and name; those that change the numbers come first.

    Args:
        settings: Of all layers.
        layers: All layers, judged.
    """
    found = defaultdict[tuple[str, str], list[SettingResult]](list)
    for one in settings:
        found[one.kind, one.setting].append(one)
    off = {layer.layer.partition("#")[0] for layer in layers if layer.verdict != "settings"}
    faults = {layer.layer.partition("#")[0] for layer in layers if layer.is_fault}
    folded = []
    for (kind, setting), members in found.items():
        if wrong := [one for one in members if not one.same]:
            first, names = wrong[0], tuple(one.layer for one in wrong)
            is_used = kind not in _NO_CLASS and setting not in _TRAINING_ONLY
            folded.append(
                WrongSetting(
                    kind,
                    setting,
                    names,
                    len(members),
                    first.reference,
                    first.candidate,
                    len({(str(one.reference), str(one.candidate)) for one in wrong}) == 1,
                    is_used and bool(off & faults & set(names)),
                )
            )
    return sorted(folded, key=lambda one: not one.matters)
