"""Which layers and tensors of a live model the rows of a table pair."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ParityError, listing, nearest
from ..folding import fold
from ..running.side import AnySide, class_name, find_class, is_class
from ..sides import NAMES
from ..tables.table import Table
from ._forms import find_forms, is_none
from ._record import Paired

_MOST_PATTERNS = 8  # of folded names of layers


def pair(side: AnySide, model: Any, table: Table, run: Callable[[], None]) -> list[Paired]:
    """Return every layer and bare tensor that the table pairs.

    Args:
        side: The framework.
        model: The live model.
        table: What pairs it.
        run: Runs the model, to see whether a layer of another class computes what its kind does.

    Raises:
        ParityError: A layer is of another class than its kind says, and computes something else.
    """
    layers = dict(side.layers(model))
    state = side.state_of(model)
    hidden = side.foreign.hidden(layers, state) if side.foreign else ()
    names = dict.fromkeys([*layers, *state, *hidden])
    paired, problems = [], []
    unlike: dict[str, list[str]] = {}
    found_rows = table.layers(side.name, names)
    if not table.variants:  # a table of many variants describes more than one model has
        problems += [
            f"row {row.number}: the model has nothing called {row.name_on(side.name)}."
            f"{_nearest(row.name_on(side.name), [n for n in names if n not in found_rows])}"
            for row in table.rows
            if not any(row.pair(side.name, own) for own in found_rows)
        ]
    else:
        found_rows = {n: r for n, r in found_rows.items() if not is_none(side, layers.get(n), r)}
    of_kinds = [
        (layers[own], [kind])
        for own, (_torch, _paddle, kind) in found_rows.items()
        if own in layers and kind.classes_on(side.name)
    ]
    forms = find_forms(side, of_kinds, run)
    for own, (torch_name, paddle_name, kind) in found_rows.items():
        layer = layers.get(own)
        form, classes = forms.get(id(layer)), kind.classes_on(side.name)
        if classes and form is None and own not in hidden and not is_class(layer, classes):
            unlike.setdefault(_unlike(layer, kind.name, classes), []).append(own)
        if side.target is not None and side.target.has_tensors_alone(paddle_name):
            kind = replace(kind, traced=False)  # its tensors alone are compared
        paired.append(Paired(layer, torch_name, own, kind, form))
    for told, alike in unlike.items():
        shown = (
            fold(alike, _MOST_PATTERNS)
            if len(alike) > _MOST_PATTERNS
            else [(name, [name]) for name in alike]
        )
        problems += [f"{name}: {told}" for name, _of in shown]
    if problems:
        heading = f"the {NAMES[side.name]} model does not fit {table.file}:"
        raise ParityError(listing(heading, problems))
    return paired


def _nearest(pattern: str, names: Iterable[str]) -> str:
    """Suggest a name for one that matches none; numbers stand where the pattern has {i}."""
    return "" if "{" in pattern else nearest(pattern, names)


def _unlike(layer: Any, kind: str, classes: Sequence[str]) -> str:
    """Say that a layer is neither of a class of its kind nor computes what one does."""
    expected = " or ".join(classes)
    if any(isinstance(layer, find_class(name) or ()) for name in classes):
        expected += "; its own code computes something else"
    return f"is a {class_name(layer)}, kind '{kind}' expects {expected}."
