"""Give every layer what the reference's layer was given, and see what it alone makes of it.

One forward pass tells it for all layers: each call gets the reference's input in place of its own,
and gives its caller the reference's output. So what a layer computes depends on no other layer, and
what the code of a block does between the layers within it is seen as what it gives to them.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..running.side import AnySide
from ._distance import FLOAT64_LIMIT, apart, not_finite
from ._record import LiveCall
from ._trace import INPUT_OF, Finding, Run, Tree, Writer, array_of, to_tree

_MOST_KEPT = 24  # arrays that are kept to be looked into
_NO_REFERENCE = "the reference did not call this layer so often"


class _Unlike(Exception):  # noqa: N818 - says what is so, and never leaves this module
    """Two trees of values are not built alike."""


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
        self.limits = limits  # by layer: what is further apart is kept
        self.findings: dict[str, Finding] = {}
        self.kept = 0

    def around(self, live: LiveCall) -> Any:
        """Call a layer with the reference's input, and give the reference's output."""
        key, call = live.key, self.reference.calls.get(live.key)
        if call is None:
            self._find(key, Finding(np.inf, note=_NO_REFERENCE))
            return live.make()
        try:
            given = [list(live.args), live.kwargs]
            live.args, live.kwargs = self._swap(given, call.inputs, live.parent, INPUT_OF + key)
        except _Unlike as unlike:
            note = f"is {unlike}"
            self._find(live.parent or key, Finding(np.inf, INPUT_OF + key, note=note))
        self.findings.setdefault(key, Finding(0.0))
        output = None
        try:
            output = live.make()
        except Exception as error:  # whatever a model raises: it is told, and the pass goes on
            note = f"fails on the reference's input: {type(error).__name__}: {error}"
            self._find(key, Finding(np.inf, note=note.split("\n", 1)[0]))
        self.tick()
        if output is None:
            return self._made(call.outputs)
        try:
            return self._swap(output, call.outputs, key, "output")
        except _Unlike as unlike:
            self._find(key, Finding(np.inf, note=f"is {unlike}"))
            return self._made(call.outputs, output)

    def _swap(self, own: Any, tree: Tree, to: str | None, where: str) -> Any:
        """Put the reference's tensors in the place of our own, after comparing them.

        Args:
            own: Tensors and plain values.
            tree: The same of the reference.
            to: Whose finding it is if they differ; None for what the images are.
            where: What they are.

        Raises:
            _Unlike: One is not built as the other.
        """
        if isinstance(tree, list) and isinstance(own, list | tuple) and len(own) == len(tree):
            parts = [self._swap(*pair, to, where) for pair in zip(own, tree, strict=True)]
            if isinstance(own, list):
                return parts
            return type(own)(*parts) if hasattr(own, "_fields") else tuple(parts)
        if isinstance(tree, dict) and "dict" in tree:
            return self._swap_named(own, tree["dict"], to, where)
        if isinstance(own, np.ndarray | np.generic) and (index := array_of(tree)) is not None:
            self._compare(np.asarray(own), index, to, where)
            return self.reference.arrays[index]
        if (index := array_of(tree)) is not None and self.side.is_tensor(own):
            self._compare(self.side.array(own), index, to, where)
            return self.side.put(self.reference.arrays[index])
        if not isinstance(tree, list | dict) and not self.side.is_tensor(own):
            if to is not None and not _alike(own, tree):
                self._find(
                    to, Finding(np.inf, where, note=f"has {own!r}, the reference's {tree!r}")
                )
            return own
        if isinstance(tree, dict) and "other" in tree and not self.side.is_tensor(own):
            return own
        raise _Unlike(f"{self._spell(own)}, the reference's is {_spell(tree, self.reference)}")

    def _swap_named(self, own: Any, tree: Tree, to: str | None, where: str) -> Any:
        """Do the same with a dict, a kind of dict, or a dataclass, which stays what it is."""
        made = copy.copy(own)
        if isinstance(own, dict) and {str(name) for name in own} == tree.keys():
            for name, value in own.items():
                made[name] = self._swap(value, tree[str(name)], to, where)
            return made
        if is_dataclass(own) and {one.name for one in fields(own)} == tree.keys():
            for name, part in tree.items():
                swapped = self._swap(getattr(own, name), part, to, where)
                object.__setattr__(made, name, swapped)  # a frozen one, too
            return made
        expected = _spell({"dict": tree}, self.reference)
        raise _Unlike(f"{self._spell(own)}, the reference's is {expected}")

    def _compare(self, own: np.ndarray, index: int, to: str | None, where: str) -> None:
        if to is None:
            return
        reference = self.reference.arrays[index]
        counts = own.dtype.kind in "iu" and reference.dtype.kind in "iu"  # of whatever width
        if own.shape != reference.shape or (own.dtype != reference.dtype and not counts):
            given = f"{own.dtype} {list(own.shape)}"
            expected = f"{reference.dtype} {list(reference.shape)}"
            note = f"is {given}, the reference's is {expected}"
            self._find(to, self._keep(Finding(np.inf, where, note=note, at=index), own))
            return
        found = apart(reference, own)
        note = ""
        if count := not_finite(own):
            note = f"has {count} {'value that is' if count == 1 else 'values that are'} not finite"
        finding = Finding(found.relative, where, found.index, found.truth, found.other, note)
        if found.relative > self.limits[to.partition("#")[0]]:
            finding = self._keep(replace(finding, at=index), own)
        self._find(to, finding)

    def _keep(self, finding: Finding, array: np.ndarray) -> Finding:
        """Keep the array of the first few faults, to be looked into."""
        if self.kept >= _MOST_KEPT:
            return finding
        self.kept += 1
        return replace(finding, kept=self.keep.add(array))

    def _find(self, key: str, finding: Finding) -> None:
        """Note a finding; of several of one layer the first that is wrong, or the largest."""
        known = self.findings.get(key)
        limit = self.limits.get(key.partition("#")[0], 0.0)
        if known is None or (known.difference <= limit and finding.difference >= known.difference):
            self.findings[key] = finding

    def _made(self, tree: Tree, like: Any = None) -> Any:
        """Make the reference's values into tensors of this side."""
        if isinstance(tree, list):
            parts = [self._made(part) for part in tree]
            return tuple(parts) if not isinstance(like, list) else parts
        if isinstance(tree, dict) and "dict" in tree:
            return {name: self._made(part) for name, part in tree["dict"].items()}
        index = array_of(tree)
        return tree if index is None else self.side.put(self.reference.arrays[index])

    def _spell(self, own: Any) -> str:
        def put(value: Any) -> int | None:
            return 0 if self.side.is_tensor(value) else None

        return _spell_parts(to_tree(own, put), lambda _index: "tensor")


def _alike(own: Any, tree: Tree) -> bool:
    """Compare plain values; numbers that were computed may differ by rounding."""
    if isinstance(own, float) and isinstance(tree, float):
        return math.isclose(own, tree, rel_tol=FLOAT64_LIMIT)
    return bool(own == tree)


def _spell(tree: Tree, run: Run) -> str:
    return _spell_parts(tree, lambda index: f"tensor {list(run.arrays.shape(index))}")


def _spell_parts(tree: Tree, name: Callable[[int], str]) -> str:
    """Say what a tree of values is built of."""
    if isinstance(tree, list):
        return "(" + ", ".join(_spell_parts(part, name) for part in tree) + ")"
    if isinstance(tree, dict) and "dict" in tree:
        parts = (f"{n}={_spell_parts(part, name)}" for n, part in tree["dict"].items())
        return "{" + ", ".join(parts) + "}"
    index = array_of(tree)
    if index is not None:
        return name(index)
    return str(tree["other"]) if isinstance(tree, dict) else repr(tree)
