"""How what a layer gives is built: nested, of which shapes and dtypes."""

from collections.abc import Iterator, Mapping
from functools import partial

from ._trace import Arrays, Call, Trace, Tree, array_of, leaves, spell_tree


def values_of(call: Call) -> Iterator[int | float]:
    """Yield what a call computes: indices of arrays, and numbers."""
    for leaf in leaves(call.outputs):
        if (index := array_of(leaf)) is not None:
            yield index
        elif isinstance(leaf, float):
            yield leaf


def shape(run: tuple[Trace, str], call: Call | None) -> tuple[int, ...] | None:
    """Return the shape of the first array that a call gives."""
    if call is None:
        return None
    trace, dtype = run
    arrays = trace.runs[dtype].arrays
    return next((arrays.shape(i) for i in values_of(call) if isinstance(i, int)), ())


def unlike(runs: Mapping[tuple[Trace, str], Call | None], is_output: bool) -> str:
    """Say how the outputs of a call are not built alike in all runs; nothing if they are."""
    spelled: dict[str, str] = {}
    for (trace, dtype), call in runs.items():
        assert call is not None
        leaf = partial(_leaf, arrays=trace.runs[dtype].arrays, dtype=dtype)
        spelled.setdefault(spell_tree(call.outputs, leaf), f"{trace.label} {dtype}")
    if len(spelled) > 1:
        return " and ".join(f"{who} gives {what}" for what, who in spelled.items())
    (what,) = spelled
    if is_output and ("of class" in what or "[" not in what):
        return f"the model gives {what}, which cannot be compared"
    return ""


def _leaf(leaf: Tree, arrays: Arrays, dtype: str) -> str:
    """Spell shapes, and dtypes but for that of the run."""
    if (index := array_of(leaf)) is not None:
        found = arrays.dtype(index)
        kind = "" if found in (dtype, "int64", "int32", "bool") else f"{found} "
        return f"{kind}{list(arrays.shape(index))}"
    if isinstance(leaf, dict):
        return f"something of class {leaf['other']}"
    # A number that was computed differs with the precision: those of float64 are compared.
    return "a number" if isinstance(leaf, float) else repr(leaf)
