"""A model as a tree of calls: what runs within what, and which tensors are beneath it."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...sides import Side
from ...tables.kinds import Kind
from ...tables.table import may_lack
from ._outline import SHARED, Leaf, Outline, Shape, Unit

# What a layer is when only its tensors are looked at: the group of its kind, empty for an unknown
# class, and their names and shapes as PyTorch has them.
Token = tuple[str, tuple[tuple[str, Shape], ...]]


class Tree:
    """One outline, indexed; `loose` if a bias, or the scale of a norm, does not count."""

    def __init__(
        self, outline: Outline, side: Side, kinds: Mapping[str, Kind], loose: bool = False
    ) -> None:
        by_class: dict[str, Kind] = {}
        for one in kinds.values():  # the first that names a class
            for name in one.classes_on(side):
                by_class.setdefault(name, one)
        self.units = _with_inner(outline, by_class, side)
        self.kinds: dict[str, Kind | None] = {}
        self.groups: dict[str, str] = {}  # of the kinds of layers
        self.tokens: dict[str, Token] = {}
        self.holders = {name: self.holder(name) for name in self.units if name}
        inner = {"", *self.holders.values()}
        for unit in self.units.values():
            known = by_class.get(unit.cls)
            shapes = _canonical(unit, known, side) if known else None
            # A tensor that the kind has no rule for makes it another kind of layer.
            kind = known if shapes is not None else None
            self.kinds[unit.name] = kind
            group = self.groups[unit.name] = group_of(kind, kinds) if kind else ""
            counted = [leaf for leaf in unit.tensors if leaf.counts]
            if kind and shapes is not None and (shapes or (loose and kind.tensors)):
                firm = (one for one in shapes if not (loose and may_lack(kind, one[0])))
                self.tokens[unit.name] = (group, tuple(firm))
            elif counted and unit.name not in inner and unit.cls != SHARED:
                self.tokens[unit.name] = ("", tuple(sorted(("", t.shape) for t in counted)))
        # The model, and each layer that holds others with tensors.
        self.outer = {""}.union(
            *(self.above(self.holders[u.name]) for u in self.units.values() if u.tensors and u.name)
        )
        self.children: dict[str, list[str]] = defaultdict(list)
        ran = [unit for unit in self.units.values() if unit.entered is not None and unit.name]
        for unit in sorted(ran, key=lambda unit: unit.entered or 0):
            self.children[unit.parent].append(unit.name)
        self.bags: dict[str, frozenset[tuple[Token, int]]] = {}
        self._bag("")
        made = defaultdict[int, list[str]](list)
        for unit in sorted(ran, key=lambda unit: unit.left or 0):
            for number in unit.results:
                made[number].append(unit.name)
        # Who gives a layer its one input, directly; innermost first.
        self.feeders = {
            unit.name: made.get(unit.sources[0], []) if len(unit.sources) == 1 else []
            for unit in ran
        }

    def _bag(self, name: str) -> Counter[Token]:
        """Count the tokens beneath a layer that runs."""
        found = Counter([self.tokens[name]]) if name in self.tokens else Counter[Token]()
        if name not in self.tokens:
            tensors = (leaf for leaf in self.units[name].tensors if leaf.counts)
            found.update(("param", (("", leaf.shape),)) for leaf in tensors)
        for child in self.children.get(name, []):
            found += self._bag(child)
        self.bags[name] = frozenset(found.items())
        return found

    def holder(self, name: str) -> str:
        """Name the layer that a layer or tensor is in: a name of its own may have dots in it."""
        end = name.rfind(".")
        while end > 0 and name[:end] not in self.units:
            end = name.rfind(".", 0, end)
        return name[: max(end, 0)]

    def above(self, name: str) -> Iterator[str]:
        """Give a name and those of all that it is in, innermost first."""
        while name:
            yield name
            name = self.holders[name] if name in self.holders else self.holder(name)

    def callers(self, name: str) -> Iterator[str]:
        """Name the layers whose code runs a layer, innermost first, and the model."""
        while name:
            name = self.units[name].parent
            yield name

    def runs(self, name: str) -> bool:
        """Tell whether a layer runs."""
        return self.units[name].entered is not None

    def label(self, name: str, scope: str) -> Hashable:
        """Give the tensors beneath a layer, and what feeds it: that of the scope, or a layer's."""
        sources = self.units[name].sources
        if sources and set(sources) <= set(self.units[scope].sources):
            return self.bags[name], "what the scope is given"
        return self.bags[name], next(map(self.tokens.get, self.feeders[name]), None)

    def size(self, name: str) -> int:
        """Count the layers with tensors and bare tensors beneath a layer."""
        return sum(count for _token, count in self.bags[name])

    def opens(self, name: str) -> bool:
        """Tell whether there are layers within."""
        return name not in self.tokens and bool(self.parts(name))

    def open(self, names: Sequence[str], closed: Sequence[str], size: int) -> list[str]:
        """Put the parts of those closed layers in their place that have the size."""
        chosen = {name for name in closed if self.size(name) == size}
        parts = (self.parts(name) if name in chosen else [name] for name in names)
        return [part for found in parts for part in found]

    def parts(self, name: str) -> list[str]:
        """Name what a layer's code calls and has tensors beneath it, in order of execution."""
        return [child for child in self.children.get(name, []) if self.bags[child]]


def apt(kinds: Mapping[str, Kind], torch: Outline, paddle: Outline) -> dict[str, Kind]:
    """Leave out kinds with rules for layers within theirs, unless both models have such a layer.

    Otherwise, the layers within may have counterparts of their own.
    """
    classes: dict[Side, set[str]] = {
        model.framework: {unit.cls for unit in model.units} for model in (torch, paddle)
    }
    return {
        name: kind
        for name, kind in kinds.items()
        if not any("." in rule.leaf for rule in kind.tensors)
        or all(found & {*kind.classes_on(side)} for side, found in classes.items())
    }


def _with_inner(outline: Outline, by_class: Mapping[str, Kind], side: Side) -> dict[str, Unit]:
    """Give the layers by name; one whose kind has rules for tensors within it has these, too."""
    units = {unit.name: unit for unit in outline.units}
    for unit in outline.units:
        rules = by_class[unit.cls].tensors if unit.cls in by_class else ()
        ruled = (rule.name_on(side) or "" for rule in rules)
        for name in {leaf.rpartition(".")[0] for leaf in ruled} - {""}:
            if inner := units.pop(join(unit.name, name), None):
                leaves = (replace(leaf, name=join(name, leaf.name)) for leaf in inner.tensors)
                whole = units[unit.name]
                units[unit.name] = replace(whole, tensors=(*whole.tensors, *leaves))
    return units


def group_of(kind: Kind, kinds: Mapping[str, Kind]) -> str:
    """Name the first kind that has PyTorch's class: several may, each with a class of Paddle's."""
    others = (one.name for one in kinds.values() if kind.torch and kind.torch[0] in one.torch)
    return next(others, kind.name)


def _canonical(unit: Unit, kind: Kind, side: Side) -> tuple[tuple[str, Shape], ...] | None:
    """Give leaf names and shapes as PyTorch has them; None if the kind has none such."""
    rules = {(r.leaf if side == "torch" else r.paddle): r for r in kind.tensors}
    found = []
    for leaf in unit.tensors:
        rule = rules.get(leaf.name)
        if rule is None:
            return None
        if rule.paddle is not None:
            shape = leaf.shape
            if side == "paddle" and rule.axes is not None:
                try:
                    shape = rule.axes.back().shape(shape)
                except ValueError:
                    return None
            found.append((rule.leaf, shape))
    return tuple(sorted(found))


def bare(model: Tree) -> Iterator[tuple[Unit, Leaf]]:
    """Give the tensors that are in no layer of a known kind."""
    for unit in model.units.values():
        if unit.cls != SHARED and model.tokens.get(unit.name, ("", ()))[0] == "":
            for leaf in unit.tensors:
                yield unit, leaf


def ends(model: Tree) -> list[str]:
    """Name the layers that run and have none within, in order of execution."""
    inner = {*model.holders.values()}
    ran = [u for u in model.units.values() if u.entered is not None and u.name]
    ends = [u for u in ran if u.name in model.tokens or u.name not in inner]
    return [unit.name for unit in sorted(ends, key=lambda unit: unit.entered or 0)]


def contents(model: Tree, paired: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Name, for each layer that runs and holds others, the paired layers beneath it."""
    found = defaultdict[str, set[str]](set)
    for name, torch in paired.items():
        for holder in model.above(model.holders[name]):
            if model.units[holder].calls and holder not in model.tokens:
                found[holder].add(torch)
    return {name: frozenset(found[name]) for name in model.units if name in found}


def join(layer: str, leaf: str) -> str:
    return f"{layer}.{leaf}" if layer else leaf
