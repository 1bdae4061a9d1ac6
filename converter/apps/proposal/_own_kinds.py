"""Say which kinds of the user's own describe no layer, and why."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ...errors import nearest, some
from ...sides import NAMES, Side
from ...tables.kinds import Kind
from ._outline import Outline, Unit


def unused_kinds(
    names: Iterable[str], kinds: Mapping[str, Kind], models: Sequence[Outline]
) -> Iterator[str]:
    """Give a line for each kind that no row names.

    Args:
        names: Those of the user's own that no row names.
        kinds: All, by name.
        models: The outlines of both models.
    """
    for name in names:
        reasons = [why for model in models if (why := _why(kinds[name], model))]
        yield f"kind {name}: {' '.join(reasons) or 'no row needs it.'}"


def _why(kind: Kind, model: Outline) -> str:
    """Say why a kind describes no layer of a model; empty if it does."""
    side, wanted = model.framework, kind.classes_on(model.framework)
    units = [unit for unit in model.units if unit.cls in wanted]
    if not units:
        classes = {unit.cls for unit in model.units}
        near = nearest(wanted[0], classes) if wanted else ""
        return f"no layer of the {NAMES[side]} model is of {' or '.join(wanted)}.{near}"
    without = _without_rule(kind, side, units)
    return f"it has no rule for {some(without, 3)} of {wanted[0]}." if without else ""


def _without_rule(kind: Kind, side: Side, units: Iterable[Unit]) -> list[str]:
    ruled = {rule.leaf if side == "torch" else rule.paddle for rule in kind.tensors}
    found = (leaf.name for unit in units for leaf in unit.tensors if leaf.name not in ruled)
    return [*dict.fromkeys(found)]
