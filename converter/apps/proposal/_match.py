"""Pair the layers of two outlines: what runs where, with which tensors, under which name.

Both models are trees of calls. From the root down, what a layer's code calls is put side by side by
the tensors beneath it, in the order of execution; what has no counterpart is opened and its parts
take its place, so that neither has to be nested as the other is. Needs NumPy for nothing, and
neither framework.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import partial

from ...errors import some
from ...sides import SIDES
from ...tables.kinds import Kind
from ...tables.reading import read_kinds
from ._align import align, closest, listed, rank, similarity, skeleton
from ._lone import one_sided, why_alone
from ._nested import exchangeable
from ._outline import Leaf, Outline, Shape, Unit
from ._rows import Group, Match, Proposed, Unclaimed
from ._tree import Token, Tree, apt, bare, contents, ends, join

_Sides = tuple[list[str], list[str]]  # names of either
_MOST_NAMES = 3  # of layers that a row could name as well
_Form = tuple[Shape, bool, bool]  # of a bare tensor; whether it holds integers, and is unused


def match_outlines(
    torch: Outline,
    paddle: Outline,
    choices: Mapping[Hashable, int] | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Match:
    """Pair two outlines.

    Args:
        torch: Of the PyTorch model.
        paddle: Of the Paddle model.
        choices: Key of a group -> which of its options to take; the first if it is not there.
        kinds: By name; the shipped ones if None.
    """
    kinds = apt(read_kinds() if kinds is None else kinds, torch, paddle)
    found = _match(torch, paddle, choices or {}, kinds, loose=False)
    if found.problems:
        # A bias that one side lacks keeps a layer, and all around it, from being paired.
        looser = _match(torch, paddle, choices or {}, kinds, loose=True)
        found = min(found, looser, key=lambda match: len(match.problems))
    return found


def _match(
    torch: Outline,
    paddle: Outline,
    choices: Mapping[Hashable, int],
    kinds: Mapping[str, Kind],
    loose: bool,
) -> Match:
    trees = Tree(torch, "torch", kinds, loose), Tree(paddle, "paddle", kinds, loose)
    return _Matcher(*trees, choices, kinds).match()


class _Matcher:
    """Pairs two models."""

    def __init__(
        self,
        torch: Tree,
        paddle: Tree,
        choices: Mapping[Hashable, int],
        kinds: Mapping[str, Kind],
    ) -> None:
        self.torch, self.paddle, self.choices, self.kinds = torch, paddle, choices, kinds
        self.found = Match()
        self.pairs: dict[str, str] = {}  # layers with tensors
        self.scopes: dict[str, str] = {}  # layers that hold such layers
        self.notes: dict[str, str] = {}  # of a PyTorch layer, and of all beneath it
        self.leaves: dict[str, str] = {}  # bare tensors

    def match(self) -> Match:
        """Pair everything, from what says most to what says least."""
        self.scopes[""] = ""
        self._align(self.torch.parts(""), self.paddle.parts(""), ("", ""))
        self._exchange()
        self._rest()
        self._bare_tensors()
        self._tensorless()
        self._blocks()
        self._unclaimed()
        self.found.rows.sort(key=lambda row: row.order)
        return self.found

    def _align(self, torch: list[str], paddle: list[str], within: tuple[str, str]) -> None:
        """Pair what runs within a pair of layers, then what runs within that."""
        while True:
            pairs, doubts = self._side_by_side(torch, paddle, within)
            taken = {name for pair in pairs for name in pair}
            closed = [name for name in torch if name not in taken and self.torch.opens(name)]
            others = [name for name in paddle if name not in taken and self.paddle.opens(name)]
            if not closed and not others:
                break
            # The largest first: one model's stages are opened before the other one's blocks.
            sizes = *map(self.torch.size, closed), *map(self.paddle.size, others)
            torch = self.torch.open(torch, closed, max(sizes))
            paddle = self.paddle.open(paddle, others, max(sizes))
        self.notes |= doubts
        for one, other in self._follow(self._in_parallel(pairs)):
            leaves = one in self.torch.tokens, other in self.paddle.tokens
            if all(leaves):
                self.pairs[one] = other
            elif not any(leaves):
                self.scopes[one] = other
            alike = leaves[0] == leaves[1]
            ones = self.torch.parts(one) if alike or not leaves[0] else [one]
            others = self.paddle.parts(other) if alike or not leaves[1] else [other]
            if ones and others:
                self._align(ones, others, (one, other))

    def _side_by_side(
        self, torch: Sequence[str], paddle: Sequence[str], within: tuple[str, str]
    ) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Pair what has the same tensors beneath it: in order, then what runs out of order.

        Returns:
            The pairs, and why some are uncertain, by PyTorch name.
        """
        pairs, doubts = dict[str, str](), dict[str, str]()
        # First what is also fed by the same kind of layer: a norm goes with its convolution.
        for label in (Tree.label, lambda tree, name, _scope: tree.bags[name]):
            sides = zip((self.torch, self.paddle), (torch, paddle), within, strict=True)
            labels = [{name: label(model, name, scope) for name in n} for model, n, scope in sides]
            pairs |= align(torch, paddle, pairs, partial(self._alike, labels))
            left = defaultdict[Hashable, _Sides](lambda: ([], []))
            for i, taken in enumerate((pairs.keys(), {*pairs.values()})):
                for name, what in labels[i].items():
                    if name not in taken:
                        left[what][i].append(name)
            for ones, others in left.values():
                for one, other in closest(ones, others):
                    pairs[one] = other
                    if len(ones) + len(others) > 2:
                        alternatives = some([n for n in others if n != other], _MOST_NAMES)
                        doubts[one] = (
                            f"{one} runs at another place than {other}; "
                            f"{alternatives or 'another layer'} has the same shapes"
                        )
        return list(pairs.items()), doubts

    def _alike(
        self, labels: Sequence[Mapping[str, Hashable]], one: str, other: str
    ) -> float | None:
        """Score two layers with the same label by their names and the shapes of their outputs."""
        if labels[0][one] != labels[1][other]:
            return None
        same = self.torch.units[one].outputs == self.paddle.units[other].outputs
        return similarity(one, other) + same

    def _in_parallel(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Reorder layers that are given the same tensor: their order of execution says nothing."""
        groups = defaultdict[Hashable, list[tuple[str, str]]](list)
        for one, other in pairs:
            groups[self.torch.bags[one], self.torch.units[one].sources].append((one, other))
        merged = defaultdict[Hashable, list[tuple[str, str]]](list)
        # One side may recompute what it gives to each; the other one's word is enough.
        for members in groups.values():
            if len(members) > 1 and self.torch.units[members[0][0]].sources:
                merged[members[0]] = members
                continue
            for one, other in members:
                sources = self.paddle.units[other].sources
                merged[self.paddle.bags[other], sources or one].append((one, other))
        return [pair for members in merged.values() for pair in self._choose(members)]

    def _follow(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Let what directly follows a layer go where that layer went."""
        found = dict(sorted(pairs, key=lambda pair: self.torch.units[pair[0]].entered or 0))
        back = {other: one for one, other in found.items()}
        for one, other in list(found.items()):
            feeder = next((found[n] for n in self.torch.feeders[one] if n in found), None)
            if feeder is None or feeder in self.paddle.feeders[found[one]]:
                continue
            for wanted, holder in back.items():
                fed = feeder in self.paddle.feeders[wanted]
                if fed and self.paddle.bags[wanted] == self.paddle.bags[other]:
                    mine = found[one]
                    found[one], found[holder] = wanted, mine
                    back[wanted], back[mine] = one, holder
                    break
        return list(found.items())

    def _choose(self, members: list[tuple[str, str]], what: str = "") -> list[tuple[str, str]]:
        """Pair the members of a group as names say, or as was chosen, and note the doubt."""
        if len(members) < 2:
            return members
        torch, paddle = (tuple(names) for names in zip(*members, strict=True))
        options, doubt = rank(torch, paddle)
        key = (tuple(map(skeleton, torch)), tuple(map(skeleton, paddle)))
        what = what or "are given the same tensor and have the same shapes"
        note = f"{listed(torch)} {what}; {doubt}" if doubt else ""
        self.found.groups.append(Group(key, torch, paddle, options, note))
        chosen = options[self.choices.get(key, 0) % len(options)]
        made = [(one, paddle[i]) for one, i in zip(torch, chosen, strict=True)]
        if note:
            for one, other in made:
                others = listed([name for name in paddle if name != other])
                self.notes[one] = f"{note}. Could be {others} as well"
        return made

    def _exchange(self) -> None:
        """Note what nesting leaves open, and exchange it if that was chosen."""
        models = self.torch, self.paddle
        for group in exchangeable(*models, self.pairs, self.scopes, self.found.groups):
            self.found.groups.append(group)
            if number := self.choices.get(group.key, 0) % len(group.options):
                order = group.options[number]
                chosen = zip(group.torch, (group.paddle[i] for i in order), strict=True)
                self.pairs |= chosen
                self.pairs |= self._follow(
                    [(one, other) for one, other in self.pairs.items() if self.torch.runs(one)]
                )

    def _rest(self) -> None:
        """Pair layers with tensors that never run, or run where nothing is like them."""
        done = set(self.pairs), set(self.pairs.values())
        left = defaultdict[Token, _Sides](lambda: ([], []))
        for i, model in enumerate((self.torch, self.paddle)):
            for name, token in model.tokens.items():
                if name not in done[i]:
                    left[token][i].append(name)
        for ones, others in left.values():
            for one, other in closest(ones, others):
                self.pairs[one] = other
                runs = self.torch.units[one].calls, self.paddle.units[other].calls
                where = "never runs, so that no run can show it"
                if all(runs):
                    where = "runs elsewhere"
                elif _runs(self.torch.units[one]) and _runs(self.paddle.units[other]):
                    where = "never runs by itself: other code takes its tensors"
                self.notes[one] = f"{one} {where}; paired by shapes and name"
                if alternatives := [name for name in others if name != other]:
                    self.notes[one] += f". Could be {some(alternatives, _MOST_NAMES)} as well"

    def _bare_tensors(self) -> None:
        """Make rows of layers; pair the tensors that are in no layer of a known kind."""
        found = defaultdict[tuple[str | None, _Form], _Sides](lambda: ([], []))
        owners = {**self.scopes, **{t: p for t, p in self.pairs.items() if not self.torch.kinds[t]}}
        known = {**dict(zip(owners.values(), owners, strict=True))}
        for one, other in self.pairs.items():
            if kind := self.paddle.kinds[other]:
                self._add(one, other, kind.name)
            else:
                classes = self.torch.units[one].cls, self.paddle.units[other].cls
                what = " and ".join(classes)
                self._note(one, f"{what} are of no kind; tensors are taken as they are")
                self._add(one, other, "block")
        for i, model in enumerate((self.torch, self.paddle)):
            for unit, leaf in bare(model):
                owner: str | None = unit.name if i == 0 else known.get(unit.name)
                owner = owner if owner in owners else None
                found[owner, _form(leaf)][i].append(join(unit.name, leaf.name))
        leftover = defaultdict[_Form, _Sides](lambda: ([], []))
        for (_owner, form), sides in found.items():
            if len(sides[0]) == len(sides[1]):
                members = closest(*sides)
                self.leaves |= self._choose(members, "are bare tensors of the same shape")
            else:
                for i in (0, 1):
                    leftover[form][i].extend(sides[i])
        for sides in leftover.values():
            for one, other in closest(*sides):
                self.leaves[one] = other
                if len(sides[0]) + len(sides[1]) > 2:
                    self._note(one, "several bare tensors have this shape; paired by name")
        for one, other in self.leaves.items():
            self._add(one, other, "param")

    def _tensorless(self) -> None:
        """Pair layers without tensors, such as activations, by what runs around them."""
        names = ends(self.torch), ends(self.paddle)

        def alike(one: str, other: str) -> float | None:
            units = self.torch.units[one], self.paddle.units[other]
            groups = self.torch.groups[one], self.paddle.groups[other]
            if not groups[0] or groups[0] != groups[1]:
                return None
            if units[0].calls != units[1].calls or units[0].outputs != units[1].outputs:
                return None
            return similarity(one, other)

        plain = dict[str, str]()
        for one, other in align(*names, self.pairs, alike):
            kind = self.paddle.kinds[other]
            if one not in self.pairs and kind:
                self._add(one, other, kind.name)
                plain[one] = other
        done = set(plain), set(plain.values())
        for i, model in enumerate((self.torch, self.paddle)):
            for name in names[i]:
                if name not in done[i] and name not in model.tokens:
                    self.found.left_out.append((SIDES[i], name))

    def _blocks(self) -> None:
        """Pair layers that hold the same paired layers, and give as many and as large outputs."""
        back = {p: t for t, p in self.pairs.items()}
        inside = [
            contents(self.torch, {name: name for name in self.pairs}),
            contents(self.paddle, back),
        ]
        by_contents = defaultdict[Hashable, _Sides](lambda: ([], []))
        for i, model in enumerate((self.torch, self.paddle)):
            for name, held in inside[i].items():
                unit = model.units[name]
                by_contents[held, unit.outputs, unit.calls][i].append(name)
        for ones, others in by_contents.values():
            # Of several around the same layers the outermost are paired first.
            for one, other in zip(ones, others, strict=False):
                self._add(one, other, "block")

    def _unclaimed(self) -> None:
        """Say which tensors no row claims, and name those that one side alone needs."""
        known = set(self.torch.tokens) & set(self.pairs), set(self.pairs.values())
        leaves = set(self.leaves), set(self.leaves.values())
        alone = self.found.ignore, self.found.paddle_only
        for i, model in enumerate((self.torch, self.paddle)):
            for unit in model.units.values():
                for leaf in unit.tensors:
                    key = join(unit.name, leaf.name)
                    if (unit.name in known[i] and model.kinds[unit.name]) or key in leaves[i]:
                        continue
                    if unit.alias:  # of a layer that has its row, or is a problem, by that name
                        alone[i][key] = f"another name of {join(unit.alias, leaf.name)}"
                    elif why := why_alone(SIDES[i], unit, leaf, model.kinds[unit.name]):
                        alone[i][key] = why
                    else:
                        of_kind = model.kinds[unit.name] is not None
                        is_layer = unit.name not in model.outer
                        self.found.problems.append(
                            Unclaimed(
                                SIDES[i], unit.name, key, leaf.shape, unit.cls, of_kind, is_layer
                            )
                        )
        for one, other in self.pairs.items():
            if kind := self.paddle.kinds[other]:
                units = self.torch.units[one], self.paddle.units[other]
                for leaf, why, problem in one_sided(*units, kind):
                    if problem:
                        self.found.problems.append(problem)
                    else:
                        self.found.paddle_only[join(other, leaf.name)] = why

    def _note(self, torch: str, text: str) -> None:
        self.notes[torch] = f"{self.notes[torch]}; {text}" if torch in self.notes else text

    def _add(self, torch: str, paddle: str, kind: str) -> None:
        """Add a row; its doubts are its own and those of what it is in."""
        owner = torch if torch in self.torch.units else self.torch.holder(torch)
        unit, traced = self.torch.units[owner], self.kinds[kind].traced
        ran = _runs(unit), kind == "param" or _runs(self.paddle.units[paddle])
        runs = traced and (owner == "" or all(ran))
        # A block stands behind what it holds, a bare tensor before what its layer holds.
        first = unit.entered if unit.entered is not None else (-1 if owner == "" else float("inf"))
        order = (first, 0) if kind == "param" else (self._last(owner), 1 + (unit.left or 0))
        note = next((self.notes[n] for n in self.torch.above(torch) if n in self.notes), "")
        row = Proposed(torch, paddle, kind, note, bool(note), runs, order)
        self.found.rows.append(row)

    def _last(self, name: str) -> float:
        """Give the place of the last layer that runs within another."""
        unit = self.torch.units[name]
        if unit.entered is None:
            return float("inf")
        return max([unit.entered, *map(self._last, self.torch.children.get(name, []))])


def _form(leaf: Leaf) -> _Form:
    return leaf.shape, leaf.integer, leaf.used is False


def _runs(unit: Unit) -> bool:
    """Tell whether a run shows what a layer holds: it runs, or other code takes its tensors."""
    return bool(unit.calls) or _used(unit)


def _used(unit: Unit) -> bool:
    return any(leaf.used for leaf in unit.tensors)
