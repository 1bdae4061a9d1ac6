"""What a call gives in every run, value beside value: tensors and computed numbers, in order."""

from collections.abc import Mapping
from functools import partial
from math import prod

from ._arrange import ways
from ._trace import Arrays, Call, Trace, Tree, array_of, leaves, named_leaves, spell_tree
from ._values import arrays_in, is_size, side_by_side

RunOf = tuple[Trace, str]  # a trace, and the dtype of one of its runs
Value = int | float  # index of an array, or a number that was computed


def shape(run: RunOf, call: Call | None) -> tuple[int, ...] | None:
    """Return the shape of the first array that a call gives."""
    if call is None:
        return None
    arrays = _arrays(run)
    return next((arrays.shape(index) for _, index in arrays_in(call.outputs)), ())


def rows(calls: Mapping[RunOf, Call], whole: bool = False) -> tuple[list[dict[RunOf, Value]], str]:
    """Put the values that a call gives in all runs side by side.

    Args:
        calls: The call in every run, one at least, those of the reference first.
        whole: Whether it is the call of the whole model.

    Returns:
        For each value what it is in every run; and why the runs cannot be compared, if so.
    """
    values = {run: _values(call.outputs) for run, call in calls.items()}
    if not whole and len(set(map(len, values.values()))) > 1:
        # A number beside a tensor, as a size is: it shows in what is computed with it.
        values = {run: _large(run, call.outputs) for run, call in calls.items()}
    first = next(iter(values))
    found: list[dict[RunOf, Value]] = [{} for _ in values[first]]
    # A model may give float32 in every run: a dtype is that of the reference's run of the same.
    bases = {run[1]: run for run in values if run[0] is first[0]}
    for run, own in values.items():
        places = [(name, place) for place, (name, _) in enumerate(values[first])]
        pairs = side_by_side(places, own)
        if pairs is None:
            return [], _unlike(values, run)
        for place, value in pairs:
            found[place][run] = value
            base = bases.get(run[1], first)
            alike = _shapes_agree((first, found[place][first]), (run, value), whole)
            if not alike or _kind(run, value) != _kind(base, found[place][base]):
                return [], _unlike(values, run)
    return found, _unlike_plain(calls) if whole else ""


def _values(tree: Tree) -> list[tuple[str, Value]]:
    """List what a call computes: indices of arrays, and numbers."""
    found = list[tuple[str, Value]]()
    for name, leaf in named_leaves(tree):
        if (index := array_of(leaf)) is not None:
            found.append((name, index))
        elif isinstance(leaf, float):
            found.append((name, leaf))
    return found


def _large(run: RunOf, tree: Tree) -> list[tuple[str, Value]]:
    """List the arrays but for numbers and sizes."""
    arrays = _arrays(run)
    return [
        (name, index)
        for name, index in arrays_in(tree)
        if not is_size(arrays.shape(index), arrays.dtype(index))
    ]


def _shapes_agree(one: tuple[RunOf, Value], other: tuple[RunOf, Value], whole: bool) -> bool:
    """Tell whether one value can be brought to the other's shape."""
    return bool(ways(_shape(*other), _shape(*one), whole))


def _shape(run: RunOf, value: Value) -> tuple[int, ...]:
    return () if isinstance(value, float) else _arrays(run).shape(value)


def _kind(run: RunOf, value: Value) -> str:
    """Return the dtype, but for that of the run and the width of integers."""
    found = run[1] if isinstance(value, float) else _arrays(run).dtype(value)
    return "" if found in (run[1], "int64", "int32", "bool") else found


def _unlike(values: Mapping[RunOf, list[tuple[str, Value]]], other: RunOf) -> str:
    """Say what the first run gives, and another."""
    return " and ".join(
        f"{run[0].label} {run[1]} gives {_spell([_spell_value(run, v) for _, v in values[run]])}"
        for run in (next(iter(values)), other)
    )


def _spell(values: list[str]) -> str:
    """Spell shapes; of several say how many."""
    if len(values) == 1:
        return values[0]
    return f"{len(values)} tensors{': ' * bool(values)}{', '.join(values)}"


def _spell_value(run: RunOf, value: Value) -> str:
    if isinstance(value, float):
        return "a number"
    return f"{_kind(run, value)} {list(_shape(run, value))}".lstrip()


def _unlike_plain(calls: Mapping[RunOf, Call]) -> str:
    """Say what in the whole model's output cannot be compared, or which plain value differs."""
    spelled, lengths = dict[str, str](), set[int]()
    for run, call in calls.items():
        what = spell_tree(call.outputs, partial(_leaf, run))
        if "something of class" in what or not arrays_in(call.outputs):
            return f"the model gives {what}, which cannot be compared"
        if not any(prod(_arrays(run).shape(index)) for _, index in arrays_in(call.outputs)):
            return f"the model gives {what}, which holds no number that could be compared"
        plain = [leaf for leaf in leaves(call.outputs) if isinstance(leaf, bool | int | str)]
        spelled.setdefault(repr(plain), f"{run[0].label} {run[1]} gives {what}")
        lengths.add(len(plain))
    # Sizes that one side adds are its own affair; what both say must agree.
    return " and ".join(spelled.values()) if len(spelled) > 1 and len(lengths) == 1 else ""


def _leaf(run: RunOf, leaf: Tree) -> str:
    if (index := array_of(leaf)) is not None:
        return _spell_value(run, index)
    if isinstance(leaf, dict):
        return f"something of class {leaf['other']}"
    # A number that was computed differs with the precision: those of float64 are compared.
    return "a number" if isinstance(leaf, float) else repr(leaf)


def _arrays(run: RunOf) -> Arrays:
    trace, dtype = run
    return trace.runs[dtype].arrays
