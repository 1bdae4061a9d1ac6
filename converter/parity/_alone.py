"""Give every layer what the reference's layer was given, and see what it alone makes of it.

One forward pass does it for all layers: each call gets the reference's tensors in the place of its
own, and returns the reference's to its caller. So what a layer computes depends on no other layer,
and what the code of a block does between the layers within it shows in what it gives them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..running.side import AnySide
from ._arguments import alike, is_plain
from ._distance import FLOAT64_LIMIT, INPUT_OF, Finding, place_of
from ._exchange import Exchange, Exchanged
from ._record import LiveCall
from ._trace import Call, Run, Tree, Writer, array_of, leaves

# Arrays that are kept to be looked into: of all, and of one place in a row of blocks.
_MOST_KEPT, _MOST_ALIKE = 64, 2


class Alone:
    """Steps between every layer and its caller."""

    def __init__(
        self,
        side: AnySide,
        reference: Run,
        keep: Writer,
        limits: dict[str, float],
        tick: Callable[[], None],
    ) -> None:
        self.side, self.reference, self.keep, self.tick = side, reference, keep, tick
        self.exchange = Exchange(side, reference.arrays)
        self.limits = limits  # by layer: what is further apart is kept
        self.findings: dict[str, Finding] = {}
        self.kept = Counter[str]()

    def around(self, live: LiveCall) -> Any:
        """Call a layer with the reference's input, and give the reference's output."""
        key, call = live.key, self.reference.calls.get(live.key)
        if call is None:
            note = "the reference did not call this layer so often"
            self._find(key, Finding(np.inf, note=note))
            return live.make()
        values, limit = live.arguments.values, self._limit(live.parent)
        given = self.exchange(values, call.inputs, limit, is_input=True)
        live.arguments = live.arguments.replaced(given.value)
        self._note(live.parent, given, INPUT_OF + key)
        self.findings.setdefault(key, Finding(0.0))
        try:
            output = live.make()
        except (
            Exception
        ) as error:  # whatever a model raises: the report has it, and the pass continues
            note = f"fails on the reference's input: {type(error).__name__}: {error}"
            self._find(key, Finding(np.inf, note=note.split("\n", 1)[0]))
            output = self._made(call.outputs)
        else:
            whole = live.parent is None
            made = self.exchange(output, call.outputs, self._limit(key), whole=whole)
            self._note(key, made, "output", " and ".join(given.unlike))
            output = made.value
        self.tick()
        if self.findings[key].difference > self._limit(key):
            self._acquit(live, call)
        return output

    def _acquit(self, live: LiveCall, call: Call) -> None:
        """Blame the caller if the layer is right once it has what only the reference passes."""
        own, differing = live.arguments.values, self._differing(live, call)
        if not differing or live.parent is None:
            return
        limit = self._limit(live.key)
        try:
            output = live.repeat(live.arguments.replaced(own | differing))
        except Exception:  # of whatever model: then it is not for these that it is wrong
            return
        made = self.exchange(output, call.outputs, limit)
        worst = max((one for one, _ in made.findings), key=_difference, default=Finding(0.0))
        if worst.difference <= limit:
            self.findings[live.key] = worst
            name, value = next(iter(differing.items()))
            expected = repr(value) if is_plain(value) else "a tensor"
            note = f"has {name}={own[name]!r}, the reference's {expected}"
            self._find(live.parent, Finding(np.inf, INPUT_OF + live.key, note=note))

    def _differing(self, live: LiveCall, call: Call) -> dict[str, Any]:
        """Return what the reference passes where we have another plain value, by our parameter."""
        own, theirs = live.arguments.values, call.inputs["dict"]
        found = dict[str, Any]()
        for name, other in _parameters(own, theirs):
            value, tree = own[name], theirs[other]
            both_default = name in live.arguments.at_default and other in call.at_default
            known = all(is_plain(leaf) or array_of(leaf) is not None for leaf in leaves(tree))
            if known and not both_default and is_plain(value) and not alike(value, tree):
                made = self._made(tree)
                found[name] = list(made) if isinstance(value, list) else made
        return found

    def _note(self, to: str | None, made: Exchanged, where: str, given: str = "") -> None:
        """Note what an exchange found, as a finding of a layer; None for what the images are."""
        if to is None:
            return
        for finding, array in made.findings:
            finding = replace(finding, where=where)
            if array is not None:
                finding = self._keep(to, replace(finding, given=given), array)
            self._find(to, finding)

    def _keep(self, key: str, finding: Finding, array: np.ndarray) -> Finding:
        """Keep the array of the first few faults, to be looked into."""
        place = place_of(key, finding.where)
        if self.kept.total() >= _MOST_KEPT or self.kept[place] >= _MOST_ALIKE:
            return finding
        self.kept[place] += 1
        return replace(finding, kept=self.keep.add(array))

    def _find(self, key: str, finding: Finding) -> None:
        """Note a finding; of several of one layer the first that is wrong, or the largest."""
        known = self.findings.get(key)
        is_right = known is not None and known.difference <= self._limit(key)
        if known is None or (is_right and finding.difference >= known.difference):
            self.findings[key] = finding

    def _limit(self, key: str | None) -> float:
        """Say by how much a layer may be off."""
        return self.limits.get((key or "").partition("#")[0], FLOAT64_LIMIT)

    def _made(self, tree: Tree) -> Any:
        """Make the reference's values into tensors of this side."""
        if isinstance(tree, list):
            return tuple(self._made(part) for part in tree)
        if isinstance(tree, dict) and "dict" in tree:
            return {name: self._made(part) for name, part in tree["dict"].items()}
        index = array_of(tree)
        return tree if index is None else self.side.put(self.reference.arrays[index])


def _parameters(own: Mapping[str, Any], theirs: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
    """Pair parameters without tensors: by name; the rest in order, where they are as many."""
    yield from ((name, name) for name in own if name in theirs)
    left = [name for name in own if name not in theirs and is_plain(own[name])]
    others = [
        name for name in theirs if name not in own and all(map(is_plain, leaves(theirs[name])))
    ]
    if len(left) == len(others):
        yield from zip(left, others, strict=True)


def _difference(finding: Finding) -> float:
    return finding.difference
