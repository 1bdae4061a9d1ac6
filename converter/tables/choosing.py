"""Which tensors of a file are the weights: those whose names and shapes fit a table.

The room of checkpoints knows wrappers by their looks alone. Here a prefix of the user's own is
found: wherever names of the model end a name in the file, what stands before is a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..checkpoints import Checkpoint, Contents, Renames, Selection, Tensor, read_contents
from ..checkpoints.contents import Keys
from ..checkpoints.selection import WRAPPERS, check_renames
from ..errors import CheckpointError, listing, some
from ..lines import Lines
from ..markdown import quoted
from ..sides import SIDES, Side
from ._choice import Asked, Choice, distinct, outermost, preferred, same_place
from ._places import anchors, places
from .border import find_names
from .heads import parts_to_drop
from .identify import Fit, closest, fit
from .names import Names
from .reading import families, load_table
from .spelled import side_patterns
from .table import Table
from .variant import Variant

_BYTES = "uint8"  # of a random generator's state
_MOST_SPELLED = 10_000  # tensors of a file whose names may be a dialect's: no model has as many


def choose_weights(
    path: str | Path, table: Table, variant: str | None, asked: Asked
) -> tuple[Checkpoint, Choice | None]:
    """Open a file, and choose the weights that fit a table; without reading a tensor.

    Args:
        path: The file.
        table: Of the family, or of a model of the user's own.
        variant: Of the family; any if None.
        asked: What the user says of the file.

    Returns:
        The weights that fit whole, and how they do; or else those that come closest, for a message
        that says what does not fit. Names are those of the file.

    Raises:
        CheckpointError: As of `open_checkpoint`; or several sets of weights fit, and none is
            called "model".
        ConversionError: There is no such dialect or target.
    """
    contents = read_contents(path)
    chooser = _Chooser(contents, table, variant, asked)
    base = None if asked.weights is None else contents.find(asked.weights)
    found, rivals = chooser.choose(base)
    if found is not None and len(rivals) > 1:
        raise CheckpointError(_several(contents, table, rivals)).asking(
            "--weights", side=found.side
        )
    if found is None or found.distance:
        other = _another(contents, table, variant, base, asked)
        if other is not None:
            return contents.select(other.selection), None
        if found is None or 2 * found.claimed < len(found.tensors):
            guess, options = contents.guess(base)  # raises if there are several
            return contents.select(replace(guess, rename=chooser.rename), options), None
    return contents.select(found.selection, chooser.options(found, base)), found


def look(
    path: str | Path, weights: str | None = None, rename: Renames | None = None
) -> tuple[Checkpoint, list[Choice], Choice | None]:
    """Open a file as `open_weights` would for the family it looks like; never refuse a choice.

    Returns:
        The weights: those that fit a variant, or else come close, or else the largest; all
        selections that fit a variant, if there are several; and the choice that comes close to a
        variant where none fits, if one does.

    Raises:
        CheckpointError: The file cannot be read or holds no tensors.
    """
    contents = read_contents(path)
    base = None if weights is None else contents.find(weights)
    usual, options = contents.guess(base, lenient=True)
    found: list[Choice] = []
    for name in families():
        chooser = _Chooser(contents, load_table(name), None, Asked(rename=rename))
        found += chooser.choices(base, every=True)
    whole = outermost(distinct(one for one in found if not one.distance))
    if whole:
        own = [one for one in whole if same_place(one.selection, usual)]
        first = own[0] if own else (preferred(whole) or whole[0])
        others = _others(first.selection, [*options, *(one.selection.path for one in whole)])
        return contents.select(first.selection, others), whole, None
    near = min(found, key=lambda one: one.distance, default=None)
    if near is None or 2 * near.distance >= len(near.tensors):
        return contents.select(replace(usual, rename=check_renames(rename)), options), [], None
    others = _others(near.selection, options)
    return contents.select(near.selection, others), [], near


class _Chooser:
    """Looks for the tensors of a file that fit a table."""

    def __init__(
        self,
        contents: Contents,
        table: Table,
        variant: str | None,
        asked: Asked,
    ) -> None:
        self.contents, self.table, self.num_classes = contents, table, asked.num_classes
        self.variant = table.variants.get(variant) if variant is not None else None
        known = contents.facts.get("side") or asked.side
        self.sides: tuple[Side, ...] = (known,) if known else SIDES
        self.rename = check_renames(asked.rename)
        names = [word for keys in contents.entries for word in keys if "_" in word or "mod" in word]
        self.words = tuple(word for word in WRAPPERS if any(word in name for name in names))
        self.places = {keys[:-1] for keys in contents.entries}
        self.spellings: dict[Side, list[Names | None]] = {
            side: [None, *table.names_on(side).values()] for side in SIDES
        }
        for side, name in asked.names:
            self.spellings[side] = [find_names(table, side, name)]

    def choose(self, base: Selection | None) -> tuple[Choice | None, list[Choice]]:
        """Find the one choice; and all that fit whole, if they are several."""
        choices = self.choices(base)
        most = max((one.claimed for one in choices), default=0)
        whole = distinct(one for one in choices if not one.distance and 2 * one.claimed > most)
        if not whole:
            order = self._distance if self.table.variants else self._unclaimed
            return min(choices, key=order, default=None), []
        usual = self._usual(base)
        own = [one for one in whole if usual and same_place(one.selection, usual)]
        chosen = own[0] if own else preferred(whole)
        if chosen and self._may_have_head(chosen):
            chosen = next((one for one in whole if one.adds_head(chosen)), chosen)
        return (chosen, [chosen]) if chosen else (whole[0], whole)

    def _may_have_head(self, found: Choice) -> bool:
        """Tell whether a head may stand beside what was found: names of a dialect may say so."""
        is_part = bool(found.selection.prefix) and self.num_classes is None
        return is_part and not found.fit.num_classes and len(self.spellings[found.side]) > 1

    def _distance(self, one: Choice) -> tuple[int, int]:
        return one.distance, -one.claimed

    def _unclaimed(self, one: Choice) -> tuple[int, int]:
        return -one.claimed, 0  # without shapes, a part of the model fits as well as all of it

    def options(self, found: Choice, base: Selection | None) -> list[str]:
        """Name the other places in the file that hold weights."""
        if len(found.tensors) == len(self.contents.entries):
            return []
        near = [one for one in self.choices(base, every=True) if not one.distance]
        near = [one for one in near if 2 * one.claimed > found.claimed and not found.adds_head(one)]
        usual = self.contents.guess(base, lenient=True)[1]
        return _others(found.selection, [*usual, *(one.selection.path for one in near)])

    def _usual(self, base: Selection | None) -> Selection | None:
        """Give what the looks of the names alone would choose; None if that is undecided."""
        try:
            return self.contents.guess(base)[0]
        except CheckpointError:
            return None

    def choices(self, base: Selection | None, every: bool = False) -> list[Choice]:
        """Try the usual place, then wherever names of the model are."""
        found: list[Choice] = []
        usual = self._usual(base)
        for one in self._nearby(usual or self.contents.guess(base, lenient=True)[0]):
            found += self._tried(one)
            whole = usual and found and not found[-1].distance
            if not every and whole and not self._may_have_head(found[-1]):
                return found
        root = f"{base.path}." if base is not None and base.path else ""
        prefixes = places(self.contents, self.table, self.sides, root)
        for one in prefixes:
            found += self._tried(one, prefixes)
        return found

    def _nearby(self, usual: Selection) -> Iterator[Selection]:
        """Give the usual place, and the same without a prefix: a layer may be called "module"."""
        yield usual
        if usual.prefix:
            yield replace(usual, prefix="")

    def _tried(self, place: Selection, others: Sequence[Selection] = ()) -> list[Choice]:
        """Compare the tensors of a place with the table, in every way that they may be taken."""
        found: list[Choice] = []
        for way in self._ways(place, others):
            try:
                places = self.contents.names(way)
            except CheckpointError:
                continue  # two would have one name
            found += [
                one
                for side in self.sides
                for names in self._spellings(side, len(places))
                if (one := self._compared(way, places, side, names))
            ]
            if found and not min(one.distance for one in found):
                break
        return sorted(found, key=lambda one: one.distance)[:1]

    def _spellings(self, side: Side, count: int) -> list[Names | None]:
        """Give the names to try for so many tensors: of too many, the table's own alone."""
        own = self.spellings[side]
        return own if count <= _MOST_SPELLED or not self.table.variants else own[:1]

    def _ways(self, place: Selection, others: Sequence[Selection]) -> Iterator[Selection]:
        place = replace(place, rename=self.rename)
        yield place
        if self.words:
            yield from self._without_words(place)
        root = f"{place.path}." if place.path else ""
        within = (one.path for one in others if one.path != place.path)
        if without := tuple(path[len(root) :] for path in within if path.startswith(root)):
            yield replace(place, without=(*place.without, *without))
        depth = len(place.wrapper)
        if any(len(at) > depth and at[:depth] == place.wrapper for at in self.places):
            yield replace(place, nested=True)
            if self.words:
                yield replace(place, nested=True, inner=self.words)

    def _without_words(self, place: Selection) -> Iterator[Selection]:
        """Remove words of wrappers within names: all, or fewer, as one may be a layer's name."""
        yield replace(place, inner=self.words)
        for kept in self.words if len(self.words) > 1 else ():
            yield replace(place, inner=tuple(word for word in self.words if word != kept))

    def _compared(
        self, chosen: Selection, places: Mapping[str, Keys], side: Side, names: Names | None
    ) -> Choice | None:
        """Compare a selection with the table; None if nothing of the table is there."""
        if not places:
            return None
        known = anchors(self.table, side, names)
        if self.table.variants and not any(name in places for name in known):
            return None  # nothing of the model is here: there is no need to list all that differs
        tensors = {name: self.contents.entries[keys] for name, keys in places.items()}
        usual = _usual(tensors, names)
        shapes = {usual[name]: tensor.shape for name, tensor in tensors.items()}
        out: list[str] = []
        lone: list[str] = []
        match = self._fit(shapes, side, names)
        if self.num_classes == 0:
            if names is None:
                out = parts_to_drop(shapes, match.variant, self.table, side)
            else:
                lone = _of_head(tensors, match.variant, self.table, side, names)
            chosen = replace(chosen, headless=True)
        if self.table.variants:
            lone += [
                k for k in match.extra if "." not in k and k in tensors and _is_lone(tensors[k])
            ]
        if out or lone:
            chosen = replace(chosen, without=(*chosen.without, *out), lone=(*chosen.lone, *lone))
            places = self.contents.names(chosen)
            shapes = {key: shapes[key] for key in (usual[name] for name in places)}
            match = self._fit(shapes, side, names)
        if chosen.inner:
            used = {
                word
                for keys in places.values()
                for word in chosen.inner
                if word in keys[-1].split(".", 64)
            }
            chosen = replace(chosen, inner=tuple(word for word in chosen.inner if word in used))
        same = frozenset(
            (name, id(one.storage), one.offset, one.strides)
            for name, one in ((name, tensors[name]) for name in places)
        )
        if names is not None:
            chosen = replace(chosen, spelling=names.name)
        return Choice(chosen, side, match, match.distance, same, names) if shapes else None

    def _fit(self, shapes: dict[str, tuple[int, ...]], side: Side, names: Names | None) -> Fit:
        if self.variant is not None:
            return fit(shapes, self.variant, self.table, side, names=names)
        return closest(shapes, self.table, side, names)


def _usual(tensors: Iterable[str], names: Names | None) -> dict[str, str]:
    """Spell each name as a dialect or a target usually does, unless another is spelled so."""
    found = {name: name for name in tensors}
    if names is None:
        return found
    taken = set(found)
    for name in found:
        own = names.usual(name)
        if own not in taken:
            taken.add(own)
            found[name] = own
    return found


def _of_head(
    tensors: Iterable[str], variant: Variant, table: Table, side: Side, names: Names
) -> list[str]:
    """Name the tensors of a head that has other names than ours, or is of another kind."""
    patterns = side_patterns(variant, table, side, names)
    return [
        name
        for name in tensors
        if "num_classes" in patterns.get(names.usual(name), ()) or names.other_head_of(name)
    ]


def _others(chosen: Selection, paths: Iterable[str]) -> list[str]:
    """Leave out what leads to the chosen weights themselves."""
    own = chosen.path
    known = [one for one in dict.fromkeys(paths) if one]
    leading = {path[:at] for path in (own, *known) for at, c in enumerate(path) if c == "."}
    return [one for one in known if one != own and one not in leading]


def _is_lone(tensor: Tensor) -> bool:
    """Tell whether a tensor is a counter, a metric or a random state and no weight."""
    return max(tensor.shape, default=1) <= 1 or tensor.dtype == _BYTES


def _several(contents: Contents, table: Table, found: Sequence[Choice]) -> Lines:
    """Say which sets of weights there are, and how to choose."""
    shown = some([one.spell() for one in found])
    return listing(
        f"{contents.path}: several of its weights fit {table.file}: {shown}. Choose one:",
        [f"--weights {quoted(one.selection.path)}" for one in found if one.selection.path],
    )


def _another(
    contents: Contents,
    table: Table,
    variant: str | None,
    base: Selection | None,
    asked: Asked,
) -> Choice | None:
    """Find weights of another variant or family, so that a refusal can name it."""
    for name in families() if table.variants else ():
        other = load_table(name)
        if other.path != table.path or variant is not None:
            found = _Chooser(contents, other, None, Asked(rename=asked.rename)).choose(base)[0]
            if found is not None and not found.distance:
                return found
    return None
