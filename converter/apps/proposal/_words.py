"""Say what a table leaves open: one line for each fact, however many layers it is true of."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from ...errors import some
from ...sides import NAMES, SIDES, Side
from ._align import skeleton
from ._division import Division, divisions
from ._outline import Shape
from ._rows import Proposed, Unclaimed

_LETTERS = "ijklmnopq"
_MOST_SHAPES, _MOST_ROWS = 3, 3
_FIGURE = re.compile(r"[-+]?[0-9][0-9.]*(e[-+]?[0-9]+)?")
_WORD = re.compile(r"[\w.]+")


def spell_names(names: Iterable[str]) -> list[str]:
    """Spell names that differ in numbers alone as one, with {i} where the numbers vary."""
    alike = defaultdict[str, list[str]](list)
    for name in names:
        alike[skeleton(name)].append(name)
    return [_pattern(members) for members in alike.values()]


def _pattern(names: Sequence[str]) -> str:
    letters, columns = iter(_LETTERS), zip(*(re.findall("[0-9]+", n) for n in names), strict=True)
    marks = [f"{{{next(letters, 'n')}}}" if len({*c}) > 1 else c[0] for c in columns]
    at = iter(marks)
    return re.sub("[0-9]+", lambda _number: next(at), names[0])


def count(number: int, what: str) -> str:
    """Count things: 1 row, 2 rows."""
    return f"{number} {what}{'s' * (number != 1)}"


def fold_rows(rows: Sequence[Proposed], names: Iterable[str]) -> list[str]:
    """Give a line for each reason why rows are uncertain; their number, and the first of them.

    Args:
        rows: Each with its note.
        names: Of all layers and tensors: in a reason they are its instances.
    """
    known, reasons = {*names}, defaultdict[str, list[Proposed]](list)
    for row in rows:
        reasons[_reason(row.note, known)].append(row)
    return [_rows(found) for found in reasons.values()]


def _rows(rows: Sequence[Proposed]) -> str:
    pairs = [f"{row.torch} | {row.paddle}" for row in rows]
    if len(pairs) == 1:
        return f"{pairs[0]}: {rows[0].note}"
    return f"{len(pairs)} rows ({some(pairs, _MOST_ROWS)}): {rows[0].note}"


def _reason(text: str, names: set[str]) -> str:
    """Take the names and figures out of a text."""

    def put(match: re.Match[str]) -> str:
        word = match[0].rstrip(".")
        return "*" + match[0][len(word) :] if word in names else match[0]

    text = _FIGURE.sub("#", _WORD.sub(put, text))
    return re.sub(r"\*((, | and )\*)+", "*", text)


def fold_left_out(
    found: Sequence[tuple[Side, str]], classes: Mapping[tuple[Side, str], str]
) -> list[str]:
    """Give a line for each side: how many layers of which classes the other one lacks.

    Args:
        found: Layers without tensors.
        classes: Of every layer.
    """
    lines = []
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        kinds = Counter(_short(classes[one]) for one in found if one[0] == side)
        if total := sum(kinds.values()):
            listed = some([f"{number} {name}" for name, number in kinds.most_common()])
            lines.append(
                f"{count(total, f'{NAMES[side]} layer')} without tensors, as {NAMES[other]} has "
                f"none there: {listed}"
            )
    return lines


def list_left_out(
    found: Sequence[tuple[Side, str]], classes: Mapping[tuple[Side, str], str]
) -> list[str]:
    """Give a line for each class on each side, with all names."""
    by_class = defaultdict[tuple[Side, str], list[str]](list)
    for side, name in found:
        by_class[side, classes[side, name]].append(name)
    return [
        f"{NAMES[side]} {cls}: {', '.join(spell_names(names))}"
        for (side, cls), names in by_class.items()
    ]


def fold_problems(problems: Sequence[Unclaimed | str], most: int = 2) -> list[str]:
    """Give a line for each reason why tensors have no row, with at most so many names each."""
    texts = defaultdict[str, list[str]](list)
    for one in problems:
        if isinstance(one, str):
            texts[_FIGURE.sub("#", one)].append(one)
    lines = [f"{t[0]} ({len(t)} such tensors)" if len(t) > 1 else t[0] for t in texts.values()]
    tensors = [one for one in problems if isinstance(one, Unclaimed)]
    divided = [*divisions(tensors)]
    told = {one for found in divided for one in (*found.few, *found.many)}
    tensors = [one for one in tensors if one not in told]
    layers = _Leftover([one for one in tensors if one.is_layer], most)
    bare = _bare([one for one in tensors if not one.is_layer], most)
    return [*(_divided(one) for one in divided), *layers.lines(), *bare, *lines]


def _divided(found: Division) -> str:
    """Say which tensors of one model are several of the other."""
    few, many = (_holders(side) for side in (found.few, found.many))
    return (
        f"{NAMES[found.few[0].side]} keeps in one tensor what {NAMES[found.many[0].side]} keeps "
        f"in {found.times}: {few} beside {many}; a target of the table can join or split them"
    )


def target_row(found: Division) -> str:
    """Write the row of a target for the first of such tensors; OURS is a name to invent."""
    few, many = (
        spell_names(dict.fromkeys(one.layer if one.is_layer else one.key for one in side))
        for side in (found.few, found.many)
    )
    if found.few[0].side == "torch":
        return f"[{json.dumps(many[: found.times])}, {json.dumps('OURS')}]"
    ours = [f"OURS_{number + 1}" for number in range(found.times)]
    return f"[{json.dumps(few[0])}, {json.dumps(ours)}]"


def _holders(tensors: Sequence[Unclaimed]) -> str:
    """Spell the layers of tensors, or the tensors themselves where a layer holds others."""
    names = dict.fromkeys(one.layer if one.is_layer else one.key for one in tensors)
    return some(spell_names(names), _MOST_ROWS)


def classes_without_kind(problems: Sequence[Unclaimed | str]) -> list[str]:
    """Name the classes of layers that no kind describes and whose tensors have no row."""
    tensors = [one for one in problems if isinstance(one, Unclaimed)]
    return [*dict.fromkeys(one.cls for one in tensors if one.is_layer and not one.known)]


class _Leftover:
    """Layers that no row claims, by side and class."""

    def __init__(self, tensors: Sequence[Unclaimed], most: int) -> None:
        shapes = defaultdict[tuple[Side, str], dict[str, set[Shape]]](dict)
        self.known = {(one.side, one.cls): one.known for one in tensors}
        for one in tensors:
            # Axes in any order, and without counters: Paddle turns some, and has none of these.
            found = shapes[one.side, one.cls].setdefault(one.layer, set())
            if one.shape:
                found.add(tuple(sorted(one.shape)))
        self.shapes, self.most = shapes, most

    def lines(self) -> list[str]:
        """Say what is left of each class, and of which class of the other side as much is left."""
        lines, told = list[str](), set[tuple[Side, str]]()
        # First what has no kind: that is why what it belongs to is left, too.
        for own in sorted(self.shapes, key=lambda key: self.known[key]):
            if own not in told:
                told.add(own)
                twin, number = self._twin(own, told)
                lines.append(self._line(own, twin, number))
                told |= {twin} if twin else set()
        return lines

    def _twin(
        self, own: tuple[Side, str], told: set[tuple[Side, str]]
    ) -> tuple[tuple[Side, str] | None, int]:
        """Find the class of the other side of which most layers have the same shapes."""
        mine = self._counted(own)
        best: tuple[tuple[Side, str] | None, int] = None, 0
        for other in self.shapes:
            if other[0] != own[0] and other not in told and not (self.known[own]):
                number = (mine & self._counted(other)).total()
                best = max(best, (other, number), key=lambda found: found[1])
        return best

    def _counted(self, key: tuple[Side, str]) -> Counter[Hashable]:
        return Counter(map(frozenset, self.shapes[key].values()))

    def _line(self, own: tuple[Side, str], twin: tuple[Side, str] | None, number: int) -> str:
        side, cls = own
        names = some(spell_names(self.shapes[own]), self.most)
        what = f"{count(len(self.shapes[own]), f'{NAMES[side]} layer')} of {cls} ({names})"
        if twin is not None:
            left = count(number, f"{NAMES[twin[0]]} layer")
            neither = "" if self.known[twin] else ", a class without a kind as well,"
            return (
                f"{what}: no row, as no kind describes this class; {left} of {twin[1]}{neither} "
                f"with the same shapes {'is' if number == 1 else 'are'} left over"
            )
        other = NAMES[SIDES[side == "torch"]]
        if not self.known[own]:
            return f"{what}: no kind describes this class; {other} has nothing of these shapes left"
        kept = sorted({shape for found in self.shapes[own].values() for shape in found})
        shapes = some([str(list(shape)) for shape in kept], _MOST_SHAPES)
        if all(found == side for found, _cls in self.shapes):
            return f"{what}: {other} has no such layer; not the same function"
        return f"{what}: {other} has no such layer left with tensors of {shapes}, in any order"


def _bare(tensors: Sequence[Unclaimed], most: int) -> list[str]:
    """Say which tensors are left that are in no layer of their own."""
    alike = defaultdict[tuple[Side, str, Shape], list[Unclaimed]](list)
    for one in tensors:
        alike[one.side, skeleton(one.key), one.shape].append(one)
    lines = []
    for (side, _key, shape), found in alike.items():
        names = some(spell_names(one.key for one in found), most)
        where = f"{count(len(found), 'tensor')} of {_short(found[0].cls)}"
        line = f"{NAMES[side]} {names} {list(shape)}, {where}: "
        other = SIDES[side == "torch"]
        like = [one for one in tensors if one.side == other and _size(one.shape) == _size(shape)]
        if like and shape:
            line += f"{NAMES[other]} has {like[0].key} {list(like[0].shape)} left, of another shape"
        else:
            line += f"{NAMES[other]} has nothing of this shape left"
        lines.append(line)
    return lines


def _size(shape: Shape) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _short(cls: str) -> str:
    return cls.rpartition(".")[2]
